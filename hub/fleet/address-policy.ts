import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';
import { MEMBERSHIP_ADDRESSES_MAX } from '../../proto/trust/membership.ts';

/** Longest chain of X-Forwarded-For that is followed. */
const FORWARDED_MAX = 16;

/** An address in its usual form: IPv4 in IPv6 is IPv4; undefined for anything else than an IP. */
export function canonicalAddress(text: string): string | undefined {
  const bare = text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text;
  if (isIPv4(bare)) return bare;
  if (!isIPv6(bare) || bare.includes('%')) return undefined;
  const short = new URL(`http://[${bare}]/`).hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(short);
  if (mapped === null) return short;
  const words = mapped.slice(1).map((word) => Number.parseInt(word, 16));
  return words.flatMap((word) => [word >> 8, word & 0xff]).join('.');
}

/**
 * Whom to count a connection or a wrong password for. Who has one address of IPv6 has the network
 * of 64 bits; of IPv4 and of anything else it is the text itself. `address` as canonicalAddress
 * makes it.
 */
export function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = '', tail] = address.split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const gap = tail === undefined ? 0 : 8 - front.length - back.length;
  const groups = [...front, ...Array.from({ length: gap }, () => '0'), ...back];
  return groups.slice(0, 4).join(':');
}

/**
 * A list of networks such as `10.0.0.0/8`, `fd00::/8` or single addresses.
 * @throws RangeError naming the entry that is none
 */
export function networksOf(cidrs: readonly string[]): BlockList {
  const list = new BlockList();
  for (const cidr of cidrs) {
    const [network = '', prefix, ...rest] = cidr.split('/');
    const family = isIP(network);
    const bits = family === 4 ? 32 : 128;
    const length = prefix === undefined ? bits : Number(prefix);
    const valid = /^\d{1,3}$/.test(prefix ?? '0') && length <= bits && rest.length === 0;
    if (family === 0 || !valid) {
      throw new RangeError(`"${cidr}" is no network; write it as 10.0.0.0/8 or fd00::/8`);
    }
    list.addSubnet(network, length, family === 4 ? 'ipv4' : 'ipv6');
  }
  return list;
}

/** Whether an address, as canonicalAddress makes it, is in one of the networks. */
export function isInside(list: BlockList, address: string): boolean {
  return list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
}

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
