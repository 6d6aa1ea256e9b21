import type { Server } from 'node:net';
import { isIPv4, isIPv6 } from 'node:net';
import { hasCode, messageOf } from '../std/errors.ts';
import { OpsError } from './errors.ts';

/** Where a server listens. `host` is `::` when the text named only a port (both families). */
export type ListenAddress = { host: string; port: number };

const PORT_MAX = 65_535;
const HOST_NAME = /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/;

/**
 * Reads `127.0.0.1:7410`, `[::1]:7410`, `localhost:7410`, or `:7400` for all addresses of both
 * families. Port 0 asks the system for a free port.
 * @throws OpsError LISTEN_INVALID
 */
export function parseListen(text: string): ListenAddress {
  const match = /^(?:\[(?<v6>[^\]]*)\]|(?<host>[^:[\]]*)):(?<port>\d{1,5})$/.exec(text);
  const port = Number(match?.groups?.['port'] ?? Number.NaN);
  const v6 = match?.groups?.['v6'];
  const host = match?.groups?.['host'];
  if (match === null || port > PORT_MAX) throw invalid(text);
  if (v6 !== undefined) {
    if (!isIPv6(v6)) throw invalid(text);
    return { host: v6, port };
  }
  if (host === undefined || host === '') return { host: '::', port };
  const numeric = /^[0-9.]+$/.test(host);
  if (numeric ? !isIPv4(host) : !HOST_NAME.test(host)) throw invalid(text);
  return { host, port };
}

/** The text form of an address, with brackets around IPv6: what `parseListen` reads. */
export function formatListen(address: ListenAddress): string {
  return isIPv6(address.host)
    ? `[${address.host}]:${address.port}`
    : `${address.host}:${address.port}`;
}

/** True when this machine lacks the address or its family (no IPv6); looks into causes. */
export function isAddressUnavailable(err: unknown): boolean {
  if (hasCode(err, 'EADDRNOTAVAIL', 'EAFNOSUPPORT')) return true;
  return err instanceof Error && err.cause !== undefined && isAddressUnavailable(err.cause);
}

/**
 * Starts a server at `text` and returns its real address. `:port` means both families, and IPv4
 * alone where the machine has no IPv6. With `ipv6Only` an IPv6 address takes no IPv4 connections,
 * so that another server may have the port for IPv4.
 * @throws OpsError LISTEN_INVALID, LISTEN_FAILED (the system's error is the cause)
 */
export async function bindServer(
  server: Server,
  text: string,
  options: { ipv6Only?: boolean } = {},
): Promise<ListenAddress> {
  const address = parseListen(text);
  const ipv6Only = options.ipv6Only === true && isIPv6(address.host);
  try {
    return await listenOnce(server, address, ipv6Only);
  } catch (err) {
    if (address.host === '::' && !ipv6Only && isAddressUnavailable(err)) {
      return bindServer(server, `0.0.0.0:${address.port}`);
    }
    throw new OpsError(
      `cannot listen on ${text}: ${messageOf(err)}; choose a free port of this machine`,
      { code: 'LISTEN_FAILED', listen: text, reason: messageOf(err) },
      { cause: err },
    );
  }
}

function listenOnce(
  server: Server,
  { host, port }: ListenAddress,
  ipv6Only: boolean,
): Promise<ListenAddress> {
  return new Promise((resolve, reject) => {
    const onError = (err: Error): void => {
      server.off('listening', onListening);
      reject(err);
    };
    const onListening = (): void => {
      server.off('error', onError);
      const bound = server.address();
      if (bound === null || typeof bound === 'string') {
        reject(new Error('the server has no address'));
        return;
      }
      resolve({ host: bound.address, port: bound.port });
    };
    server.once('error', onError);
    server.once('listening', onListening);
    server.listen({ host, port, ipv6Only });
  });
}

function invalid(text: string): OpsError {
  return new OpsError(
    `"${text}" is not a listen address; write 127.0.0.1:7410, [::1]:7410 or :7400`,
    { code: 'LISTEN_INVALID', text },
  );
}
