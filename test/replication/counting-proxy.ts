// Stands before a registry and counts what goes through.
import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';

export type Passed = {
  method: string;
  path: string;
  /** Of a request: what it asks for, or which part it brings. */
  range: string | undefined;
  /** Bytes of the bodies of request and answer so far. */
  sent: number;
  received: number;
  status: number | undefined;
};

export class CountingProxy implements AsyncDisposable {
  readonly passed: Passed[] = [];
  readonly #target: URL;
  readonly #server = createServer((asked, answer) => this.#pass(asked, answer));

  private constructor(target: string) {
    this.#target = new URL(target);
  }

  static async start(target: string): Promise<CountingProxy> {
    const proxy = new CountingProxy(target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  }

  /** Requests of a method whose path has this in it. */
  of(method: string, part: string): Passed[] {
    return this.passed.filter((one) => one.method === method && one.path.includes(part));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #pass(asked: IncomingMessage, answer: ServerResponse): void {
    const { method = '', url = '', headers } = asked;
    const range = headers['content-range'] ?? headers.range;
    const passed: Passed = { method, path: url, range, sent: 0, received: 0, status: undefined };
    this.passed.push(passed);
    const { hostname, port } = this.#target;
    const onward = request({ hostname, port, method, path: url, headers });
    asked.on('data', (part: Buffer) => (passed.sent += part.length));
    asked.pipe(onward);
    asked.once('close', () => {
      if (!asked.complete) onward.destroy();
    });
    onward.on('error', () => answer.destroy());
    onward.on('response', (got) => {
      passed.status = got.statusCode;
      answer.writeHead(got.statusCode ?? 502, got.headers);
      got.on('data', (part: Buffer) => (passed.received += part.length));
      got.pipe(answer);
      answer.once('close', () => got.destroy());
    });
  }
}
