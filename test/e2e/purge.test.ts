import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ADMIN, HUB_NAME } from '../rig/fleet-config.ts';
import { Fleet } from '../rig/fleet.ts';
import type { FleetNode, Published } from '../rig/fleet.ts';
import { HUB_PORT, MIRROR_PORT } from '../rig/flotilla.ts';
import { MIB } from '../rig/images.ts';
import { pulls } from '../rig/pulls.ts';
import { missingFor } from '../rig/requirements.ts';
import { until } from '../rig/until.ts';

const LAYERS = [24 * MIB, 50_000];
/** Agents ask the hub every few seconds. */
const REACHED_TIMEOUT_MS = 60_000;

type Purges = { purged: string[]; unreached: string[] };

describe('content that is taken down', { skip: missingFor() }, () => {
  let fleet: Fleet;
  let image: Published;
  let layer: string;
  before(async () => {
    fleet = await Fleet.start({ nodes: 3 });
    image = await fleet.publish('bad', LAYERS);
    layer = image.layers.find(({ size }) => size > MIB)?.digest ?? assert.fail();
    for (const node of fleet.nodes) await pulls(node, image);
  });
  after(async () => fleet[Symbol.asyncDispose]());

  async function purges(method = 'GET', body?: object): Promise<Purges> {
    const basic = Buffer.from(`${ADMIN.username}:${ADMIN.password}`).toString('base64');
    const url = `http://${fleet.hub.machine.loopbackHost}:${HUB_PORT}/api/v1/purges`;
    const headers = { authorization: `Basic ${basic}`, 'content-type': 'application/json' };
    const sent = body === undefined ? {} : { body: JSON.stringify(body) };
    const answer = await fleet.hub.worker.http(url, { method, headers, ...sent });
    assert.equal(answer.status, 200, answer.body.toString());
    return JSON.parse(answer.body.toString());
  }

  async function unreachedAre(...nodes: FleetNode[]): Promise<void> {
    const wanted = nodes.map(({ machine }) => machine.name);
    await until(`only ${wanted.join()} not reached`, REACHED_TIMEOUT_MS, async () => {
      const { unreached } = await purges();
      return unreached.join() === wanted.join() ? true : undefined;
    });
  }

  /** What the agent of the node answers for the layer. */
  async function answerOf({ machine, worker }: FleetNode): Promise<number> {
    const target = `/v2/${image.repository}/blobs/${layer}?ns=${HUB_NAME}`;
    const url = `http://${machine.loopbackHost}:${MIRROR_PORT}${target}`;
    return (await worker.http(url)).status;
  }

  /** All that it answers until the signal; a mirror that does not listen yet answers nothing. */
  async function answersOf(node: FleetNode, signal: AbortSignal): Promise<Set<number>> {
    const answers = new Set<number>();
    while (!signal.aborted) {
      const answer = await answerOf(node).catch(() => undefined);
      if (answer !== undefined) answers.add(answer);
    }
    return answers;
  }

  /** Whether the node has a file that is named after the layer. */
  async function hasFile({ agent }: FleetNode): Promise<boolean> {
    const names = await readdir(path.join(agent.folder), { recursive: true });
    return names.some((name) => name.includes(layer.slice('sha256:'.length)));
  }

  test('nodes remove it, and the one that is away is named', async () => {
    const [one, two, away] = [fleet.node(1), fleet.node(2), fleet.node(3)];
    for (const node of fleet.nodes) assert.ok(await hasFile(node), 'they have it');
    await away.agent.kill();
    const { unreached } = await purges('POST', { digest: layer });
    assert.ok(unreached.includes(away.machine.name));
    await unreachedAre(away);
    assert.deepEqual([await hasFile(one), await hasFile(two)], [false, false]);
    assert.deepEqual([await answerOf(one), await answerOf(two)], [404, 404]);
    assert.ok(await hasFile(away));
  });

  test('the one that was away removes it before it serves anything', async () => {
    const away = fleet.node(3);
    const stop = new AbortController();
    const asking = answersOf(away, stop.signal);
    await away.agent.start();
    stop.abort();
    const answers = await asking;
    assert.ok(!answers.has(200), `answered ${[...answers].join()}`);
    await unreachedAre();
    assert.deepEqual([await answerOf(away), await hasFile(away)], [404, false]);
  });

  test('without the hub an agent that starts again still knows', async () => {
    const node = fleet.node(1);
    await fleet.hub.stop();
    await node.agent.kill();
    await node.agent.start();
    assert.notEqual(await answerOf(node), 200);
    assert.equal(await hasFile(node), false);
  });
});
