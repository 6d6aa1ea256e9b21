// The data path of the receiver over plain TCP and without the product: argv is the size, a scratch
// file and the port of a sender. Serves HTTP; a GET brings the bytes from the sender, hashes and
// writes each MiB and passes it on. It says `ready` and its port.
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import { connect } from 'node:net';

const MIB = 1024 * 1024;
const BUFFERS = 32;

const [sizeText = '0', scratch = '', portText = '0'] = process.argv.slice(2);
const size = Number(sizeText);
const free = Array.from({ length: BUFFERS }, () => Buffer.allocUnsafeSlow(MIB));

async function pass(response: ServerResponse): Promise<void> {
  const file = await open(scratch, 'w');
  await file.truncate(size);
  const done = Promise.withResolvers<void>();
  let current = free.pop() ?? Buffer.alloc(0);
  let filled = 0;
  let received = 0;
  let left = size;
  const keep = async (bytes: Buffer, position: number): Promise<void> => {
    createHash('sha256').update(bytes).digest();
    const sent = new Promise<void>((resolve, reject) => {
      response.write(bytes, (err) => (err ? reject(err) : resolve()));
    });
    await Promise.all([sent, file.write(bytes, 0, bytes.length, position)]);
    left -= bytes.length;
    if (left === 0) done.resolve();
  };
  const socket = connect({
    host: '127.0.0.1',
    port: Number(portText),
    onread: {
      buffer: () => current.subarray(filled),
      callback: (count) => {
        filled += count;
        if (filled < MIB && received + filled < size) return true;
        const full = current;
        const give = (): number => {
          socket.resume();
          return free.push(full);
        };
        keep(full.subarray(0, filled), received).then(give, done.reject);
        received += filled;
        filled = 0;
        current = free.pop() ?? Buffer.alloc(0);
        return free.length > 0;
      },
    },
  });
  socket.on('error', done.reject);
  await done.promise;
  free.push(current);
  socket.destroy();
  await file.close();
  response.end();
}

const server = createServer((_request, response) => {
  response.setHeader('content-length', size);
  pass(response).catch((err: unknown) => {
    process.stderr.write(`the plain path broke: ${String(err)}\n`);
    response.destroy();
  });
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.stdout.write(`ready ${typeof address === 'object' ? address?.port : 0}\n`);
});
