import { isIPv4, type BlockList, type Socket } from 'node:net';
import type { Logger } from '../../proto/ops/logger.ts';
import { Seldom } from '../../proto/std/seldom.ts';
import { canonicalAddress } from '../fleet/address-policy.ts';
import { REFUSED_CONNECTIONS_LOG_MS } from './constants.ts';
import type { HttpMetrics } from './metrics.ts';

export type ConnectionSharesOptions = {
  /** Connections of one address at the same time. */
  perAddressMax: number;
  /** Who speaks for many has no share: these are counted in the sum only. */
  trustedProxies: BlockList;
  now?: () => number;
};

/** Lets no single address take all connections. Those above its share are closed at once. */
export class ConnectionShares {
  readonly #options: ConnectionSharesOptions;
  readonly #modules: { metrics: Pick<HttpMetrics, 'refusedConnections'>; logger: Logger };
  /** By address; no more entries than there are connections. */
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
    const address = canonicalAddress(socket.remoteAddress ?? '');
    if (address === undefined || this.#isProxy(address)) return;
    const open = this.#open.get(address) ?? 0;
    if (open >= this.#options.perAddressMax) {
      socket.destroy();
      this.#tell(address);
      return;
    }
    this.#open.set(address, open + 1);
    socket.once('close', () => this.#leave(address));
  }

  #leave(address: string): void {
    const open = (this.#open.get(address) ?? 0) - 1;
    if (open > 0) this.#open.set(address, open);
    else this.#open.delete(address);
  }

  #isProxy(address: string): boolean {
    return this.#options.trustedProxies.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
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
