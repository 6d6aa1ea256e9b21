import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';

/**
 * A TLS context for clients that believes servers signed by these PEM certificates or by those
 * that the program believes anyway. Make one for many connections: the system's certificates are
 * many.
 */
export function trustingContext(ca: string): SecureContext {
  return createSecureContext({ ca: [...getCACertificates('default'), ca] });
}
