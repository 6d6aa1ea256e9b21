import type { BlockList } from 'node:net';
import { canonicalAddress, isInside, networksOf } from '../../proto/std/networks.ts';
import { MEMBERSHIP_ADDRESSES_MAX } from '../../proto/trust/membership.ts';

export { canonicalAddress, isInside, networkOf, networksOf } from '../../proto/std/networks.ts';

/** Longest chain of X-Forwarded-For that is followed. */
const FORWARDED_MAX = 16;

// Addresses at which no member can be dialled by another: unspecified, link-local, multicast,
// broadcast.
const UNDIALABLE = networksOf([
  '0.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/4',
  '255.255.255.255',
  '::',
  'fe80::/10',
  'ff00::/8',
]);
/** This machine. */
export const LOOPBACK = networksOf(['127.0.0.0/8', '::1']);

/**
 * Who is at the other end: the address of the connection or, when that is a trusted proxy, the
 * last one in X-Forwarded-For that is not.
 */
export function clientAddress(
  connection: string | undefined,
  forwardedFor: string | undefined,
  trustedProxies: BlockList,
): string | undefined {
  let address = canonicalAddress(connection ?? '');
  const chain = (forwardedFor ?? '').split(',').slice(-FORWARDED_MAX);
  while (address !== undefined && isInside(trustedProxies, address)) {
    const before = chain.pop()?.trim();
    if (before === undefined || before === '') break;
    address = canonicalAddress(withoutPort(before));
  }
  return address;
}

/** Some proxies say `192.0.2.1:443` and `[2001:db8::1]:443`. */
function withoutPort(text: string): string {
  const found = /^(?:\[(?<v6>[^\]]+)\](?::\d{1,5})?|(?<v4>[\d.]+):\d{1,5})$/.exec(text);
  return found?.groups?.['v6'] ?? found?.groups?.['v4'] ?? text;
}

/**
 * The addresses for a membership: of those an agent proposes only the ones in `allowed` networks
 * or equal to where it connects from, and where it connects from. Loopback is left out as soon as
 * there is another.
 */
export function memberAddresses(
  proposed: readonly string[],
  remote: string | undefined,
  allowed: BlockList,
): string[] {
  const all = new Set<string>();
  for (const text of proposed) {
    const address = canonicalAddress(text);
    if (address !== undefined && (address === remote || isInside(allowed, address)))
      all.add(address);
  }
  if (remote !== undefined) all.add(remote);
  const dialable = [...all].filter((address) => !isInside(UNDIALABLE, address));
  const outside = dialable.filter((address) => !isInside(LOOPBACK, address));
  return (outside.length > 0 ? outside : dialable).slice(0, MEMBERSHIP_ADDRESSES_MAX);
}
