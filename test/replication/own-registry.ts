// A registry of a test's own, for what a real one does not do.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { TestContext } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';

/** A registry on loopback that answers as a test wants; paths are those of one repository. */
export async function ownRegistry(
  t: TestContext,
  answer: (path: string, response: ServerResponse, request: IncomingMessage) => void,
): Promise<string> {
  const server = createServer((request, response) => {
    request.resume();
    answer(request.url ?? '', response, request);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
}

/** The manifest of an image of these layers. */
export function imageOf(layers: readonly Buffer[]): Buffer {
  const parts = [Buffer.from('{}'), ...layers].map((bytes) => {
    return { mediaType: 'application/x-test', digest: digestOf(bytes), size: bytes.length };
  });
  const [config, ...rest] = parts;
  return Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: rest }),
  );
}

export function sendManifest(response: ServerResponse, bytes: Buffer): void {
  response.setHeader('content-type', OCI_MANIFEST);
  response.setHeader('docker-content-digest', digestOf(bytes));
  response.setHeader('content-length', bytes.length);
  response.end(bytes);
}
