import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { digestOf } from '../oci/digest.ts';
import { parseRepository, type Reference } from '../oci/name.ts';
import { RegistryClient } from './registry-client.ts';
import { TEST_CERTIFICATE, TEST_KEY } from './test-certificate.ts';
import type { TransportOptions } from './transport.ts';

export const REPOSITORY = parseRepository('team/app');
export const BYTES = Buffer.from('0123456789');
export const DIGEST = digestOf(BYTES);
export const BY_DIGEST: Reference = { kind: 'digest', digest: DIGEST };

/** A registry on loopback that does what a test wants; ends with the test. */
export type TestRegistry = {
  /** `127.0.0.1:<port>`. */
  host: string;
  url: string;
  /** Every request, in the order of arrival. */
  requests: IncomingMessage[];
  sockets: Set<Socket>;
  client: (options?: Partial<TransportOptions>) => RegistryClient;
};

export async function testRegistry(
  t: TestContext,
  answer: RequestListener,
  options: { tls?: boolean } = {},
): Promise<TestRegistry> {
  const requests: IncomingMessage[] = [];
  const sockets = new Set<Socket>();
  const clients: RegistryClient[] = [];
  const listener: RequestListener = (request, response) => {
    requests.push(request);
    request.resume();
    answer(request, response);
  };
  const server = options.tls
    ? createTlsServer({ cert: TEST_CERTIFICATE, key: TEST_KEY }, listener)
    : createServer(listener);
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    await Promise.all(clients.map((client) => client.close()));
    server.close();
    server.closeAllConnections();
  });
  const host = `127.0.0.1:${portOf(server.address())}`;
  const url = `${options.tls ? 'https' : 'http'}://${host}`;
  const client = (more: Partial<TransportOptions> = {}): RegistryClient => {
    const made = new RegistryClient({ baseUrl: url, allowPlainHttp: false, ...more });
    clients.push(made);
    return made;
  };
  return { host, url, requests, sockets, client };
}

/** Resolves when the client has closed every connection. */
export async function allClosed({ sockets }: TestRegistry): Promise<void> {
  await Promise.all(
    Array.from(sockets, (socket) => new Promise((resolve) => socket.once('close', resolve))),
  );
}

/** What of a request shows whether a secret went with it. */
export function secretsOf(requests: readonly IncomingMessage[]): (string | undefined)[] {
  return requests.map(({ headers }) => headers.authorization);
}

/** The bytes of a blob that must not be sent. */
export function notSent(): AsyncIterable<Buffer> {
  throw new Error('nothing may be sent');
}

export async function bytesOf(body: AsyncIterable<Buffer> | undefined): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of body ?? []) parts.push(part);
  return Buffer.concat(parts);
}

function portOf(address: AddressInfo | string | null): number {
  return typeof address === 'object' && address !== null ? address.port : 0;
}
