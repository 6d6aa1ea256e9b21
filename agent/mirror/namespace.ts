import { canonicalHost, segmentOf } from '../../proto/oci/name.ts';
import { HUB_NAMESPACE } from '../../proto/trust/grant.ts';

/** What may be asked here. `ns` is written by any local process, so this is an allow-list. */
export type NamespaceRules = {
  /** Hosts that are the hub, `host` or `host:port`; may grow at enrolment. */
  hubNames(): readonly string[];
  /** Port of the hub's own URL: a hub name without port covers it, 80 and 443. */
  hubPort: number | undefined;
  /** Upstreams this node asks itself, each with its alias for clients that send no `ns`. */
  upstreams: readonly UpstreamRule[];
  /** Upstreams whose content the hub has under their own names; learned from it. */
  hubUpstreams(): readonly UpstreamRule[];
};

/** Canonical host, and a first path segment that means the same. */
export type UpstreamRule = { namespace: string; alias?: string | undefined };

/**
 * Which registry a request is for: HUB_NAMESPACE or the canonical host of an upstream. `behind`:
 * canonical host of the upstream that the hub is asked for.
 */
export type Target = { kind: 'hub' | 'upstream'; namespace: string; behind?: string };

export type Resolution =
  /** `path` is the registry path below that registry, still undecoded. */
  | { kind: 'found'; target: Target; path: string }
  | { kind: 'unknown'; path: string }
  | { kind: 'invalid'; reason: string };

const HUB: Target = { kind: 'hub', namespace: HUB_NAMESPACE };
const API_PREFIX = '/v2/';
const HOST_MAX_CHARS = 261;
const NAME_HOST = /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?$/;
const V6_HOST = /^\[[0-9a-f:.]+\](?::[0-9]{1,5})?$/;
const WEB_PORTS = [80, 443];

/**
 * Finds the registry a request is for, out of the raw request target (path and query as sent).
 * With `ns` the path is taken as it is; without, a first path segment that is a host or an alias
 * of an upstream names the registry, and everything else is the hub's.
 */
export function resolveNamespace(rawUrl: string, rules: NamespaceRules): Resolution {
  const mark = rawUrl.indexOf('?');
  const path = mark === -1 ? rawUrl : rawUrl.slice(0, mark);
  if (!path.startsWith('/')) return { kind: 'invalid', reason: 'request target is not a path' };
  const given = new URLSearchParams(mark === -1 ? '' : rawUrl.slice(mark + 1)).getAll('ns');
  if (given.length > 1) return { kind: 'invalid', reason: 'ns is given more than once' };
  const [ns] = given;
  if (ns === undefined) return byPath(path, rules);
  const host = parseHost(ns);
  if (host === undefined) return { kind: 'invalid', reason: 'ns is not a registry host' };
  const target = targetOf(host, rules);
  if (target?.kind === 'hub') return ofHub(path, rules);
  if (target !== undefined) return { kind: 'found', target, path };
  return throughHub(host, path, rules) ?? { kind: 'unknown', path };
}

function byPath(path: string, rules: NamespaceRules): Resolution {
  const slash = path.indexOf('/', API_PREFIX.length);
  if (!path.startsWith(API_PREFIX) || slash === -1) return { kind: 'found', target: HUB, path };
  const segment = path.slice(API_PREFIX.length, slash);
  const rest = path.slice(slash + 1);
  const aliased = rules.upstreams.find((upstream) => upstream.alias === segment);
  if (aliased !== undefined) return below(aliased.namespace, rest);
  if (!/[.:[]/.test(segment) && segment !== 'localhost') return ofHub(path, rules);
  const host = parseHost(segment);
  if (host === undefined) return { kind: 'invalid', reason: 'first path segment is not a host' };
  const target = targetOf(host, rules);
  if (target === undefined) {
    return throughHub(host, `${API_PREFIX}${rest}`, rules) ?? { kind: 'unknown', path };
  }
  return target.kind === 'hub'
    ? ofHub(`${API_PREFIX}${rest}`, rules)
    : below(target.namespace, rest);
}

/** What the hub has of upstreams has one name here too, whichever of its names was used. */
function ofHub(path: string, rules: NamespaceRules): Resolution {
  const slash = path.indexOf('/', API_PREFIX.length);
  const segment = path.slice(API_PREFIX.length, slash);
  const known = rules
    .hubUpstreams()
    .find((one) => one.alias === segment || segmentOf(one.namespace) === segmentOf(segment));
  if (!path.startsWith(API_PREFIX) || slash === -1 || known === undefined) {
    return { kind: 'found', target: HUB, path };
  }
  return atHub(known.namespace, `${API_PREFIX}${path.slice(slash + 1)}`);
}

function below(namespace: string, rest: string): Resolution {
  return {
    kind: 'found',
    target: { kind: 'upstream', namespace },
    path: `${API_PREFIX}${withLibrary(namespace, rest)}`,
  };
}

/** Names of one word live under library/ at Docker Hub; clients add it only where they know. */
function withLibrary(host: string, rest: string): string {
  const short = host === 'docker.io' && /^[^/]+\/(?:manifests|blobs)\//.test(rest);
  return short ? `library/${rest}` : rest;
}

/** The hub keeps content of an upstream in repositories that begin with its host. */
function throughHub(host: string, path: string, rules: NamespaceRules): Resolution | undefined {
  const segment = segmentOf(host);
  const known = rules.hubUpstreams().find(({ namespace }) => segmentOf(namespace) === segment);
  return known && atHub(known.namespace, path);
}

function atHub(host: string, path: string): Resolution {
  const rest = path.startsWith(API_PREFIX) ? path.slice(API_PREFIX.length) : '';
  if (rest === '') return { kind: 'found', target: HUB, path };
  return {
    kind: 'found',
    target: { ...HUB, behind: host },
    path: `${API_PREFIX}${segmentOf(host)}/${withLibrary(host, rest)}`,
  };
}

function parseHost(text: string): string | undefined {
  if (text.length > HOST_MAX_CHARS) return undefined;
  const lower = text.toLowerCase();
  return NAME_HOST.test(lower) || V6_HOST.test(lower) ? canonicalHost(lower) : undefined;
}

function targetOf(host: string, rules: NamespaceRules): Target | undefined {
  if (rules.hubNames().some((name) => isHubName(host, name, rules.hubPort))) return HUB;
  const upstream = rules.upstreams.find(({ namespace }) => namespace === host);
  return upstream === undefined ? undefined : { kind: 'upstream', namespace: upstream.namespace };
}

/**
 * A name without a port stands for that host at the ports the hub can be meant by; not at any
 * port, where another registry may live.
 */
function isHubName(host: string, name: string, hubPort: number | undefined): boolean {
  const listed = name.toLowerCase();
  if (host === listed) return true;
  if (/:[0-9]+$/.test(listed)) return false;
  const ports = hubPort === undefined ? WEB_PORTS : [...WEB_PORTS, hubPort];
  return ports.some((port) => host === `${listed}:${port}`);
}
