import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import type { FaultTask, ProxyTask } from './worker-protocol.ts';

/** A TCP proxy that cuts or corrupts what flows back to the client, on command. */
export class FaultyProxy {
  #fault: FaultTask = { kind: 'fault', action: 'none', afterBytes: 0, times: 0 };
  #applied = 0;
  #server: Server | undefined;
  readonly #sockets = new Set<Socket>();

  get faultsApplied(): number {
    return this.#applied;
  }

  setFault(fault: FaultTask): void {
    this.#fault = { ...fault };
  }

  async listen(task: ProxyTask): Promise<void> {
    const server = createServer((client) => this.#join(client, connect(task.port, task.host)));
    this.#server = server;
    server.listen(task.listenPort, '::');
    await once(server, 'listening');
  }

  close(): void {
    this.#server?.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #join(client: Socket, upstream: Socket): void {
    let answerBytes = 0;
    const end = (): void => {
      client.destroy();
      upstream.destroy();
      this.#sockets.delete(client);
    };
    this.#sockets.add(client);
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end);
    client.on('data', (bytes) => {
      answerBytes = 0;
      if (!upstream.write(bytes)) client.pause();
    });
    upstream.on('drain', () => client.resume());
    client.on('drain', () => upstream.resume());
    upstream.on('data', (bytes) => {
      const position = this.#fault.afterBytes - answerBytes;
      answerBytes += bytes.length;
      const due = position >= 0 && position < bytes.length && this.#fault.times > 0;
      if (due && this.#fault.action !== 'none') {
        this.#fault.times -= 1;
        this.#applied += 1;
        if (this.#fault.action === 'cut') {
          client.write(bytes.subarray(0, position), end);
          return;
        }
        bytes[position] = (bytes[position] ?? 0) ^ 1;
      }
      if (!client.write(bytes)) upstream.pause();
    });
  }
}
