import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { RequestListener } from 'node:http';
import { test } from 'node:test';
import { readBody } from './http-body.ts';

const CONTENT = Buffer.from(Array.from({ length: 3_000_000 }, (_, at) => at % 251));

async function serve(listener: RequestListener): Promise<{ origin: string } & AsyncDisposable> {
  const server = createServer(listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  return {
    origin: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function read(origin: string, offset = 0, signal = new AbortController().signal) {
  const parts: Buffer[] = [];
  await readBody({ origin, path: '/it?ns=x', offset }, (p) => parts.push(Buffer.from(p)), signal);
  return Buffer.concat(parts);
}

test('gives every byte of a body, from the start and from an offset on', async () => {
  await using server = await serve((request, response) => {
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const body = request.url === '/it?ns=x' ? CONTENT.subarray(from) : Buffer.alloc(1);
    response.writeHead(from > 0 ? 206 : 200, { 'content-length': body.length });
    response.end(body);
  });
  assert.ok((await read(server.origin)).equals(CONTENT));
  assert.ok((await read(server.origin, 12_345)).equals(CONTENT.subarray(12_345)));
});

test('a body that ends early is an error, after the bytes that came', async () => {
  await using server = await serve((_, response) => {
    response.writeHead(200, { 'content-length': CONTENT.length });
    response.write(CONTENT.subarray(0, 1000), () => response.destroy());
  });
  let count = 0;
  const request = { origin: server.origin, path: '/', offset: 0 };
  const reading = readBody(request, (part) => (count += part.length), AbortSignal.timeout(5000));
  await assert.rejects(reading, /ended early/);
  assert.equal(count, 1000);
});

test('another status than asked for is an error', async () => {
  await using server = await serve((_, response) => {
    response.writeHead(404, { 'content-length': 2 });
    response.end('no');
  });
  await assert.rejects(read(server.origin), /answered 404/);
});

test('ends with the reason of its signal while nothing comes', async () => {
  await using server = await serve(() => stop.abort(new Error('enough')));
  const stop = new AbortController();
  await assert.rejects(read(server.origin, 0, stop.signal), /enough/);
});
