import type { IncomingMessage } from 'node:http';
import { clientAddress, networksOf } from '../fleet/address-policy.ts';

/**
 * Tells senders of requests apart: by address, and behind a trusted proxy by what that says.
 * @throws RangeError for a network in `trustedProxies` that is none
 */
export function createCallerOf(options: {
  trustedProxies: readonly string[];
}): (request: IncomingMessage) => string {
  const trusted = networksOf(options.trustedProxies);
  return ({ headers, socket }) => {
    const forwarded = headers['x-forwarded-for'];
    const chain = Array.isArray(forwarded) ? forwarded.join() : forwarded;
    return clientAddress(socket.remoteAddress, chain, trusted) ?? '';
  };
}
