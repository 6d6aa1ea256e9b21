// A hub that is killed in the middle of a large replication, on any pair of drivers.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { SEGMENT_BYTES } from '../../hub/replication/constants.ts';
import { checkBody } from '../../proto/hubapi/body.ts';
import { ExecutionAnswer } from '../../proto/hubapi/replication.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { AUTHORIZATION, startHubProcess } from '../durability/hub-process.ts';
import { until } from '../rig/until.ts';
import { CountingProxy, type Passed } from './counting-proxy.ts';
import { Pusher, someBytes } from './rig.ts';

const MIB = 1024 * 1024;
const LONG_MS = 60_000;
const SMALL = someBytes(2 * MIB);
const LARGE = someBytes(80 * MIB);
const RATE = 20 * MIB;
const CREDENTIALS = { username: 'admin', password: 'a test password' };

type Run = { proxy: CountingProxy; registry: Pusher; start: () => Promise<HubRun> };
type HubRun = {
  here: Pusher;
  kill: () => Promise<void>;
  api: (method: string, target: string, body?: object) => Promise<unknown>;
};

export type Other = (folder: string) => Promise<{ url: string } & AsyncDisposable>;

/** Where catalog and blobs of the hub are: sections of its configuration. */
export type Place = object;

async function trial(t: TestContext, startOther: Other, place: Place): Promise<Run> {
  const stack = new AsyncDisposableStack();
  t.after(() => stack.disposeAsync());
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-replication-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const other = stack.use(await startOther(folder));
  const proxy = stack.use(await CountingProxy.start(other.url));
  const registry = stack.use(new Pusher(other.url, CREDENTIALS));
  const sections = {
    ...place,
    replication: { registries: [{ name: 'other', url: proxy.url, ...CREDENTIALS }] },
  };
  const start = async (): Promise<HubRun> => {
    const { running, url } = await startHubProcess(folder, path.join(folder, 'hub'), sections);
    stack.defer(async () => void (await running.stop()));
    const here = stack.use(new Pusher(url, CREDENTIALS));
    return {
      here,
      kill: async () => {
        running.kill('SIGKILL');
        await running.exited;
      },
      api: async (method, target, body) => {
        const headers = { authorization: AUTHORIZATION, 'content-type': 'application/json' };
        const answer = await fetch(`${url}/api/v1${target}`, {
          method,
          headers,
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        });
        assert.ok(answer.ok, `${method} ${target}: ${answer.status}`);
        return answer.json();
      },
    };
  };
  return { proxy, registry, start };
}

/** Begins a rule; the path of its execution. */
async function begin({ api }: HubRun, settings: object): Promise<string> {
  const rule = { name: 'big', settings: { registry: 'other', bandwidth: RATE, ...settings } };
  await api('POST', '/replication/rules', rule);
  const { id } = Object(await api('POST', '/replication/rules/big/executions'));
  return `/replication/executions/${id}`;
}

async function done({ api }: HubRun, execution: string): Promise<void> {
  const { state, attempt, message } = await until('the execution ended', LONG_MS, async () => {
    const found = checkBody(ExecutionAnswer, await api('GET', execution));
    return found.ended === null ? undefined : found;
  });
  assert.deepEqual({ state, attempt, message }, { state: 'done', attempt: 0, message: '1 copied' });
}

/** Kills a hub in the middle of a pull; the next goes on by Range, and asks for nothing it has. */
export async function interruptedPull(
  t: TestContext,
  startOther: Other,
  place: Place = {},
): Promise<void> {
  const { proxy, registry, start } = await trial(t, startOther, place);
  const image = await registry.image('team/big', 'v1', [SMALL, LARGE]);
  const [small, large] = [digestOf(SMALL), digestOf(LARGE)];
  const first = await start();
  const execution = await begin(first, { direction: 'pull', repositories: ['team/big'] });
  const got = (): number => proxy.of('GET', large)[0]?.received ?? 0;
  await until('the half is there', LONG_MS, async () => {
    const half = got() > 3 * SEGMENT_BYTES ? true : undefined;
    return half && (await first.here.hasBlob('team/big', small)) ? true : undefined;
  });
  await first.kill();
  const before = got();
  assert.ok(before < LARGE.length, 'killed in the middle');
  const second = await start();
  await done(second, execution);
  assert.equal(await second.here.tagged('team/big', 'v1'), image.digest);
  assert.deepEqual(
    proxy.of('GET', small).map(({ received }) => received),
    [SMALL.length],
  );
  const [, resumed, ...more] = proxy.of('GET', large);
  assert.deepEqual(more, []);
  const offset = Number(/^bytes=(\d+)-/.exec(resumed?.range ?? '')?.[1]);
  assert.ok(offset >= 2 * SEGMENT_BYTES, `went on at ${offset} of ${before}`);
  assert.equal(resumed?.received, LARGE.length - offset);
}

export type Push = { later: readonly Passed[]; offset: number };

/** Kills a hub in the middle of a push; what another one asked for after that. */
export async function interruptedPush(t: TestContext, startOther: Other): Promise<Push> {
  const { proxy, registry, start } = await trial(t, startOther, {});
  const first = await start();
  const image = await first.here.image('team/big', 'v1', [SMALL, LARGE]);
  const [small, large] = [digestOf(SMALL), digestOf(LARGE)];
  const execution = await begin(first, { direction: 'push', repositories: ['team/big'] });
  const parts = () => proxy.of('PATCH', '/team/big/').filter(({ status }) => status === 202);
  await until('the half is there', LONG_MS, async () => {
    return parts().length >= 3 && (await registry.hasBlob('team/big', small)) ? true : undefined;
  });
  await first.kill();
  assert.equal(await registry.hasBlob('team/big', large), false, 'killed in the middle');
  const known = proxy.passed.length;
  const second = await start();
  await done(second, execution);
  assert.equal(await registry.tagged('team/big', 'v1'), image.digest);
  const later = proxy.passed.slice(known);
  assert.deepEqual(
    later.filter(({ method, path: at }) => method === 'PUT' && at.includes(small)),
    [],
    'what was there is not sent again',
  );
  // The first one may be told to bring a token.
  const patches = later.filter(({ method, status }) => method === 'PATCH' && status === 202);
  const sent = patches.reduce((sum, one) => sum + one.sent, 0);
  const offset = Number(/^(\d+)-/.exec(patches[0]?.range ?? '')?.[1]);
  assert.equal(sent, LARGE.length - offset);
  return { later, offset };
}
