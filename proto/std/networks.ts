import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';

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

/** Whether an address in its usual form is in one of the networks. */
export function isInside(networks: BlockList, address: string): boolean {
  return networks.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
}
