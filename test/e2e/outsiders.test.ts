import assert from 'node:assert/strict';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { EXCHANGE_PROTOCOL, HELLO_PROTOCOL } from '../../proto/swarm/constants.ts';
import { STREAMS_PER_CONNECTION_MAX } from '../../agent/swarm/constants.ts';
import { Fleet } from '../rig/fleet.ts';
import type { FleetNode, Published } from '../rig/fleet.ts';
import { HUB_NAME } from '../rig/fleet-config.ts';
import { MIRROR_PORT } from '../rig/flotilla.ts';
import type { Program } from '../rig/flotilla.ts';
import { MIB } from '../rig/images.ts';
import { MemoryWatch } from '../rig/memory.ts';
import type { MetricsSnapshot } from '../rig/metrics.ts';
import type { Misbehaviour } from '../rig/misbehaving-peer.ts';
import { runOutsider } from '../rig/outsider.ts';
import type { Answer, OutsiderReport, OutsiderTask } from '../rig/outsider-task.ts';
import { fetchedBytes, pulls, pullsAgain } from '../rig/pulls.ts';
import { missingFor } from '../rig/requirements.ts';
import { until } from '../rig/until.ts';

const OTHER_LAYER_BYTES = 5 * MIB;
const RISE_MAX_BYTES = 64 * MIB;
const REFUSED_TIMEOUT_MS = 30_000;
/** Of 320 MiB that it is sent at a time; what is thrown away is garbage for a while. */
const HUB_RISE_MAX_BYTES = 200 * MIB;
const MISBEHAVING_AGENT = path.join(import.meta.dirname, '..', 'rig', 'misbehaving-agent.ts');
const REJECTED = 'flotilla_agent_chunks_rejected_total';
const BANNED = 'flotilla_agent_swarm_peers_banned_total';
const REFUSED = 'flotilla_agent_swarm_refused_total';

type Lie = {
  what: string;
  how: Misbehaviour;
  /** What the victim asks for. */
  asks: 'manifest' | 'layer';
  bannedFor: string;
  rejectedAs?: string;
};

/** What a peer may lie about besides the bytes of chunks. */
const LIES: readonly Lie[] = [
  {
    what: 'a statement signed by a wrong key',
    how: { forgeStatement: true },
    asks: 'layer',
    bannedFor: 'statement-invalid',
    rejectedAs: 'statement_invalid',
  },
  {
    what: 'hashes that do not recompute',
    how: { forgeHashes: true },
    asks: 'layer',
    bannedFor: 'hashes-mismatch',
    rejectedAs: 'hashes_mismatch',
  },
  {
    what: 'a manifest of 5 MiB',
    how: { smallBytes: 5 * MIB },
    asks: 'manifest',
    bannedFor: 'protocol-violation',
  },
];

describe('outsiders', { skip: missingFor() }, () => {
  let fleet: Fleet;
  let image: Published;
  let other: Published;
  before(async () => {
    fleet = await Fleet.start({ nodes: LIES.length + 1 });
    image = await fleet.publish('outsiders', [6 * MIB]);
    other = await fleet.publish('outsiders-other', [OTHER_LAYER_BYTES]);
    await pulls(fleet.node(1), image);
    await pulls(fleet.node(1), other);
  });
  afterEach(async () => fleet.restore());
  after(async () => fleet[Symbol.asyncDispose]());

  /** An attack on the first node, which must outlive it and serve a pull afterwards. */
  async function attacked(
    attack: OutsiderTask['attack'],
  ): Promise<OutsiderReport & { more: (name: string, reason: string) => Promise<number> }> {
    const [victim, from] = [fleet.node(1), fleet.node(2)];
    const earlier = await victim.agent.metrics();
    const report = await withstands(victim.agent, () =>
      runOutsider(fleet, attack, { from, victim, image, other }),
    );
    await pullsAgain(victim, image);
    return { ...report, more: (name, reason) => countedSince(earlier, victim, name, reason) };
  }

  test('a node that is not enrolled runs no protocol but hello and learns nothing', async () => {
    const { answers, more } = await attacked('stranger');
    const atHub = answers.filter(({ asked }) => asked.startsWith('hub '));
    assert.equal(atHub.length, 4);
    for (const { asked, status } of atHub) assert.match(status, /^40[13]$/, asked);
    assert.deepEqual(
      answers.filter(({ bytes }) => bytes > 0),
      [],
    );
    const agreed = answers.filter(({ status }) => status === 'agreed').map(({ asked }) => asked);
    assert.deepEqual(agreed, [EXCHANGE_PROTOCOL, HELLO_PROTOCOL]);
    // Agreeing on the name is all: the stream is cut before a request is read.
    assert.equal(await more(REFUSED, 'no_hello'), 1);
  });

  test('an enrolled node gets nothing without a grant or with a wrong one', async () => {
    const { answers } = await attacked('no-grant');
    const grants = Object.groupBy(answers, ({ asked }) => asked.split(':')[0] ?? '');
    const { none = [], forged = [], stretched = [], other: elsewhere = [], right = [] } = grants;
    assert.deepEqual(statuses(none), Array(5).fill('noGrant'));
    assert.deepEqual(statuses(forged), Array(6).fill('noGrant'));
    assert.deepEqual(statuses(stretched), Array(6).fill('noGrant'));
    assert.deepEqual(statuses(elsewhere), ['ok', ...Array<string>(5).fill('noGrant')]);
    for (const { asked, bytes } of [...none, ...forged, ...stretched, ...elsewhere]) {
      assert.equal(bytes, 0, asked);
    }
    // The questions were right: with the grant each of them is answered.
    assert.deepEqual(statuses(right), Array(6).fill('ok'));
    assert.ok(right.slice(2).every(({ bytes }) => bytes > 0));
  });

  test('frames that claim 4 GiB end the connection, and the member is banned', async () => {
    const { answers, more } = await attacked('frame-of-4-gib');
    assert.deepEqual(statuses(answers), ['cut', 'cut']);
    assert.equal(answers.at(-1)?.bytes, 0);
    assert.equal(await more(REFUSED, 'flood'), 1);
    assert.equal(await more(BANNED, 'protocol-violation'), 1);
  });

  test('a chunk index of -1 ends the connection, and the member is banned', async () => {
    const { answers, more } = await attacked('index-minus-one');
    assert.deepEqual(statuses(answers), ['ok', 'cut']);
    assert.equal(answers.at(-1)?.bytes, 0);
    assert.equal(await more(BANNED, 'protocol-violation'), 1);
  });

  test('of 10,000 streams a few are opened', async () => {
    const { streams, more } = await attacked('streams');
    assert.ok(streams <= STREAMS_PER_CONNECTION_MAX, `${streams} streams are open`);
    // What the attacker has sent may still wait at the victim when the attacker has ended.
    await until('the refusal of most streams', REFUSED_TIMEOUT_MS, async () => {
      return (await more(REFUSED, 'streams')) > 9000 || undefined;
    });
  });

  test('manifests of 5 MiB, many at once, are refused by the hub', async () => {
    const [victim, from] = [fleet.node(1), fleet.node(2)];
    const { answers } = await withstands(
      fleet.hub,
      () => runOutsider(fleet, 'manifests-of-5-mib', { from, victim, image, other }),
      HUB_RISE_MAX_BYTES,
    );
    const refused = answers.filter(({ status }) => status === '413' || status === 'cut');
    assert.equal(refused.length, answers.length);
    assert.ok(statuses(answers).includes('413'));
    await pullsAgain(victim, image);
  });

  test('after all of it another node pulls from the agent that was attacked', async () => {
    const node = fleet.node(2);
    await fleet.hub.stop();
    await pulls(node, other, other.byDigest);
    assert.ok((await fetchedBytes(node, 'peer')) >= OTHER_LAYER_BYTES);
  });

  for (const [index, { what, how, asks, bannedFor, rejectedAs }] of LIES.entries()) {
    test(`${what} from a peer is refused, and the peer is banned`, async () => {
      const [liar, victim] = [fleet.node(1), fleet.node(index + 2)];
      await liar.agent.stop();
      const misbehave = ['--misbehave', JSON.stringify(how)];
      liar.agent.command = [process.execPath, MISBEHAVING_AGENT, ...misbehave];
      await liar.agent.start();
      // The liar gets its grant from the hub, which then leaves the victim alone with the liar.
      await pullsAgain(liar, image);
      await fleet.hub.stop();
      const earlier = await victim.agent.metrics();
      const answer = await withstands(victim.agent, () => asksMirror(victim, image, asks));
      assert.ok(answer.status >= 500, `the mirror answered ${answer.status}`);
      const more = (name: string, reason: string): Promise<number> =>
        countedSince(earlier, victim, name, reason);
      assert.equal(await more(BANNED, bannedFor), 1);
      if (rejectedAs !== undefined) assert.ok((await more(REJECTED, rejectedAs)) >= 1);
      await fleet.hub.start();
      await pulls(victim, other);
    });
  }

  test('what was lied about is pulled all the same', async () => {
    const victims = fleet.nodes.slice(1);
    await Promise.all(victims.map((victim) => pulls(victim, image)));
  });
});

/** Runs an attack on a program, which lives on and never needs much memory meanwhile. */
async function withstands<T>(
  program: Program,
  attack: () => Promise<T>,
  riseMaxBytes: number = RISE_MAX_BYTES,
): Promise<T> {
  const memory = await MemoryWatch.start(program);
  const result = await attack();
  const risen = await memory.risenBytes();
  assert.ok(risen <= riseMaxBytes, `${program.name} took ${risen} more bytes of memory`);
  assert.equal(program.running.exit, undefined);
  const health = await program.worker.http(`${program.opsUrl}/healthz`);
  assert.equal(health.status, 200);
  return result;
}

async function countedSince(
  earlier: MetricsSnapshot,
  node: FleetNode,
  name: string,
  reason: string,
): Promise<number> {
  return (await node.agent.metrics()).sum(name, { reason }) - earlier.sum(name, { reason });
}

async function asksMirror(
  node: FleetNode,
  image: Published,
  what: 'manifest' | 'layer',
): Promise<{ status: number }> {
  const name =
    what === 'manifest'
      ? `manifests/${image.manifestDigest}`
      : `blobs/${image.layers.at(-1)?.digest ?? ''}`;
  const base = `http://${node.machine.loopbackHost}:${MIRROR_PORT}/v2/${image.repository}`;
  return node.worker.http(`${base}/${name}?ns=${HUB_NAME}`);
}

function statuses(answers: readonly Answer[]): string[] {
  return answers.map(({ status }) => status);
}
