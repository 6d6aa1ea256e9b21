import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import { createLogger, type Logger } from '../../proto/ops/logger.ts';
import { startServers, type HubServers } from './servers.ts';

const POLL_MS = 20;

class Files {
  readonly folder: string;
  readonly certFile: string;
  readonly keyFile: string;

  constructor(folder: string) {
    this.folder = folder;
    this.certFile = path.join(folder, 'tls.crt');
    this.keyFile = path.join(folder, 'tls.key');
  }

  static async make(t: TestContext, name: string): Promise<Files> {
    const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-tls-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const files = new Files(folder);
    const made = files.prepare(name);
    await made.placeKey();
    await made.placeCert();
    return files;
  }

  /** A new pair, to be put in place one file after the other. */
  prepare(name: string) {
    const [key, cert] = [`${this.keyFile}.new`, `${this.certFile}.new`];
    const kind = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2';
    const output = ['-subj', `/CN=${name}`, '-keyout', key, '-out', cert];
    const made = spawnSync('openssl', [...kind.split(' '), ...output]);
    assert.equal(made.status, 0, String(made.stderr));
    return {
      placeKey: () => rename(key, this.keyFile),
      placeCert: () => rename(cert, this.certFile),
    };
  }
}

/** A logger, and the next message of each kind it is told to wait for. */
function listeningLogger(): { logger: Logger; said: (text: string) => Promise<void> } {
  const waiting: { text: string; resolve: () => void }[] = [];
  const write = (line: string): void => {
    for (const { text, resolve } of waiting) if (line.includes(text)) resolve();
  };
  const said = (text: string): Promise<void> =>
    new Promise((resolve) => void waiting.push({ text, resolve }));
  return { logger: createLogger({ level: 'debug', name: 'test' }, { write }), said };
}

async function serve(t: TestContext, files: Files, logger: Logger): Promise<HubServers> {
  const servers = await startServers(
    { listen: ['127.0.0.1:0', '127.0.0.1:0'], certificate: files, certificatePollMs: POLL_MS },
    { listener: (_request, response) => void response.end('hello'), logger },
  );
  t.after(() => servers.close());
  return servers;
}

async function dial(url: string | undefined): Promise<TLSSocket> {
  const { hostname: host, port } = new URL(url ?? '');
  const socket = connect({ host, port: Number(port), rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  return socket;
}

async function namesShown({ urls }: HubServers): Promise<string[]> {
  const sockets = await Promise.all(urls.map(dial));
  return sockets.map((socket) => {
    const { subject } = socket.getPeerCertificate();
    socket.destroy();
    return String(subject.CN);
  });
}

test('a new certificate is shown by every listener; old connections go on', async (t) => {
  const files = await Files.make(t, 'first');
  const { logger, said } = listeningLogger();
  const servers = await serve(t, files, logger);
  assert.deepEqual(await namesShown(servers), ['first', 'first']);
  const old = await dial(servers.urls[0]);
  t.after(() => old.destroy());
  const renewed = said('new certificate in use');
  const made = files.prepare('second');
  await made.placeKey();
  await made.placeCert();
  await renewed;
  assert.deepEqual(await namesShown(servers), ['second', 'second']);
  old.write('GET / HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n');
  let text = '';
  for await (const part of old) text += String(part);
  assert.match(text, /^HTTP\/1\.1 200 [^]*hello$/);
});

test('a certificate that came before its key is used once the key is there', async (t) => {
  const files = await Files.make(t, 'first');
  const { logger, said } = listeningLogger();
  const servers = await serve(t, files, logger);
  const made = files.prepare('second');
  const refused = said('not usable');
  await made.placeCert();
  await refused;
  assert.deepEqual(await namesShown(servers), ['first', 'first']);
  const renewed = said('new certificate in use');
  await made.placeKey();
  await renewed;
  assert.deepEqual(await namesShown(servers), ['second', 'second']);
});

test('junk in the files keeps the old certificate', async (t) => {
  const files = await Files.make(t, 'first');
  const { logger, said } = listeningLogger();
  const servers = await serve(t, files, logger);
  const refused = said('not usable');
  await writeFile(files.certFile, 'junk');
  await refused;
  assert.deepEqual(await namesShown(servers), ['first', 'first']);
});

test('an address that is taken leaves none of the others open', async (t) => {
  const taken = createTcpServer().listen(0, '127.0.0.1');
  t.after(() => taken.close());
  await once(taken, 'listening');
  const port = (server: typeof taken): number => {
    const address = server.address();
    return typeof address === 'object' ? (address?.port ?? 0) : 0;
  };
  const free = createTcpServer().listen(0, '127.0.0.1');
  await once(free, 'listening');
  const freePort = port(free);
  free.close();
  await once(free, 'close');
  const { logger } = listeningLogger();
  const listen = [`127.0.0.1:${freePort}`, `127.0.0.1:${port(taken)}`];
  const started = startServers({ listen }, { listener: () => {}, logger });
  await assert.rejects(started, { code: 'LISTEN_FAILED' });
  const again = createTcpServer().listen(freePort, '127.0.0.1');
  await once(again, 'listening');
  again.close();
});
