import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { clientAddress, isInside, LOOPBACK, networksOf } from '../fleet/address-policy.ts';

/** What proxies add to a request. */
const RELAYED = ['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip'];

/**
 * Tells senders of requests apart: by address, and behind a trusted proxy by what that says. ''
 * for who is behind a proxy on this machine that is not trusted: nobody knows his address, and he
 * is not this machine.
 * @throws RangeError for a network in `trustedProxies` that is none
 */
export function createCallerOf(options: {
  trustedProxies: readonly string[];
}): (request: IncomingMessage) => string {
  const trusted = networksOf(options.trustedProxies);
  return ({ headers, socket }) => {
    const forwarded = headers['x-forwarded-for'];
    const chain = Array.isArray(forwarded) ? forwarded.join() : forwarded;
    const address = clientAddress(socket.remoteAddress, chain, trusted) ?? '';
    const isOwn = address !== '' && isInside(LOOPBACK, address) && !isInside(trusted, address);
    return isOwn && isRelayed(headers) ? '' : address;
  };
}

function isRelayed(headers: IncomingHttpHeaders): boolean {
  return RELAYED.some((name) => headers[name] !== undefined);
}
