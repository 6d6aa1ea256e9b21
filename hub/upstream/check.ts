import { canonicalHost } from '../../proto/oci/name.ts';
import { networksOf } from '../../proto/std/networks.ts';
import { isGlob } from '../access/glob.ts';
import { DEFAULT_PROJECT, isProjectName } from '../access/project.ts';
import type { UpstreamConfig } from './options.ts';
import { presetUrl } from './presets.ts';
import { segmentOf } from '../../proto/oci/name.ts';

type Refuse = (path: string, message: string) => void;

const URL_RULE = 'is not https://host[:port] and nothing more';
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/** Tells of every upstream that cannot be used, or that another one already is. */
export function checkUpstreams(
  upstreams: readonly UpstreamConfig[],
  hubNames: readonly string[],
  refuse: Refuse,
): void {
  const taken = new Map<string, string>(
    hubNames.map((name) => [segmentOf(name), 'hub.names says that this is the hub itself']),
  );
  for (const [index, upstream] of upstreams.entries()) {
    const at = (key: string): string => `upstreams[${index}].${key}`;
    const name = segmentOf(upstream.name);
    claim(canonicalHost(upstream.name), at('name'), taken, refuse);
    if (!name.includes('.')) refuse(at('name'), 'has neither a dot nor a port');
    const { alias } = upstream;
    if (alias !== undefined) {
      if (alias.includes('.')) refuse(at('alias'), 'has a dot, as only hosts have');
      else if (!isProjectName(alias)) refuse(at('alias'), 'is no first segment of a repository');
      else if (alias === DEFAULT_PROJECT || alias === 'localhost') {
        refuse(at('alias'), `${alias} means something else already`);
      } else claim(alias, at('alias'), taken, refuse);
    }
    checkAddresses(upstream, at, refuse);
    checkCredentials(upstream, at, refuse);
    for (const [i, glob] of upstream.repositories.entries()) {
      if (!isGlob(glob)) refuse(at(`repositories[${i}]`), 'is no pattern of repositories');
    }
  }
}

function claim(name: string, path: string, taken: Map<string, string>, refuse: Refuse): void {
  const key = segmentOf(name);
  const by = taken.get(key);
  if (by === undefined) taken.set(key, `${path} has this name already`);
  else refuse(path, `${name}: ${by}`);
}

function checkAddresses(
  upstream: UpstreamConfig,
  at: (key: string) => string,
  refuse: Refuse,
): void {
  const address = upstream.url ?? presetUrl(canonicalHost(upstream.name));
  const url = bareUrl(address, ['https:', 'http:']);
  const where = at(upstream.url === undefined ? 'name' : 'url');
  if (url === undefined) refuse(where, URL_RULE);
  else if (url.protocol === 'http:' && !upstream.allowPlainHttp && !LOOPBACK.test(url.hostname)) {
    refuse(where, 'is plain http; use https or set allowPlainHttp');
  }
  const { proxy } = upstream;
  if (proxy !== undefined && proxy !== 'none' && !isProxyUrl(proxy)) {
    refuse(at('proxy'), 'is neither http[s]://[user:password@]host[:port] nor none');
  }
  for (const [i, network] of upstream.allowedNetworks.entries()) {
    try {
      networksOf([network]);
    } catch {
      refuse(at(`allowedNetworks[${i}]`), 'is no network; write it as 10.0.0.0/8 or fd00::/8');
    }
  }
}

function checkCredentials(
  { credentials }: UpstreamConfig,
  at: (key: string) => string,
  refuse: Refuse,
): void {
  const known = new Set<string>();
  for (const [i, { username, password, passwordFile }] of credentials.entries()) {
    const path = at(`credentials[${i}]`);
    if (known.has(username)) refuse(`${path}.username`, `${username} is there already`);
    known.add(username);
    if (password === undefined && passwordFile === undefined) {
      refuse(`${path}.passwordFile`, 'is required');
    }
    if (password !== undefined && passwordFile !== undefined) {
      refuse(`${path}.passwordFile`, 'password is set too; keep one of them');
    }
  }
}

function bareUrl(text: string, protocols: readonly string[]): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const bare = url !== undefined && `${url.origin}/` === url.href && url.hostname !== '';
  return bare && protocols.includes(url.protocol) ? url : undefined;
}

/** Whether a text is the address of a proxy. */
function isProxyUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  return bareUrl(`${url.protocol}//${url.host}${url.pathname}`, ['http:', 'https:']) !== undefined;
}
