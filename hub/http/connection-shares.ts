import type { BlockList, Socket } from 'node:net';
import type { Logger } from '../../proto/ops/logger.ts';
import { Seldom } from '../../proto/std/seldom.ts';
import { canonicalAddress, isInside, networkOf } from '../fleet/address-policy.ts';
import { REFUSED_CONNECTIONS_LOG_MS } from './constants.ts';
import type { HttpMetrics } from './metrics.ts';

export type ConnectionSharesOptions = {
  /** Connections of one address, or one network of 64 bits of IPv6, at the same time. */
  perAddressMax: number;
  /** Who speaks for many has no share: these are counted in the sum only. */
  trustedProxies: BlockList;
  now?: () => number;
};

/** Lets no single client take all connections. Those above its share are closed at once. */
export class ConnectionShares {
  readonly #options: ConnectionSharesOptions;
  readonly #modules: { metrics: Pick<HttpMetrics, 'refusedConnections'>; logger: Logger };
  /** By address or network; no more entries than there are connections. */
  readonly #open = new Map<string, number>();
  readonly #refused: Seldom;

  constructor(
    options: ConnectionSharesOptions,
    modules: { metrics: Pick<HttpMetrics, 'refusedConnections'>; logger: Logger },
  ) {
    this.#options = options;
    this.#modules = modules;
    const { now = Date.now } = options;
    this.#refused = new Seldom({ everyMs: REFUSED_CONNECTIONS_LOG_MS, now });
  }

  /** Counts a new connection until it is closed, or closes it. */
  admit(socket: Socket): void {
    // The address of a neighbour says at which card of this machine it is.
    const address = canonicalAddress(socket.remoteAddress?.replace(/%.*$/, '') ?? '');
    if (address === undefined || isInside(this.#options.trustedProxies, address)) return;
    const network = networkOf(address);
    const open = this.#open.get(network) ?? 0;
    if (open >= this.#options.perAddressMax) {
      socket.destroy();
      this.#tell(address);
      return;
    }
    this.#open.set(network, open + 1);
    socket.once('close', () => this.#leave(network));
  }

  #leave(network: string): void {
    const open = (this.#open.get(network) ?? 0) - 1;
    if (open > 0) this.#open.set(network, open);
    else this.#open.delete(network);
  }

  /** One line in a while: whoever opens connections must not fill the log. */
  #tell(address: string): void {
    this.#modules.metrics.refusedConnections.inc();
    const refused = this.#refused.add();
    if (refused === undefined) return;
    const fields = { address, refused, max: this.#options.perAddressMax };
    this.#modules.logger.warn(fields, 'too many connections of one address; more are closed');
  }
}
