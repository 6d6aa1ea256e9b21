import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { ObjectReader } from './object-reader.ts';

const BYTES = randomBytes(100_000);

type Range = { start: number; end: number };

/** A bucket with one object, whose answers break off after `cut` bytes, `faults` times. */
function bucket({ cut = BYTES.length, faults = 0, slice = 7_000 } = {}) {
  const asked: Range[] = [];
  const bodies: Readable[] = [];
  const get = async (_key: string, range: Range): Promise<Readable> => {
    const broken = asked.push(range) <= faults;
    const end = broken ? Math.min(range.end, range.start + cut) : range.end;
    const body = Readable.from(
      (async function* () {
        for (let at = range.start; at < end; at += slice) {
          yield BYTES.subarray(at, Math.min(end, at + slice));
        }
        if (broken) throw new Error('connection reset');
      })(),
    );
    bodies.push(body);
    return body;
  };
  const reader = new ObjectReader({ key: 'k', size: BYTES.length }, { get });
  return { reader, asked, bodies };
}

test('reads in order of what was expected are one request', async () => {
  const { reader, asked } = bucket();
  assert.equal(await reader.expect({ start: 10_000, end: 90_000 }), true);
  const into = Buffer.alloc(1_000);
  for (let at = 10_000; at < 90_000; at += into.length) {
    // oxlint-disable-next-line no-await-in-loop -- in order
    assert.equal(await reader.read(into, at), into.length);
    assert.ok(into.equals(BYTES.subarray(at, at + into.length)));
  }
  assert.deepEqual(asked, [{ start: 10_000, end: 90_000 }]);
});

test('an answer that breaks off is asked for again where it ended', async () => {
  const { reader, asked } = bucket({ cut: 30_000, faults: 2 });
  await reader.expect({ start: 0, end: BYTES.length });
  const into = Buffer.alloc(BYTES.length);
  assert.equal(await reader.read(into, 0), BYTES.length);
  assert.ok(into.equals(BYTES));
  assert.deepEqual(
    asked.map(({ start }) => start),
    [0, 30_000, 60_000],
  );
});

test('an answer that breaks off again and again without a byte is a fault', async () => {
  const { reader, asked } = bucket({ cut: 0, faults: 1_000 });
  await assert.rejects(reader.read(Buffer.alloc(10), 0), { code: 'STORE_AWAY' });
  assert.ok(asked.length < 10);
});

test('what is not read to its end is given up', async () => {
  const { reader, bodies } = bucket();
  await reader.expect({ start: 0, end: BYTES.length });
  await reader.read(Buffer.alloc(10), 0);
  await reader.read(Buffer.alloc(10), 50_000);
  assert.equal(bodies[0]?.destroyed, true);
  await reader[Symbol.asyncDispose]();
  assert.equal(bodies[1]?.destroyed, true);
});
