import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';

/** An address in its usual form: IPv4 in IPv6 is IPv4; undefined for anything else than an IP. */
export function canonicalAddress(text: string): string | undefined {
  const bare = text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bare)?.[1] ?? bare;
  if (isIPv4(mapped)) return mapped;
  if (!isIPv6(mapped) || mapped.includes('%')) return undefined;
  return new URL(`http://[${mapped}]/`).hostname.slice(1, -1);
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
