// One client in the network of one machine: it pulls an image through the node's agent as
// containerd would, pushes one to the hub, or sends plain bytes.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { imageOf } from '../demo/generated-image.ts';
import { pullImage } from '../demo/pull.ts';
import { pushImage } from '../demo/push.ts';
import { serveTasks } from '../rig/client.ts';
import { nowMs } from './client.ts';
import type { ClientTask, PlainTask, PullTask, PushTask, TaskDone } from './client.ts';

const PROGRESS_MS = 250;
const PULL_TIMEOUT_MS = 60 * 60_000;
const PUSH_TIMEOUT_MS = 60 * 60_000;
const PLAIN_WRITE = Buffer.alloc(256 * 1024);

type OnBytes = (count: number) => void;

async function pull(task: PullTask, onProgress: OnBytes): Promise<number> {
  let fresh = 0;
  const report = (): void => {
    if (fresh > 0) onProgress(fresh);
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
async function plain(
  { role, host, port, bytes }: PlainTask,
  onListening: () => void,
): Promise<number> {
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
  onListening();
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

async function bytesOf(task: ClientTask, onBytes: OnBytes): Promise<number> {
  if (task.kind === 'pull') return await pull(task, onBytes);
  return task.kind === 'push' ? await push(task) : await plain(task, () => onBytes(0));
}

await serveTasks(async (line, onBytes): Promise<TaskDone> => {
  const task: ClientTask = JSON.parse(line);
  const bytes = await bytesOf(task, onBytes);
  return { bytes, atMs: nowMs() };
});
