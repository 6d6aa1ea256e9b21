import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { Fleet } from '../rig/fleet.ts';
import type { Published } from '../rig/fleet.ts';
import { HUB_PORT, MIRROR_PORT } from '../rig/flotilla.ts';
import type { Program } from '../rig/flotilla.ts';
import { MIB } from '../rig/images.ts';
import { missingFor } from '../rig/requirements.ts';
import { until } from '../rig/until.ts';
import type { Worker } from '../rig/worker.ts';

const BODY_BYTES = 24 * MIB;
/** A body of this size then takes some four seconds. */
const SLOW_MBIT = 50;
const BODY_TIMEOUT_MS = 60_000;
const EXIT_TIMEOUT_MS = 60_000;

describe('SIGTERM', { skip: missingFor() }, () => {
  test('lets running bodies of hub and agent finish, takes no new ones, exits 0', async () => {
    await using fleet = await Fleet.start({ nodes: 1, containerd: false });
    const image = await fleet.publish('drain', [BODY_BYTES]);
    const { hub } = fleet;
    const { agent, machine, worker } = fleet.node(1);
    for (const program of [hub, agent]) await assertOneProcess(program);

    // The agent's body flows while its own source is slow.
    await hub.machine.shape(SLOW_MBIT);
    const mirror = `http://127.0.0.1:${MIRROR_PORT}`;
    await drains(agent, worker, mirror, image, async () => {
      const metrics = await agent.metrics();
      return metrics.sum('flotilla_agent_fetched_bytes_total', { source: 'hub' });
    });

    const direct = `http://${hub.machine.urlHost}:${HUB_PORT}`;
    const earlier = (await machine.traffic()).receivedBytes;
    await drains(hub, worker, direct, image, async () => {
      const { receivedBytes } = await machine.traffic();
      return receivedBytes - earlier;
    });
  });
});

/** Starts a body, sends SIGTERM when a part of it flowed, and waits for body and exit. */
async function drains(
  program: Program,
  worker: Worker,
  base: string,
  image: Published,
  flowed: () => Promise<number>,
): Promise<void> {
  const digest = image.layers.at(-1)?.digest ?? '';
  const url = `${base}/v2/${image.repository}/blobs/${digest}`;
  const body = worker.http(url, { timeoutMs: BODY_TIMEOUT_MS });
  body.catch(() => {});
  await until(`${program.name} sends`, BODY_TIMEOUT_MS, async () =>
    (await flowed()) > BODY_BYTES / 8 ? true : undefined,
  );
  const { running } = program;
  running.kill('SIGTERM');
  await until(`${program.name} takes no new request`, EXIT_TIMEOUT_MS, async () => {
    const answer = await worker.http(url, { headers: { range: 'bytes=0-0' } }).catch(() => 'gone');
    return answer === 'gone' || (typeof answer === 'object' && answer.status === 503)
      ? true
      : undefined;
  });
  assert.equal(running.exit, undefined, `${program.name} ended before its body did`);
  const answer = await body;
  assert.equal(`sha256:${answer.bodySha256}`, digest, `${program.name} cut a body off`);
  assert.deepEqual(await running.exited, { code: 0, signal: undefined });
}

/** The launcher has become the program: signals to its pid reach it, and no shell stays. */
async function assertOneProcess(program: Program): Promise<void> {
  const { pid } = program.running;
  const command = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
  assert.match(command[0] ?? '', /node$/, `${program.name} runs as ${command.join(' ')}`);
  for (const task of await readdir(`/proc/${pid}/task`)) {
    const children = await readFile(`/proc/${pid}/task/${task}/children`, 'utf8');
    assert.equal(children.trim(), '', `${program.name} has child processes`);
  }
}
