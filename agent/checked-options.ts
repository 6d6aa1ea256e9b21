import { isIP } from 'node:net';
import { isLoopback } from '../proto/distribution/hosts.ts';
import { canonicalHost } from '../proto/oci/name.ts';
import { ConfigError } from '../proto/ops/errors.ts';
import type { ConfigProblem } from '../proto/ops/errors.ts';
import { GRANT_MAX_MS } from '../proto/trust/grant.ts';
import { STALE_TAG_MAX_AGE_MS } from './mirror/constants.ts';
import type { AgentConfig } from './options.ts';

type Report = (path: string, message: string) => void;

/**
 * What is allowed, and does not what it seems to. The age of a tag counts from its statement, the
 * rights to content from the beginning of the outage; who raises only the first gains nothing.
 */
export function adviceOn(config: Pick<AgentConfig, 'fetch' | 'mirror'>): string[] {
  const { staleTagMaxAge } = config.mirror;
  const contentMs = GRANT_MAX_MS + config.fetch.grantOutageGrace;
  if (staleTagMaxAge <= Math.max(STALE_TAG_MAX_AGE_MS, contentMs)) return [];
  return [
    `mirror.staleTagMaxAge is ${minutes(staleTagMaxAge)}, but without the hub content is given ` +
      `for at most ${minutes(contentMs)}; raise fetch.grantOutageGrace if it shall be given longer`,
  ];
}

function minutes(ms: number): string {
  return `${Math.round(ms / 60_000)}m`;
}

/**
 * Settings that no schema can judge: addresses, and what has to fit together.
 * @throws ConfigError with all problems
 */
export function checkAgentOptions(config: Pick<AgentConfig, 'hub' | 'swarm' | 'upstreams'>): void {
  const problems: ConfigProblem[] = [];
  const report: Report = (path, message) =>
    void problems.push({ path, message, origin: undefined });
  const { hub, swarm, upstreams } = config;
  if (hub.url !== undefined) checkUrl('hub', hub.url, hub.allowPlainHttp, report);
  for (const [index, { url, allowPlainHttp }] of upstreams.entries()) {
    checkUrl(`upstreams[${index}]`, url, allowPlainHttp, report);
  }
  checkNames(upstreams, report);
  for (const [index, address] of swarm.addresses.entries()) {
    if (isIP(address) === 0) report(`swarm.addresses[${index}]`, 'is no IPv4 or IPv6 address');
  }
  if (problems.length > 0) throw new ConfigError('agent configuration', problems);
}

function checkUrl(section: string, text: string, allowPlainHttp: boolean, report: Report): void {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const web = url?.protocol === 'https:' || url?.protocol === 'http:';
  if (!web || `${url.origin}/` !== url.href) {
    report(`${section}.url`, 'must be https://host[:port] and nothing more');
  } else if (url.protocol === 'http:' && !allowPlainHttp && !isLoopback(url)) {
    const permit = `${section}.allowPlainHttp if the network in between is yours alone`;
    report(`${section}.url`, `is plain http; use https, or set ${permit}`);
  }
}

/** Two upstreams under one name would answer for each other. */
function checkNames(upstreams: AgentConfig['upstreams'], report: Report): void {
  const taken = new Map<string, string>();
  for (const [index, { name, alias }] of upstreams.entries()) {
    for (const [key, text] of [
      ['name', canonicalHost(name)],
      ['alias', alias],
    ] as const) {
      if (text === undefined) continue;
      const path = `upstreams[${index}].${key}`;
      const other = taken.get(text);
      if (other !== undefined) {
        report(path, `"${text}" is taken by ${other}; names and aliases are unique`);
      }
      taken.set(text, path);
    }
  }
}
