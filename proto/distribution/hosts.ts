const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;
const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };

/** Whether this machine itself is meant, where plain http can be read by nobody else. */
export function isLoopback(url: URL): boolean {
  return LOOPBACK.test(url.hostname);
}

/**
 * Whether a list of hosts names the host of a URL. An entry is `host[:port]`, or `*.suffix[:port]`
 * for every host below that suffix; without a port it means the default one of the URL's scheme.
 */
export function isListedHost(url: URL, hosts: readonly string[]): boolean {
  const names = [url.host, `${url.hostname}:${url.port || DEFAULT_PORTS[url.protocol]}`];
  return hosts.some((entry) => {
    const wanted = entry.toLowerCase();
    if (!wanted.startsWith('*.')) return names.includes(wanted);
    const suffix = wanted.slice(1);
    return suffix.length > 1 && names.some((name) => name.endsWith(suffix) && name !== suffix);
  });
}
