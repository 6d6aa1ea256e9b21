import { API_BASE, API_PAGE_MAX } from '../hubapi/admin.ts';
import { checkBody } from '../hubapi/body.ts';
import { PrefetchAnswer, PrefetchList, PrefetchNodeList } from '../hubapi/prefetch.ts';
import { sleep } from '../std/abort.ts';
import { formatByteSize } from '../std/byte-size.ts';
import { parseDuration } from '../std/duration.ts';
import { AdminUsage, type AdminRequest } from './admin-commands.ts';
import { patientAsk } from './patient-ask.ts';
import { POLICY_VERBS, runPolicyCommand } from './prefetch-policy-cli.ts';
import { PREFETCH_POLL_MS, PREFETCH_STEP_PERCENT } from './constants.ts';

/** Options of `flotilla prefetch`, beside those of all commands that ask a hub. */
export const PREFETCH_OPTIONS = {
  nodes: { type: 'string' },
  percent: { type: 'string' },
  copies: { type: 'string' },
  platform: { type: 'string', multiple: true },
  expires: { type: 'string' },
  reach: { type: 'string' },
  wait: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
} as const;

export type PrefetchOptions = {
  nodes?: string | undefined;
  percent?: string | undefined;
  copies?: string | undefined;
  platform?: string[] | undefined;
  expires?: string | undefined;
  reach?: string | undefined;
  wait: boolean;
  json: boolean;
};

type Modules = {
  out: (text: string) => void;
  ask: (request: AdminRequest) => Promise<unknown>;
  /** The document in a file, YAML or JSON. */
  readDocument: (file: string) => Promise<unknown>;
};

type NodeState = PrefetchNodeList['nodes'][number];

const BASE = `${API_BASE}/prefetches`;
const ORDER_VERBS = ['list', 'show', 'stop'];

/**
 * Runs `prefetch` with these words behind it; false when nodes failed or were not reached, or
 * copies are missing.
 * @throws AdminUsage; AdminError and whatever asking the hub throws
 */
export async function runPrefetchCommand(
  words: readonly string[],
  options: PrefetchOptions,
  modules: Modules,
): Promise<boolean> {
  const [verb = '', id] = words;
  if (verb === '') throw new AdminUsage('prefetch needs an image or a command');
  if (![...ORDER_VERBS, ...POLICY_VERBS].includes(verb)) {
    if (id !== undefined) throw new AdminUsage('prefetch takes one image');
    return order(verb, options, modules);
  }
  const { wait, json, ...stray } = options;
  const given = Object.entries(stray).find(([, value]) => value !== undefined)?.[0];
  if (given !== undefined) throw new AdminUsage(`prefetch ${verb} takes no --${given}`);
  if (wait && verb !== 'show') throw new AdminUsage(`prefetch ${verb} takes no --wait`);
  if (POLICY_VERBS.includes(verb)) return runPolicyCommand(verb, id, { json }, modules);
  if (verb === 'list') {
    if (id !== undefined) throw new AdminUsage('prefetch list takes nothing behind it');
    return list(json, modules);
  }
  if (id === undefined) throw new AdminUsage(`prefetch ${verb} needs the id of an order`);
  if (verb === 'show') return wait ? follow(id, json, modules) : show(id, json, modules);
  await modules.ask({ method: 'DELETE', path: pathOf(id) });
  modules.out(json ? lineOf({ id, stopped: true }) : `order ${id} is stopped\n`);
  return true;
}

async function order(image: string, options: PrefetchOptions, modules: Modules): Promise<boolean> {
  const { nodes, percent, copies, platform, expires, reach, wait, json } = options;
  if (percent !== undefined && copies !== undefined) {
    throw new AdminUsage('--percent and --copies exclude each other');
  }
  const body = {
    image,
    ...(nodes === undefined ? {} : { nodes }),
    ...(percent === undefined ? {} : { percent: wholeOf('--percent', percent, 100) }),
    ...(copies === undefined ? {} : { copies: wholeOf('--copies', copies, Infinity) }),
    ...(platform === undefined ? {} : { platforms: platform }),
    ...(expires === undefined ? {} : { expiresInMs: timeOf('--expires', expires) }),
    ...(reach === undefined ? {} : { reachMs: timeOf('--reach', reach) }),
  };
  const made = checkBody(PrefetchAnswer, await modules.ask({ method: 'POST', path: BASE, body }));
  if (wait) return follow(made.id, json, modules);
  const count = Object.values(made.counts).reduce((sum, one) => sum + one, 0);
  const { id, digest } = made;
  modules.out(json ? lineOf(made) : `order ${id}: ${made.image} (${digest}) for ${count} nodes\n`);
  return true;
}

async function list(json: boolean, { out, ask }: Modules): Promise<boolean> {
  const { prefetches } = checkBody(PrefetchList, await ask({ method: 'GET', path: BASE }));
  for (const one of prefetches) {
    const { id, created, image, result, policy } = one;
    const words = [id, created, image, choiceText(one), result ?? 'open', policy ?? '-'];
    out(json ? lineOf(one) : `${words.join('\t')}\n`);
  }
  return true;
}

async function show(id: string, json: boolean, modules: Modules): Promise<boolean> {
  const { out, ask } = modules;
  const answer = checkBody(PrefetchAnswer, await ask({ method: 'GET', path: pathOf(id) }));
  const nodes = await nodesOf(id, modules);
  if (json) out(lineOf({ ...answer, byNode: nodes }));
  else {
    out(textOf(answer));
    for (const node of nodes) out(nodeText(node));
  }
  return true;
}

/** Tells what changes until nobody is waited for any more. */
async function follow(id: string, json: boolean, modules: Modules): Promise<boolean> {
  const { out } = modules;
  const ask = patientAsk(modules.ask);
  const told = new Map<string, string>();
  for (;;) {
    // oxlint-disable-next-line no-await-in-loop -- one look after the other
    const answer = checkBody(PrefetchAnswer, await ask({ method: 'GET', path: pathOf(id) }));
    // oxlint-disable-next-line no-await-in-loop -- one look after the other
    const nodes = await nodesOf(id, { ask });
    for (const node of nodes) {
      const step = `${node.state} ${Math.floor(percentOf(node) / PREFETCH_STEP_PERCENT)}`;
      if (told.get(node.node) !== step) out(json ? lineOf(node) : nodeText(node));
      told.set(node.node, step);
    }
    if (answer.settled) {
      const missed = missedOf(answer, nodes);
      out(json ? lineOf({ ...answer, missed }) : endText(answer, missed));
      return missed.length === 0 && isEnough(answer);
    }
    // oxlint-disable-next-line no-await-in-loop -- one look after the other
    await sleep(PREFETCH_POLL_MS);
  }
}

async function nodesOf(id: string, { ask }: Pick<Modules, 'ask'>): Promise<NodeState[]> {
  const all: NodeState[] = [];
  for (let last = ''; ;) {
    const path = `${pathOf(id)}/nodes${last === '' ? '' : `?last=${encodeURIComponent(last)}`}`;
    // oxlint-disable-next-line no-await-in-loop -- one page after the other
    const { nodes } = checkBody(PrefetchNodeList, await ask({ method: 'GET', path }));
    all.push(...nodes);
    const end = nodes.at(-1);
    if (end === undefined || nodes.length < API_PAGE_MAX) return all;
    last = end.node;
  }
}

/** Of copies another node may have taken the place of one that failed. */
function missedOf(answer: PrefetchAnswer, nodes: readonly NodeState[]): string[] {
  if (answer.copies !== null && isEnough(answer)) return [];
  return nodes.filter(({ state }) => state !== 'done').map(({ node }) => node);
}

function isEnough({ copies, counts, result }: PrefetchAnswer): boolean {
  if (result === 'stopped' || result === 'replaced') return false;
  return copies === null || counts.done >= copies;
}

function pathOf(id: string): string {
  return `${BASE}/${encodeURIComponent(id)}`;
}

function lineOf(value: object): string {
  return `${JSON.stringify(value)}\n`;
}

function percentOf({ state, doneBytes, totalBytes }: NodeState): number {
  if (totalBytes === 0) return state === 'done' ? 100 : 0;
  return Math.floor((doneBytes * 100) / totalBytes);
}

function nodeText(one: NodeState): string {
  const { node, state, doneBytes, totalBytes, reason } = one;
  const bytes = `${formatByteSize(doneBytes)} of ${formatByteSize(totalBytes)}`;
  const words = [node, state, `${percentOf(one)} %`, bytes, ...(reason === '' ? [] : [reason])];
  return `${words.join('\t')}\n`;
}

function choiceText(one: { nodes: string; percent: number | null; copies: number | null }): string {
  const { nodes, percent, copies } = one;
  const words = [nodes === '' ? 'all nodes' : nodes];
  if (percent !== null) words.push(`${percent} %`);
  if (copies !== null) words.push(`${copies} copies`);
  return words.join(', ');
}

function textOf(answer: PrefetchAnswer): string {
  const { id, image, digest, counts, result, created, expires, ended, orderedBy } = answer;
  return `order ${id}: ${result ?? 'open'}
image: ${image} (${digest})
nodes: ${choiceText(answer)}
ordered: ${created} by ${orderedBy}
${ended === null ? `expires: ${expires}` : `ended: ${ended}`}
done: ${counts.done}, running: ${counts.running}, queued: ${counts.queued}, \
failed: ${counts.failed}, not reached: ${counts.unreached}
`;
}

function endText(answer: PrefetchAnswer, missed: readonly string[]): string {
  const { id, counts, copies, result } = answer;
  const all = Object.values(counts).reduce((sum, one) => sum + one, 0);
  const wanted = copies === null ? `${counts.done} of ${all} nodes` : `${counts.done} of ${copies}`;
  const end = result === 'stopped' || result === 'replaced' ? `${result}; ` : '';
  const names = missed.length === 0 ? '' : `; not on: ${missed.join(', ')}`;
  return `order ${id}: ${end}on ${wanted}${copies === null ? '' : ' copies'}${names}\n`;
}

/** @throws AdminUsage */
function wholeOf(option: string, text: string, max: number): number {
  const value = /^[1-9]\d{0,5}$/.test(text) ? Number(text) : Number.NaN;
  if (value <= max) return value;
  const bound = max === Infinity ? '' : ` to ${max}`;
  throw new AdminUsage(`${option} takes a whole number from 1${bound}`);
}

/** @throws AdminUsage */
function timeOf(option: string, text: string): number {
  try {
    return parseDuration(text);
  } catch {
    throw new AdminUsage(`${option} takes a time such as 30s, 10m or 24h`);
  }
}
