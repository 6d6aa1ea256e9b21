import { isIPv6 } from 'node:net';

/** Pulls that one identity may make within a window, as the registry publishes them. */
export type PullLimit = { pulls: number; windowSeconds: number };

export type Standing = { limit: PullLimit; remaining: number };

/** Without an account the limit is one of the address; of IPv6 one of its /64. */
export function addressIdentity(address: string): string {
  const plain = address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address;
  if (!isIPv6(plain)) return plain;
  const [head = '', tail] = plain.split('%')[0]?.split('::') ?? [];
  const front = head === '' ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const middle = tail === undefined ? 0 : 8 - front.length - back.length;
  const groups = [...front, ...Array.from({ length: middle }, () => '0'), ...back];
  return `${groups.slice(0, 4).join(':')}::/64`;
}

/** Counted pulls of each identity within the window that ends now. */
export class PullCounts {
  readonly #now: () => number;
  readonly #pulls = new Map<string, number[]>();

  /** `now` in ms. */
  constructor(options: { now: () => number }) {
    this.#now = options.now;
  }

  standing(identity: string, limit: PullLimit): Standing {
    const used = this.#within(identity, limit).length;
    return { limit, remaining: Math.max(0, limit.pulls - used) };
  }

  /** Counts one pull; false when there is none left, and then it is not counted. */
  count(identity: string, limit: PullLimit): boolean {
    const pulls = this.#within(identity, limit);
    if (pulls.length >= limit.pulls) return false;
    pulls.push(this.#now());
    return true;
  }

  #within(identity: string, limit: PullLimit): number[] {
    const since = this.#now() - limit.windowSeconds * 1000;
    const pulls = (this.#pulls.get(identity) ?? []).filter((at) => at > since);
    this.#pulls.set(identity, pulls);
    return pulls;
  }
}
