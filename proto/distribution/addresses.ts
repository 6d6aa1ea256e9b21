import { lookup as systemLookup, type LookupAddress, type LookupOptions } from 'node:dns';
import type { BlockList, LookupFunction } from 'node:net';
import { canonicalAddress, isInside, networksOf } from '../std/networks.ts';
import { distributionError } from './errors.ts';

export type AddressRule = {
  /** Networks besides public ones. */
  allowedNetworks: readonly string[];
  /** What the operator calls that list, for the error. */
  setting?: string | undefined;
  /** Asks for all addresses of a host; the system's by default. */
  lookup?: Lookup | undefined;
};

export type Lookup = (
  host: string,
  options: LookupOptions & { all: true },
  done: (err: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

// Not of the whole internet, or of one machine (IANA special-purpose address registries).
const SPECIAL = networksOf([
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/3',
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  '3fff::/20',
]);
const GLOBAL_V6 = networksOf(['2000::/3']);
/** Leads to the IPv4 address in its last 32 bits (RFC 6052 section 2.1). */
const NAT64 = networksOf(['64:ff9b::/96']);
const GROUP = 0x1_0000;

/** Whether an address in its usual form is one of the whole internet. */
export function isPublicAddress(address: string): boolean {
  if (isInside(NAT64, address)) return isPublicAddress(embeddedV4(address));
  const known = !address.includes(':') || isInside(GLOBAL_V6, address);
  return known && !isInside(SPECIAL, address);
}

function embeddedV4(address: string): string {
  const groups = address.split(':').slice(-2);
  const bits = groups.reduce((sum, group) => sum * GROUP + Number.parseInt(group || '0', 16), 0);
  return [24, 16, 8, 0].map((shift) => Math.floor(bits / 2 ** shift) % 256).join('.');
}

/**
 * Keeps connections to hosts that others name away from what is reachable only from here. Names
 * are looked up once, when a socket is opened, and it goes to the very addresses that were checked.
 */
export class AddressGuard {
  readonly #allowed: BlockList;
  readonly #rule: AddressRule;

  /** @throws RangeError for an entry that is no network */
  constructor(rule: AddressRule) {
    this.#rule = rule;
    this.#allowed = networksOf(rule.allowedNetworks);
  }

  /** A host that is an address itself is never looked up. @throws DistributionError */
  checkLiteral(hostname: string): void {
    const address = canonicalAddress(hostname);
    if (address !== undefined) this.#check(hostname, address);
  }

  /** For node:net; fails with ADDRESS_REFUSED when any address is one to keep away from. */
  readonly lookup: LookupFunction = (hostname, options, done) => {
    const { lookup = systemLookup } = this.#rule;
    lookup(hostname, { ...options, all: true }, (err, addresses) => {
      const failure = err ?? this.#fault(hostname, addresses);
      const [first] = addresses ?? [];
      if (failure || first === undefined) done(failure ?? nothingFound(hostname), []);
      else if (options.all === true) done(null, addresses);
      else done(null, first.address, first.family);
    });
  };

  #fault(hostname: string, addresses: readonly LookupAddress[]): Error | undefined {
    try {
      for (const { address } of addresses) this.#check(hostname, address);
      return undefined;
    } catch (err) {
      return err instanceof Error ? err : new Error('no address', { cause: err });
    }
  }

  #check(host: string, text: string): void {
    const address = canonicalAddress(text);
    if (address !== undefined && (isPublicAddress(address) || isInside(this.#allowed, address))) {
      return;
    }
    const { setting = 'allowedNetworks' } = this.#rule;
    const message =
      `${host} is at ${text}, which is no public address; ` +
      `if that is right, list its network in ${setting}`;
    throw distributionError({ code: 'ADDRESS_REFUSED', host, address: text }, message);
  }
}

function nothingFound(hostname: string): Error {
  return new Error(`${hostname} has no address`);
}
