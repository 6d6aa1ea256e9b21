import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import { ConnectionSink } from './file-sink.ts';
import { loadSendFile } from './sendfile.ts';

/** Which platforms have it. */
const HAS_SENDFILE = process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch);

test(
  'a client is cut also while a call for it hangs at a disk',
  { skip: !HAS_SENDFILE, timeout: 20_000 },
  async () => {
    const never = new Promise<number>(() => {});
    const calls = { ...loadSendFile(), send: () => never };
    const server = createServer();
    const asked = once(server, 'request');
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    assert.ok(address !== null && typeof address === 'object');
    const client = connect(address.port, '127.0.0.1');
    client.resume();
    client.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    const response: ServerResponse = (await asked)[1];
    response.writeHead(200, { 'content-length': 9 });
    await new Promise((resolve) => response.write('1', resolve));
    const sink = ConnectionSink.of(response, calls, () => {});
    assert.ok(sink !== undefined);
    sink.written();
    void sink.take(0, 0, 8);
    const ended = once(client, 'end');
    // The order of a stall: the body is given up, then the answer is cut.
    sink[Symbol.dispose]();
    response.destroy();
    await ended;
    client.destroy();
    server.close();
  },
);
