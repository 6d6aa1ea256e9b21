import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { until } from '../rig/until.ts';
import type { DockerHub } from './docker-hub.ts';
import type { Fault, FaultRule } from './faults.ts';
import { entryOf, hubInFront, standIn, type Answer, type HubInFront } from './hub-in-front.ts';

const REPOSITORY = 'library/app';
const BASE = `/v2/docker.io/${REPOSITORY}`;
const MIB = 1024 ** 2;
const AGAIN_TIMEOUT_MS = 60_000;

type Trial = {
  upstream: DockerHub;
  hub: HubInFront;
  layer: { digest: string; size: number };
  pull: () => Promise<Answer>;
};

/** A hub that knows the image of an upstream, but not yet its layer. */
async function trial(t: TestContext): Promise<Trial> {
  const upstream = await standIn(t);
  const layers = [{ seed: 'spoiled', bytes: 6 * MIB }];
  const image = upstream.shelf.addImage({
    repository: REPOSITORY,
    tags: ['v1'],
    platforms: [{ os: 'linux', architecture: 'amd64', layers }],
  });
  const [first] = image.manifests;
  const layer = first?.layers[0];
  assert.ok(first && layer);
  const hub = await hubInFront(t, [entryOf('docker.io', upstream)]);
  for (const reference of ['v1', first.digest]) {
    const answer = await hub.get(`${BASE}/manifests/${reference}`);
    assert.equal(answer.status, 200, answer.body.toString());
  }
  return { upstream, hub, layer, pull: () => hub.get(`${BASE}/blobs/${layer.digest}`) };
}

function rule({ layer }: Trial, fault: Fault, times?: number): FaultRule {
  const on = { kind: 'blob', name: layer.digest } as const;
  return { on, fault, ...(times !== undefined && { times }) };
}

function isRight({ layer }: Trial, answer: Answer): boolean {
  return answer.status === 200 && answer.whole && answer.sha256 === layer.digest;
}

/** The longest wait first. */
const REFUSED: readonly (readonly [string, Fault])[] = [
  ['a wrong byte', { kind: 'flip', at: 5 * MIB }],
  ['a page of a captive portal', { kind: 'html' }],
  ['compressed bytes', { kind: 'gzip' }],
  ['a layer that is cut short', { kind: 'length', by: -4096 }],
  ['a layer that is too long', { kind: 'length', by: 4096 }],
  ['redirects in circles', { kind: 'redirect', to: 'self' }],
  ['a redirect to a link-local address', { kind: 'redirect', to: 'https://169.254.169.254/x' }],
  ['a redirect to a host nobody named', { kind: 'redirect', to: 'https://127.0.0.1:9/x' }],
];

// Beside each other, because hubs wait before they ask an upstream again that was wrong.
describe('what an upstream sends instead of a layer', { concurrency: 4 }, () => {
  for (const [what, fault] of REFUSED) {
    test(`${what}: never a whole answer, nothing is kept, and later the right bytes`, async (t) => {
      const made = await trial(t);
      made.upstream.fault(rule(made, fault));
      for (let n = 0; n < 2; n += 1) {
        const { status, whole } = await made.pull();
        assert.ok(status >= 400 || !whole, `answered ${status}, and whole`);
        assert.notEqual(status, 429);
      }
      assert.ok(made.upstream.report().faults > 0, 'the upstream was not asked');
      made.upstream.fault();
      await until('the right bytes', AGAIN_TIMEOUT_MS, async () =>
        isRight(made, await made.pull()) ? true : undefined,
      );
      assert.deepEqual(
        made.upstream.entries.filter(({ host, authorized }) => host === 'cdn' && authorized),
        [],
      );
    });
  }

  test('an answer that is cut is gone on with by Range', async (t) => {
    const made = await trial(t);
    made.upstream.fault(rule(made, { kind: 'reset', bytes: 2 * MIB }, 2));
    assert.ok(isRight(made, await made.pull()));
    const { gets, bytes = 0 } = made.upstream.report().blobs[made.layer.digest] ?? {};
    assert.equal(gets, 3);
    assert.ok(bytes < made.layer.size * 1.1, `${bytes} of ${made.layer.size}`);
  });

  test('an upstream that ignores the Range gives the right bytes all the same', async (t) => {
    const made = await trial(t);
    const cut = rule(made, { kind: 'truncated', bytes: 2 * MIB }, 1);
    made.upstream.fault(cut, rule(made, { kind: 'whole' }));
    const answer = await made.pull();
    assert.ok(isRight(made, answer) || answer.status >= 400 || !answer.whole);
    await until('the right bytes', AGAIN_TIMEOUT_MS, async () =>
      isRight(made, await made.pull()) ? true : undefined,
    );
  });

  test('a CDN that is busy for a moment is asked again', async (t) => {
    const made = await trial(t);
    made.upstream.fault(rule(made, { kind: 'status', status: 503 }, 1));
    await until('the right bytes', AGAIN_TIMEOUT_MS, async () =>
      isRight(made, await made.pull()) ? true : undefined,
    );
    assert.equal(made.upstream.report().blobs[made.layer.digest]?.bytes, made.layer.size);
  });
});
