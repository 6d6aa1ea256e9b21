// Runs inside the network of one test machine and does there what its parent, in the root
// network, cannot: TCP does not cross network namespaces. One JSON line in, one JSON line out.
import { createHash } from 'node:crypto';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { Value } from 'typebox/value';
import { FaultyProxy } from './faulty-proxy.ts';
import { BODY_MAX_BYTES, WorkerRequest } from './worker-protocol.ts';
import type { HttpTask, RawTask, WorkerResult, WorkerTask } from './worker-protocol.ts';

const proxy = new FaultyProxy();

async function perform(task: WorkerTask): Promise<WorkerResult> {
  if (task.kind === 'http') return sendHttp(task);
  if (task.kind === 'raw') return sendRaw(task);
  if (task.kind === 'proxy') await proxy.listen(task);
  if (task.kind === 'fault') proxy.setFault(task);
  return { count: proxy.faultsApplied };
}

async function sendHttp(task: HttpTask): Promise<WorkerResult> {
  const signal = AbortSignal.timeout(task.timeoutMs);
  const { method = 'GET', headers = {} } = task;
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const sent = request(task.url, { method, headers, agent: false, signal }, resolve);
  sent.on('error', reject);
  sent.end(Buffer.from(task.body ?? '', 'base64'));
  const answer = await promise;
  const hash = createHash('sha256');
  const kept: Buffer[] = [];
  let bodyBytes = 0;
  for await (const chunk of answer) {
    const bytes = Buffer.from(chunk);
    hash.update(bytes);
    if (bodyBytes + bytes.length <= BODY_MAX_BYTES) kept.push(bytes);
    bodyBytes += bytes.length;
  }
  const entries = Object.entries(answer.headers).map(([name, value]) => [name, String(value)]);
  return {
    status: answer.statusCode ?? 0,
    headers: Object.fromEntries(entries),
    body: Buffer.concat(kept).toString('base64'),
    bodyBytes,
    bodySha256: hash.digest('hex'),
  };
}

async function sendRaw(task: RawTask): Promise<WorkerResult> {
  const { promise, resolve, reject } = Promise.withResolvers<WorkerResult>();
  const kept: Buffer[] = [];
  let bodyBytes = 0;
  const finish = (closed: boolean): void => {
    socket.destroy();
    resolve({ body: Buffer.concat(kept).toString('base64'), bodyBytes, closed });
  };
  const socket = connect(task.port, task.host, () => {
    socket.write(Buffer.from(task.bytes, 'base64'));
  });
  socket.setTimeout(task.timeoutMs, () => finish(false));
  socket.on('data', (bytes) => {
    if (bodyBytes + bytes.length <= BODY_MAX_BYTES) kept.push(bytes);
    bodyBytes += bytes.length;
  });
  socket.on('error', (err) => (bodyBytes > 0 || 'code' in err ? finish(true) : reject(err)));
  socket.on('close', () => finish(true));
  return promise;
}

async function answerLine(line: string): Promise<void> {
  const { id, task } = Value.Parse(WorkerRequest, JSON.parse(line));
  const result: WorkerResult | { error: string } = await perform(task).catch((err: unknown) => ({
    error: err instanceof Error ? `${err.name}: ${err.message}` : String(err),
  }));
  process.stdout.write(`${JSON.stringify({ id, ...result })}\n`);
}

process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) void answerLine(line);
process.exit(0);
