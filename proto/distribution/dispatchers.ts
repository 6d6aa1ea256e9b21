import { Agent, ProxyAgent, type Dispatcher } from 'undici';
import { trustingContext } from '../std/tls-trust.ts';
import { AddressGuard, type AddressRule } from './addresses.ts';
import {
  BODY_IDLE_TIMEOUT_MS,
  CONNECT_TIMEOUT_MS,
  CONNECTIONS_MAX,
  HEADERS_TIMEOUT_MS,
} from './constants.ts';
import { proxyOf, type ProxyRule } from './proxies.ts';

export type DispatcherOptions = {
  /** PEM certificates to trust besides the system's. */
  ca?: string | undefined;
  timeouts?: { connectMs?: number; headersMs?: number; bodyIdleMs?: number } | undefined;
  /** Connections to one host; CONNECTIONS_MAX by default. */
  connections?: number | undefined;
  /**
   * Where hosts besides the registry's own may be; anywhere by default. The registry itself is
   * where its configured name leads.
   */
  addresses?: AddressRule | undefined;
  /**
   * Proxies to ask through. A proxy looks names up itself, so of a host behind one only an address
   * written as such is checked; names are those that the operator listed.
   */
  proxies?: ProxyRule | undefined;
};

/** The connections to a registry, and to the hosts it works with. */
export class Dispatchers {
  readonly #base: URL;
  readonly #rule: ProxyRule | undefined;
  readonly #guard: AddressGuard | undefined;
  readonly #own: Agent;
  readonly #others: Agent;
  readonly #proxies = new Map<string, ProxyAgent>();

  /** @throws RangeError for an allowed network that is none */
  constructor(base: URL, options: DispatcherOptions) {
    const { addresses, proxies } = options;
    const { connect, ...rest } = agentOptions(options);
    this.#base = base;
    this.#rule = proxies;
    this.#guard = addresses && new AddressGuard(addresses);
    this.#own = new Agent({ ...rest, connect });
    this.#others =
      this.#guard === undefined
        ? this.#own
        : new Agent({ ...rest, connect: { ...connect, lookup: this.#guard.lookup } });
    for (const uri of [proxies?.https, proxies?.http]) {
      if (uri === undefined || this.#proxies.has(uri)) continue;
      const tls = { requestTls: connect, proxyTls: connect };
      this.#proxies.set(uri, new ProxyAgent({ ...rest, ...tls, uri }));
    }
  }

  /** What a request to this URL goes through. @throws DistributionError ADDRESS_REFUSED */
  of(url: URL): Dispatcher {
    const isOwn = url.origin === this.#base.origin;
    if (!isOwn) this.#guard?.checkLiteral(url.hostname);
    const proxy = proxyOf(url, this.#rule);
    const direct = isOwn ? this.#own : this.#others;
    return (proxy === undefined ? undefined : this.#proxies.get(proxy)) ?? direct;
  }

  /** Ends all connections. */
  async close(): Promise<void> {
    const all = [this.#own, this.#others, ...this.#proxies.values()];
    await Promise.all(Array.from(new Set<Dispatcher>(all), (one) => one.destroy()));
  }
}

function agentOptions({ ca, timeouts = {}, connections = CONNECTIONS_MAX }: DispatcherOptions) {
  const trust = ca === undefined ? {} : { secureContext: trustingContext(ca) };
  return {
    allowH2: false,
    connections,
    headersTimeout: timeouts.headersMs ?? HEADERS_TIMEOUT_MS,
    bodyTimeout: timeouts.bodyIdleMs ?? BODY_IDLE_TIMEOUT_MS,
    connect: { timeout: timeouts.connectMs ?? CONNECT_TIMEOUT_MS, ...trust },
  };
}
