import assert from 'node:assert/strict';
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { MANIFEST_MAX_BYTES } from '../../proto/oci/manifest.ts';
import { hasCode } from '../../proto/std/errors.ts';
import {
  LARGE_MANIFESTS_MAX,
  LARGE_MANIFESTS_QUEUED_MAX,
  MANIFEST_SMALL_BYTES,
} from './constants.ts';
import type { Exchange } from './http.ts';
import { LargeAnswers } from './large-answers.ts';
import { ManifestReader } from './manifest-reader.ts';

const LARGE_BYTES = MANIFEST_SMALL_BYTES + 1;

/** A push of so many bytes, all of which have arrived. */
function push(size: number, signal: AbortSignal = new AbortController().signal): Exchange {
  const request = new IncomingMessage(new Socket());
  request.push(Buffer.alloc(size, 'm'));
  request.push(null);
  const [response, query] = [new ServerResponse(request), new URLSearchParams()];
  return { request, response, query, signal, answers: new LargeAnswers() };
}

function several<T>(count: number, make: () => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, make));
}

test('a large manifest waits while enough others are in memory, a small one does not', async () => {
  const reader = new ManifestReader();
  const held = await several(LARGE_MANIFESTS_MAX, () => reader.read(push(LARGE_BYTES)));
  let isRead = false;
  const waiting = reader.read(push(LARGE_BYTES)).finally(() => (isRead = true));
  using small = await reader.read(push(MANIFEST_SMALL_BYTES));
  assert.equal(small.bytes.length, MANIFEST_SMALL_BYTES);
  assert.equal(isRead, false);
  held[0]?.[Symbol.dispose]();
  using late = await waiting;
  assert.equal(late.bytes.length, LARGE_BYTES);
});

test('what is refused, or left by its client, keeps no place', async () => {
  const reader = new ManifestReader();
  await several(LARGE_MANIFESTS_MAX + 1, () =>
    assert.rejects(reader.read(push(MANIFEST_MAX_BYTES + 1)), { status: 413 }),
  );
  const held = await several(LARGE_MANIFESTS_MAX, () => reader.read(push(LARGE_BYTES)));
  const gone = new AbortController();
  const left = reader.read(push(LARGE_BYTES, gone.signal));
  gone.abort(new Error('client went away'));
  await assert.rejects(left, /client went away/);
  held[0]?.[Symbol.dispose]();
  using next = await reader.read(push(LARGE_BYTES));
  assert.equal(next.bytes.length, LARGE_BYTES);
});

test('more large manifests than may wait are told to come back later', async () => {
  const reader = new ManifestReader();
  const held = await several(LARGE_MANIFESTS_MAX, () => reader.read(push(LARGE_BYTES)));
  const waiting = several(LARGE_MANIFESTS_QUEUED_MAX, async () => {
    using body = await reader.read(push(LARGE_BYTES));
    return body.bytes.length;
  });
  const oneMore = reader.read(push(LARGE_BYTES));
  await assert.rejects(oneMore, (err) => hasCode(err, 'UNAVAILABLE'));
  for (const body of held) body[Symbol.dispose]();
  assert.equal((await waiting).length, LARGE_MANIFESTS_QUEUED_MAX);
});

test('a manifest is read as it was sent, in whatever parts it comes', async () => {
  const sent = Buffer.from('{"what":"is sent"}'.repeat(100));
  for (const length of [1, 7, 16, sent.length]) {
    const parts = Array.from({ length: Math.ceil(sent.length / length) }, (_, i) =>
      Buffer.from(sent.subarray(i * length, (i + 1) * length)),
    );
    const slow = new IncomingMessage(new Socket());
    const reading = new ManifestReader().read({ ...push(0), request: slow });
    for (const part of [...parts, null]) {
      slow.push(part);
      // oxlint-disable-next-line no-await-in-loop -- the reader takes one before the next comes
      await setImmediate();
    }
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    using body = await reading;
    assert.ok(body.bytes.equals(sent), `in parts of ${length}`);
  }
});
