import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { ONE_PIECE_BYTES } from './constants.ts';
import { send } from './http.ts';

const EVERY_BYTE = Buffer.from(Array.from({ length: 256 }, (_, value) => value));

for (const size of [0, 1, 300, ONE_PIECE_BYTES, ONE_PIECE_BYTES + 1]) {
  test(`a body of ${size} bytes arrives byte for byte`, async (t) => {
    // A view into something larger, as bytes from a database may be.
    const body = Buffer.concat([Buffer.of(7), Buffer.alloc(size, EVERY_BYTE)]).subarray(1);
    const server = createServer((request, response) => {
      send({ request, response }, 200, { 'content-type': 'application/octet-stream' }, body);
    });
    t.after(() => server.close());
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const address = server.address();
    assert.ok(typeof address === 'object' && address !== null);
    const answer = await fetch(`http://127.0.0.1:${address.port}/`);
    assert.equal(answer.headers.get('content-length'), String(size));
    assert.deepEqual(Buffer.from(await answer.arrayBuffer()), body);
  });
}
