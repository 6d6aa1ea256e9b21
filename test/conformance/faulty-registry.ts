// A registry in front of another one that does one thing wrong.
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import { Agent } from 'undici';

export type Reply = {
  method: string;
  /** Path and query that were asked for. */
  path: string;
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
};

/** Headers that are about one connection, not about the answer. */
const OF_CONNECTION = ['connection', 'keep-alive', 'transfer-encoding'];

/** Passes everything on to the registry at `url` and lets `spoil` change the answers. */
export async function startFaultyRegistry(
  url: string,
  spoil: (reply: Reply) => void,
): Promise<{ url: string } & AsyncDisposable> {
  const agent = new Agent();
  const answer = async (
    method: string,
    path: string,
    headers: IncomingHttpHeaders,
    body: Buffer,
  ): Promise<Reply> => {
    const sent: IncomingHttpHeaders = { ...headers, 'content-length': String(body.length) };
    for (const name of OF_CONNECTION) delete sent[name];
    const response = await agent.request({
      origin: url,
      path,
      method: methodOf(method),
      headers: sent,
      body,
    });
    const bytes = Buffer.from(await response.body.arrayBuffer());
    const own = { ...response.headers };
    for (const name of OF_CONNECTION) delete own[name];
    return { method, path, status: response.statusCode, headers: own, body: bytes };
  };
  const server = createServer((request, response) => {
    const { method = 'GET', url: path = '/' } = request;
    void (async () => {
      const body = Buffer.concat(await request.toArray());
      const reply = await answer(method, path, request.headers, body);
      const whole = reply.body.length;
      spoil(reply);
      const cut = reply.body.length !== whole && method !== 'HEAD';
      if (cut) reply.headers['content-length'] = String(reply.body.length);
      response.writeHead(reply.status, reply.headers).end(reply.body);
    })().catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  return {
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
      await agent.destroy();
    },
  };
}

function methodOf(text: string) {
  const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;
  return methods.find((method) => method === text) ?? 'GET';
}
