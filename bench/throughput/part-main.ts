// One part of the data path in a process of its own: argv is the part, then what it needs. It says
// `ready` and its port, then works, and prints its own CPU seconds per pass.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { createServer as createHttpServer, type ServerResponse } from 'node:http';
import {
  connect as connectTcp,
  createServer as createTcpServer,
  type Socket,
  type TcpNetConnectOpts,
} from 'node:net';
import { generateKeyPair } from '@libp2p/crypto/keys';
import {
  connect as connectTls,
  createServer as createTlsServer,
  type ConnectionOptions,
} from 'node:tls';
import { createLaneCertificate } from '../../agent/swarm/lane/certificate.ts';

const MIB = 1024 * 1024;
const POOL = 12;

const [part = '', file = '', sizeText = '0', portText = '0'] = process.argv.slice(2);
const size = Number(sizeText);

async function readInto(position: number, into: Buffer): Promise<number> {
  const { bytesRead } = await source.read(into, 0, into.length, position);
  return bytesRead;
}

/** Writes the file in turns through two buffers, the next read under way during a write. */
async function sendFile(write: (bytes: Buffer) => Promise<void>): Promise<void> {
  const buffers = [Buffer.allocUnsafeSlow(MIB), Buffer.allocUnsafeSlow(MIB)] as const;
  let length = await readInto(0, buffers[0]);
  for (let at = 0, turn = 0; at < size; turn++) {
    const buffer = buffers[turn % 2 === 0 ? 0 : 1];
    const slice = buffer.subarray(0, Math.min(length, size - at));
    at += slice.length;
    const next = at < size ? readInto(at, buffers[turn % 2 === 0 ? 1 : 0]) : Promise.resolve(0);
    // oxlint-disable-next-line no-await-in-loop -- in order
    [, length] = await Promise.all([write(slice), next]);
  }
}

const writeTo =
  (stream: Socket | ServerResponse) =>
  (bytes: Buffer): Promise<void> =>
    new Promise((resolve, reject) => {
      stream.write(bytes, (err) => (err ? reject(err) : resolve()));
    });

function onSocket(socket: Socket): void {
  socket.setNoDelay(true);
  socket.on('error', () => {});
  sendFile(writeTo(socket)).then(
    () => socket.end(),
    () => socket.destroy(),
  );
}

async function serveSocket(secure: boolean): Promise<void> {
  const { certPem, keyPem } = await createLaneCertificate(
    await generateKeyPair('Ed25519'),
    Date.now(),
  );
  const server = secure
    ? createTlsServer({ cert: certPem, key: keyPem, minVersion: 'TLSv1.3' }, onSocket)
    : createTcpServer(onSocket);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  process.stdout.write(`ready ${typeof address === 'object' ? address?.port : 0}\n`);
}

/** Reads everything into pooled buffers; the bytes are not looked at. */
async function receive(secure: boolean): Promise<void> {
  const pool = Array.from({ length: POOL }, () => Buffer.allocUnsafeSlow(MIB));
  let at = 0;
  let filled = 0;
  const onread = {
    buffer: () => (pool[at % POOL] ?? Buffer.alloc(0)).subarray(filled),
    callback: (bytes: number) => {
      filled += bytes;
      if (filled === MIB) {
        filled = 0;
        at++;
      }
      return true;
    },
  };
  const where = { host: '127.0.0.1', port: Number(portText), onread };
  const options: ConnectionOptions & TcpNetConnectOpts = { ...where, rejectUnauthorized: false };
  const socket = secure ? connectTls(options) : connectTcp(where);
  await once(socket, 'close');
  if (at * MIB + filled !== size) throw new Error(`received ${at * MIB + filled} of ${size} bytes`);
}

function hashAll(): void {
  const block = Buffer.alloc(MIB, 7);
  for (let done = 0; done < size; done += MIB) createHash('sha256').update(block).digest();
}

async function writeAll(): Promise<void> {
  const blocks = Array.from({ length: POOL }, () => Buffer.alloc(MIB, 7));
  const target = await open(file, 'w');
  await target.truncate(size);
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let at = next++; at * MIB < size; at = next++) {
      const block = blocks[at % POOL] ?? Buffer.alloc(0);
      await target.write(block, 0, Math.min(MIB, size - at * MIB), at * MIB);
    }
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
  await target.close();
}

async function serveHttp(): Promise<void> {
  const server = createHttpServer((_request, response) => {
    response.setHeader('content-length', size);
    sendFile(writeTo(response)).then(
      () => response.end(),
      () => response.destroy(),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  process.stdout.write(`ready ${typeof address === 'object' ? address?.port : 0}\n`);
}

const source = await open(part === 'write' ? '/dev/null' : file, 'r');
switch (part) {
  case 'send-tls':
  case 'send-tcp':
    await serveSocket(part === 'send-tls');
    break;
  case 'serve-http':
    await serveHttp();
    break;
  default: {
    const before = process.cpuUsage();
    if (part === 'receive-tls' || part === 'receive-tcp') await receive(part === 'receive-tls');
    else if (part === 'hash') hashAll();
    else await writeAll();
    const { user, system } = process.cpuUsage(before);
    process.stdout.write(`cpu ${(user + system) / 1e6}\n`);
    process.exit(0);
  }
}
