// One client in the network of one machine: it pulls an image through the node's agent as
// containerd would, pushes one to the hub, or sends plain bytes. One JSON line in, JSON lines out.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { messageOf } from '../../proto/std/errors.ts';
import { imageOf } from '../demo/generated-image.ts';
import { pullImage } from '../demo/pull.ts';
import { pushImage } from '../demo/push.ts';
import { nowMs } from './client.ts';
import type { ClientTask, ClientWord, PlainTask, PullTask, PushTask } from './client.ts';

const PROGRESS_MS = 250;
const PULL_TIMEOUT_MS = 60 * 60_000;
const PUSH_TIMEOUT_MS = 60 * 60_000;
const PLAIN_WRITE = Buffer.alloc(256 * 1024);

function tell(word: ClientWord): void {
  process.stdout.write(`${JSON.stringify(word)}\n`);
}

async function pull(task: PullTask): Promise<number> {
  let fresh = 0;
  const report = (): void => {
    if (fresh > 0) tell({ kind: 'bytes', bytes: fresh });
    fresh = 0;
  };
  const timer = setInterval(report, PROGRESS_MS);
  try {
    const signal = AbortSignal.timeout(PULL_TIMEOUT_MS);
    const onBytes = (count: number): void => void (fresh += count);
    const { bytes } = await pullImage(task, { onBytes, signal });
    return bytes;
  } finally {
    clearInterval(timer);
    report();
  }
}

async function push(task: PushTask): Promise<number> {
  const image = imageOf(
    task.layers.map(({ fileBytes, keyHex }) => ({ fileBytes, key: Buffer.from(keyHex, 'hex') })),
  );
  return await pushImage(task, image, AbortSignal.timeout(PUSH_TIMEOUT_MS));
}

/** Sends bytes to the first who connects, or takes them until the other side ends. */
async function plain({ role, host, port, bytes }: PlainTask): Promise<number> {
  if (role === 'receive') {
    const socket = connect(port, host);
    let received = 0;
    socket.on('data', (part) => (received += part.length));
    await once(socket, 'end');
    socket.destroy();
    return received;
  }
  const server = createServer();
  server.listen(port, host);
  await once(server, 'listening');
  tell({ kind: 'bytes', bytes: 0 });
  const [socket] = await once(server, 'connection');
  for (let left = bytes; left > 0; left -= PLAIN_WRITE.length) {
    const part = PLAIN_WRITE.subarray(0, Math.min(left, PLAIN_WRITE.length));
    // oxlint-disable-next-line no-await-in-loop -- the socket is full
    if (!socket.write(part)) await once(socket, 'drain');
  }
  socket.end();
  await once(socket, 'close');
  server.close();
  return bytes;
}

async function perform(task: ClientTask): Promise<number> {
  if (task.kind === 'pull') return await pull(task);
  return task.kind === 'push' ? await push(task) : await plain(task);
}

tell({ kind: 'ready' });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    const task: ClientTask = JSON.parse(line);
    const bytes = await perform(task);
    tell({ kind: 'done', bytes, atMs: nowMs() });
  } catch (err) {
    tell({ kind: 'failed', reason: messageOf(err) });
  }
}
process.exit(0);
