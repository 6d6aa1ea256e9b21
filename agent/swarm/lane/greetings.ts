import type { Socket } from 'node:net';
import { LANE_GREETINGS_MAX, LANE_GREETINGS_PER_ADDRESS_MAX } from './constants.ts';

/** Connections whose handshake has not ended: few of each address, so that none takes all. */
export class Greetings {
  readonly #byAddress = new Map<string, number>();
  /** By the addresses and the port that make a connection of one listener unique. */
  readonly #sockets = new Map<string, Socket>();

  get size(): number {
    return this.#sockets.size;
  }

  /** False: there are too many; nothing is remembered of this one. */
  begin(socket: Socket): boolean {
    const { remoteAddress: address } = socket;
    if (address === undefined || this.#sockets.size >= LANE_GREETINGS_MAX) return false;
    const before = this.#byAddress.get(address) ?? 0;
    if (before >= LANE_GREETINGS_PER_ADDRESS_MAX) return false;
    const key = keyOf(socket);
    this.#byAddress.set(address, before + 1);
    this.#sockets.set(key, socket);
    socket.on('close', () => this.#forget(key, address));
    return true;
  }

  /** The handshake is over; `socket` is the one over the connection. */
  ended(socket: Socket): void {
    this.#forget(keyOf(socket), socket.remoteAddress ?? '');
  }

  /** Cuts them all. */
  cut(): void {
    for (const socket of this.#sockets.values()) socket.destroy();
  }

  #forget(key: string, address: string): void {
    if (!this.#sockets.delete(key)) return;
    const left = (this.#byAddress.get(address) ?? 1) - 1;
    if (left > 0) this.#byAddress.set(address, left);
    else this.#byAddress.delete(address);
  }
}

function keyOf({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}
