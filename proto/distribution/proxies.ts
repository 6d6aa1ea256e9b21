import { isIP } from 'node:net';
import { canonicalAddress, isInside, networksOf } from '../std/networks.ts';

/** Through which proxy hosts are asked. */
export type ProxyRule = {
  /** For https:// and for http://; undefined: directly. */
  https: string | undefined;
  http: string | undefined;
  /**
   * What is asked directly: `host[:port]` with all below it, `.suffix`, an address, a network, or
   * `*` for everything.
   */
  noProxy: readonly string[];
};

/** The setting that switches the environment's proxies off. */
const NONE = 'none';
/** What no proxy of the environment is meant for. */
const THIS_MACHINE = ['localhost', '127.0.0.0/8', '::1'];
const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };

/**
 * The proxies of a registry: as configured, else those of the usual environment variables
 * HTTPS_PROXY, HTTP_PROXY and NO_PROXY, in capitals or not, which are for no host of this machine.
 * undefined: none.
 */
export function proxiesOf(
  own: { proxy?: string | undefined; noProxy?: readonly string[] | undefined },
  env: Readonly<Record<string, string | undefined>>,
): ProxyRule | undefined {
  const read = (name: string): string | undefined =>
    nonEmpty(env[name.toLowerCase()]) ?? nonEmpty(env[name]);
  const named = own.noProxy ?? (read('NO_PROXY') ?? '').split(/[\s,]+/);
  const noProxy = own.proxy === undefined ? [...named, ...THIS_MACHINE] : named;
  const rule = {
    https: own.proxy ?? withScheme(read('HTTPS_PROXY')),
    http: own.proxy ?? withScheme(read('HTTP_PROXY')),
    noProxy: noProxy.filter((entry) => entry !== ''),
  };
  const none = rule.https === undefined && rule.http === undefined;
  return none || own.proxy === NONE ? undefined : rule;
}

/** The proxy a URL is asked through; undefined: directly. */
export function proxyOf(url: URL, rule: ProxyRule | undefined): string | undefined {
  const proxy = url.protocol === 'https:' ? rule?.https : rule?.http;
  if (rule === undefined || proxy === undefined) return undefined;
  return rule.noProxy.some((entry) => fits(url, entry.toLowerCase())) ? undefined : proxy;
}

function fits(url: URL, entry: string): boolean {
  if (entry === '*') return true;
  const address = canonicalAddress(url.hostname);
  const network = networkOf(entry);
  if (network !== undefined) return address !== undefined && isInside(network, address);
  const [, name = entry, port] = /^(.*?)(?::(\d+))?$/.exec(entry) ?? [];
  if (port !== undefined && port !== (url.port || DEFAULT_PORTS[url.protocol])) return false;
  const suffix = name.replace(/^\*?\./, '');
  if (suffix === '' || isIP(suffix) !== 0) return suffix !== '' && url.hostname === suffix;
  const host = url.hostname.replace(/\.$/, '');
  return host === suffix || host.endsWith(`.${suffix}`);
}

function networkOf(entry: string): ReturnType<typeof networksOf> | undefined {
  try {
    return networksOf([entry.replace(/^\[(.*)\]$/, '$1')]);
  } catch {
    return undefined;
  }
}

/** Many write `proxy:3128`. */
function withScheme(text: string | undefined): string | undefined {
  return text === undefined || text.includes('://') ? text : `http://${text}`;
}

function nonEmpty(text: string | undefined): string | undefined {
  const trimmed = text?.trim();
  return trimmed === '' ? undefined : trimmed;
}
