import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { SENDFILE_REFUSALS_MAX } from './constants.ts';
import { ConnectionSink } from './file-sink.ts';
import { loadSendFile } from './sendfile.ts';
import type { SendFile } from './sendfile.ts';

/** Which platforms have it. */
const HAS_SENDFILE = process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch);
const OPTIONS = { skip: !HAS_SENDFILE, timeout: 20_000 };

type Sending = AsyncDisposable & { client: Socket; response: ServerResponse; sink: ConnectionSink };

/** A response whose first byte is out and whose further ones go by these calls. */
async function sendingBy(calls: SendFile): Promise<Sending> {
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
  const end = async (): Promise<void> => {
    client.destroy();
    response.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
  return { client, response, sink, [Symbol.asyncDispose]: end };
}

test('a client is cut also while a call for it hangs at a disk', OPTIONS, async () => {
  const never = new Promise<number>(() => {});
  await using sending = await sendingBy({ ...loadSendFile(), send: () => never });
  const { client, response, sink } = sending;
  void sink.take(0, 0, 8);
  const ended = once(client, 'end');
  // The order of a stall: the body is given up, then the answer is cut.
  sink[Symbol.dispose]();
  response.destroy();
  await ended;
});

test('who is cut while it waits for a turn keeps no connection open', OPTIONS, async () => {
  const calls = loadSendFile();
  let open = 0;
  await using sending = await sendingBy({
    ...calls,
    duplicate: (connection) => {
      open += 1;
      return calls.duplicate(connection);
    },
    close: (descriptor) => {
      open -= 1;
      calls.close(descriptor);
    },
    send: async (_connection, _file, _range, { signal }) => {
      await once(signal, 'abort');
      throw signal.reason;
    },
  });
  const taking = sending.sink.take(0, 0, 8);
  assert.equal(open, 1);
  sending.sink[Symbol.dispose]();
  await assert.rejects(taking, /the body is over/);
  assert.equal(open, 0);
});

test('a file that cannot be sent so is offered no more after some tries', OPTIONS, async () => {
  let tries = 0;
  const send = async (): Promise<number> => {
    tries += 1;
    return -1;
  };
  await using sending = await sendingBy({ ...loadSendFile(), send });
  const { sink } = sending;
  using over = sink;
  void over;
  for (let turn = 1; turn <= SENDFILE_REFUSALS_MAX; turn++) {
    sink.written();
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assert.equal(await sink.take(0, 0, 8), 0);
  }
  sink.written();
  assert.equal(await sink.take(0, 0, 8), undefined);
  assert.equal(tries, SENDFILE_REFUSALS_MAX);
});
