import type { IncomingMessage } from 'node:http';
import { isIPv6 } from 'node:net';
import { canonicalAddress, isInside, networksOf } from '../fleet/address-policy.ts';

const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/;
const HOST = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([^:[\]]{1,253}))(?::(\d{1,5}))?$/;
const PORT_MAX = 65_535;
const FALLBACK = 'localhost';

/** The URL, without a slash at the end, at which the sender of a request reaches the hub. */
export type BaseUrl = (request: IncomingMessage) => string;

/**
 * `externalUrl` when there is one; else what the client sent as Host, or what a proxy says in
 * X-Forwarded-Host and X-Forwarded-Proto when its address is in `trustedProxies`.
 * @throws RangeError for a network in `trustedProxies` that is none
 */
export function createBaseUrl(options: {
  externalUrl: string | undefined;
  tls: boolean;
  trustedProxies: readonly string[];
}): BaseUrl {
  const { externalUrl, tls } = options;
  const trusted = networksOf(options.trustedProxies);
  const behindProxy = ({ socket }: IncomingMessage): boolean => {
    const address = canonicalAddress(socket.remoteAddress ?? '');
    return address !== undefined && isInside(trusted, address);
  };
  return (request) => {
    if (externalUrl !== undefined) return externalUrl;
    const { headers } = request;
    const own = tls ? 'https' : 'http';
    if (!behindProxy(request)) return `${own}://${hostOf(headers.host) ?? FALLBACK}`;
    const told = lastOf(headers['x-forwarded-proto'])?.toLowerCase();
    const scheme = told === 'https' || told === 'http' ? told : own;
    const host = hostOf(lastOf(headers['x-forwarded-host'])) ?? hostOf(headers.host) ?? FALLBACK;
    return `${scheme}://${host}`;
  };
}

/** A URL of http or https with nothing behind the host, without the slash; undefined for others. */
export function parseExternalUrl(text: string): string | undefined {
  const match = /^(https?):\/\/([^/?#]+)\/?$/.exec(text);
  const host = hostOf(match?.[2]);
  return match && host !== undefined ? `${match[1]}://${host}` : undefined;
}

/** A host name or address with or without a port, as it may stand in a URL. */
function hostOf(text: string | undefined): string | undefined {
  const match = HOST.exec(text ?? '');
  if (!match) return undefined;
  const [whole, v6, name = '', port = '1'] = match;
  const good = v6 === undefined ? NAME.test(name) : isIPv6(v6);
  return good && Number(port) > 0 && Number(port) <= PORT_MAX ? whole : undefined;
}

/** What the nearest proxy added to a list. */
function lastOf(header: string | string[] | undefined): string | undefined {
  return (Array.isArray(header) ? header.join() : header)?.split(',').at(-1)?.trim();
}
