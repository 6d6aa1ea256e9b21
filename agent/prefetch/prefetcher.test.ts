import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { PrefetchRequest, PrefetchResponse } from '../../proto/hubapi/prefetch.ts';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import type { OpenRequest } from '../fetch/ports.ts';
import { BLOBS_PARALLEL } from './constants.ts';
import { PrefetchError } from './errors.ts';
import { createPrefetchMetrics } from './metrics.ts';
import type { PrefetchContent, PrefetchStore } from './ports.ts';
import { Prefetcher } from './prefetcher.ts';

const logger = createLogger({ level: 'silent', name: 'test' });
const LAYERS = ['one', 'two!', 'three'].map((text) => Buffer.from(text));
const described = LAYERS.map((bytes) => ({
  mediaType: 'application/vnd.oci.image.layer.v1.tar',
  digest: digestOf(bytes),
  size: bytes.length,
}));
const CONFIG = Buffer.from('{}');
const MANIFEST = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: digestOf(CONFIG),
      size: 2,
    },
    layers: described,
  }),
);
const IMAGE = digestOf(MANIFEST);
const TOTAL = 2 + 3 + 4 + 5;

type Answer = Partial<PrefetchResponse> | Error;

/** An agent whose hub gives these answers in turn; it hears what it was told. */
function agentWith(t: TestContext, answers: Answer[], content: Partial<PrefetchContent> = {}) {
  const held = new Map<Digest, Buffer>();
  const told: PrefetchRequest[] = [];
  const quiet = Promise.withResolvers<void>();
  const done = Promise.withResolvers<void>();
  const fetched: Digest[] = [];
  const registry = new MetricsRegistry({ prefix: 'flotilla_agent_' });
  const room = { bytes: 1000 };
  const store: PrefetchStore = {
    find: () => undefined,
    getSmall: async (digest) => held.get(digest),
    hasRoomFor: (bytes) => bytes <= room.bytes,
  };
  const prefetcher = new Prefetcher(
    { retryMs: 1 },
    {
      hub: {
        prefetch: async (request) => {
          told.push(request);
          if (request.reports.some(({ state }) => state === 'done')) done.resolve();
          const answer = answers.shift();
          if (answers.length === 0) quiet.resolve();
          if (answer instanceof Error) throw answer;
          return { intervalMs: 0, stop: [], ...answer };
        },
      },
      content: {
        manifest: async ({ digest }) => (digest === IMAGE ? MANIFEST : undefined),
        prefetch: async ({ digest }: OpenRequest) => {
          fetched.push(digest);
          held.set(digest, Buffer.alloc(0));
        },
        ...content,
      },
      store,
      grants: { put: () => Infinity, ensure: async () => undefined },
      metrics: createPrefetchMetrics(registry),
      logger,
    },
  );
  t.after(() => prefetcher.close());
  return {
    prefetcher,
    told,
    quiet: quiet.promise,
    done: done.promise,
    fetched,
    held,
    room,
    registry,
  };
}

function task(id: string, digest = IMAGE): Partial<PrefetchResponse> {
  const expiresInMs = 60_000;
  return { task: { id, repository: 'team/app', digest, platforms: [], expiresInMs } };
}

function lastReport(told: readonly PrefetchRequest[]) {
  return told.flatMap(({ reports }) => reports).at(-1);
}

test('what the hub wants is fetched, once told it is done the agent is quiet', async (t) => {
  const { prefetcher, told, quiet, fetched } = agentWith(t, [task('a'), {}]);
  prefetcher.hint();
  prefetcher.hint();
  await quiet;
  assert.deepEqual(
    new Set(fetched),
    new Set([digestOf(CONFIG), ...described.map((one) => one.digest)]),
  );
  const bytes = { doneBytes: TOTAL, totalBytes: TOTAL };
  assert.deepEqual(lastReport(told), { id: 'a', state: 'done', ...bytes });
  assert.equal(told.length, 2);
  assert.equal(told[0]?.ready, true);
});

test('what is here already counts as done and is not fetched', async (t) => {
  const { prefetcher, told, quiet, fetched, held, registry } = agentWith(t, [task('a'), {}]);
  for (const bytes of [CONFIG, ...LAYERS]) held.set(digestOf(bytes), bytes);
  prefetcher.hint();
  await quiet;
  assert.deepEqual(fetched, []);
  assert.equal(lastReport(told)?.state, 'done');
  assert.match(await registry.text(), /prefetch_images_total\{result="held"\} 1/);
});

test('an image that does not fit is not begun, and the hub hears why', async (t) => {
  const { prefetcher, told, quiet, fetched, room } = agentWith(t, [task('a'), {}]);
  room.bytes = TOTAL - 1;
  prefetcher.hint();
  await quiet;
  assert.deepEqual(fetched, []);
  assert.equal(lastReport(told)?.state, 'failed');
  assert.match(lastReport(told)?.reason ?? '', /^no room for 14B/);
});

test('what the hub wants no more is stopped in the middle, and the next is begun', async (t) => {
  const begun = Promise.withResolvers<void>();
  const stopped = Promise.withResolvers<void>();
  const other = digestOf(Buffer.from('other'));
  const content: Partial<PrefetchContent> = {
    prefetch: async (_request, { signal }) => {
      begun.resolve();
      await new Promise((_, reject) => {
        signal?.addEventListener('abort', () => {
          stopped.resolve();
          reject(signal.reason);
        });
      });
    },
  };
  const answers = [task('a'), { stop: ['a'] }, task('b', other), {}];
  const { prefetcher, told, quiet } = agentWith(t, answers, content);
  prefetcher.hint();
  await begun.promise;
  await stopped.promise;
  await quiet;
  assert.deepEqual(
    told.flatMap(({ reports }) => reports.map(({ id, state }) => `${id} ${state}`)),
    ['a running', 'b failed'],
  );
});

test('the end of a task is told when the hub answers again', async (t) => {
  const away = new Error('no hub');
  const { prefetcher, told, quiet } = agentWith(t, [task('a'), away, {}]);
  prefetcher.hint();
  await quiet;
  assert.equal(told.length, 3);
  assert.deepEqual(told[1]?.reports, told[2]?.reports);
  assert.equal(lastReport(told)?.state, 'done');
});

test('a blob that fails is tried again, and what came stays', async (t) => {
  const failed = new Set<Digest>();
  const held = new Map<Digest, Buffer>();
  const content: Partial<PrefetchContent> = {
    prefetch: async ({ digest }) => {
      if (digest === described[1]?.digest && !failed.has(digest)) {
        failed.add(digest);
        throw new Error('reset');
      }
      held.set(digest, Buffer.alloc(0));
    },
  };
  const { prefetcher, told, done } = agentWith(t, [task('a')], content);
  prefetcher.hint();
  await done;
  assert.deepEqual([failed.size, held.size, lastReport(told)?.doneBytes], [1, 4, TOTAL]);
});

test('when one blob cannot be had the others are given up with it', async (t) => {
  const [, broken] = described;
  const waiting = Promise.withResolvers<void>();
  const ended: Digest[] = [];
  let begun = 0;
  const content: Partial<PrefetchContent> = {
    prefetch: async ({ digest }, { signal }) => {
      begun += 1;
      if (begun === BLOBS_PARALLEL) waiting.resolve();
      await waiting.promise;
      if (digest === broken?.digest) {
        throw new PrefetchError('no room', { code: 'NO_ROOM', bytes: 1 });
      }
      await new Promise((_, reject) => {
        signal?.addEventListener('abort', () => {
          ended.push(digest);
          reject(signal.reason);
        });
      });
    },
  };
  const { prefetcher, told, quiet } = agentWith(t, [task('a'), {}], content);
  prefetcher.hint();
  await quiet;
  assert.equal(lastReport(told)?.state, 'failed');
  assert.deepEqual([begun, ended.length], [BLOBS_PARALLEL, BLOBS_PARALLEL - 1]);
});
