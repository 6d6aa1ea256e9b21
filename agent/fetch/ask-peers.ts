import { abortable, deadline } from '../../proto/std/abort.ts';
import type { Membership } from '../../proto/trust/membership.ts';
import {
  HELPFUL_PEERS_KEPT,
  MEMBER_SAMPLE,
  MEMBER_SEARCH_MAX,
  PEER_ANSWER_TIMEOUT_MS,
  PEER_QUESTIONS_MAX,
  PEER_QUESTIONS_PARALLEL,
  PEER_SEARCH_MS,
  PEER_WIDEN_MS,
} from './constants.ts';
import type { CallOptions, PeerLink, Swarm } from './ports.ts';

export type PeerQuestion<T> = (
  link: PeerLink,
  o: { signal: AbortSignal },
) => Promise<T | undefined>;

/** How many members a search asks at most, and for how long it begins new questions. */
export type SearchBounds = { membersMax: number; timeMs: number };

/** While a reader waits. */
const NEAR: SearchBounds = { membersMax: MEMBER_SEARCH_MAX, timeMs: PEER_SEARCH_MS };

/** Peers that had an answer of late, the latest first: what one thing came from, others may too. */
const HELPFUL = new WeakMap<Swarm, readonly string[]>();

/**
 * Up to `max` members, for when no tracker tells who holds what: first those that had an answer of
 * late, then others at random.
 */
export function sampleMembers(
  swarm: Swarm,
  random: () => number = Math.random,
  max = MEMBER_SAMPLE,
): Membership[] {
  const members = swarm.members().filter((member) => !swarm.isBanned(member.peerId));
  const helpful = HELPFUL.get(swarm) ?? [];
  const known: Membership[] = [];
  const others: Membership[] = [];
  for (const member of members) (helpful.includes(member.peerId) ? known : others).push(member);
  known.sort((a, b) => helpful.indexOf(a.peerId) - helpful.indexOf(b.peerId));
  const wanted = Math.min(max - known.length, others.length);
  for (let at = 0; at < wanted; at += 1) {
    const other = at + Math.floor(random() * (others.length - at));
    const held = others[at];
    const swap = others[other];
    if (held === undefined || swap === undefined) continue;
    others[at] = swap;
    others[other] = held;
  }
  return [...known, ...others.slice(0, Math.max(0, wanted))];
}

/**
 * Asks members the same question and returns the first answer that is not undefined; undefined when
 * nobody has one. The search begins with a few and widens the longer nothing is found, within its
 * bounds. What a peer throws counts as no answer. The other questions are aborted.
 * @throws the reason of the signal
 */
export async function askPeers<T>(
  swarm: Swarm,
  question: PeerQuestion<T>,
  o: CallOptions,
  bounds: SearchBounds = NEAR,
): Promise<T | undefined> {
  let answer: T | undefined;
  await visit(swarm, question, { signal: o.signal, ...bounds }, (found) => {
    answer ??= found;
    return 0;
  });
  return answer;
}

/**
 * Asks up to `membersMax` members the same question and returns all answers of the first `timeMs`,
 * but of no more than `settleMs` after the first one.
 * @throws the reason of the signal
 */
export async function collectFromPeers<T>(
  swarm: Swarm,
  question: PeerQuestion<T>,
  o: CallOptions & SearchBounds & { settleMs: number },
): Promise<T[]> {
  const answers: T[] = [];
  using limit = deadline(o.timeMs, o.signal);
  try {
    await visit(swarm, question, { ...o, signal: limit.signal }, (found) => {
      answers.push(found);
      return o.settleMs;
    });
  } catch (err) {
    o.signal?.throwIfAborted();
    if (!limit.signal.aborted) throw err;
  }
  return answers;
}

/** `take` says for how many more ms the search goes on; the shortest word counts. */
async function visit<T>(
  swarm: Swarm,
  question: PeerQuestion<T>,
  o: CallOptions & SearchBounds,
  take: (answer: T) => number,
): Promise<void> {
  o.signal?.throwIfAborted();
  const members = sampleMembers(swarm, Math.random, o.membersMax);
  const endMs = performance.now() + o.timeMs;
  const stop = new AbortController();
  const onAbort = (): void => stop.abort(o.signal?.reason);
  o.signal?.addEventListener('abort', onAbort, { once: true });
  const done = Promise.withResolvers<void>();
  let asking = 0;
  let ending: NodeJS.Timeout | undefined;
  const end = (): void => stop.abort(new Error('answered by another peer'));
  const lane = async (): Promise<void> => {
    asking += 1;
    for (let next = members.shift(); next !== undefined; next = members.shift()) {
      if (stop.signal.aborted || performance.now() > endMs) break;
      // oxlint-disable-next-line no-await-in-loop -- one question after the other
      const found = await askOne(swarm, next, question, stop.signal);
      if (found === undefined || stop.signal.aborted) continue;
      remember(swarm, next.peerId);
      const moreMs = take(found);
      if (moreMs === 0) end();
      else ending ??= setTimeout(end, moreMs);
    }
    asking -= 1;
    if (asking === 0) done.resolve();
  };
  const widen = (): void => {
    const more = Math.min(PEER_QUESTIONS_PARALLEL, PEER_QUESTIONS_MAX - asking);
    for (let i = 0; i < more; i += 1) void lane();
  };
  stop.signal.addEventListener('abort', () => done.resolve(), { once: true });
  widen();
  const timer = setInterval(widen, PEER_WIDEN_MS);
  try {
    await done.promise;
  } finally {
    clearInterval(timer);
    clearTimeout(ending);
    o.signal?.removeEventListener('abort', onAbort);
    end();
  }
  o.signal?.throwIfAborted();
}

function remember(swarm: Swarm, peerId: string): void {
  const others = (HELPFUL.get(swarm) ?? []).filter((id) => id !== peerId);
  HELPFUL.set(swarm, [peerId, ...others].slice(0, HELPFUL_PEERS_KEPT));
}

async function askOne<T>(
  swarm: Swarm,
  member: Membership,
  question: PeerQuestion<T>,
  signal: AbortSignal,
): Promise<T | undefined> {
  if (signal.aborted) return undefined;
  using limit = deadline(PEER_ANSWER_TIMEOUT_MS, signal);
  try {
    const link = await swarm.link(member, { signal: limit.signal });
    return await abortable(question(link, { signal: limit.signal }), limit.signal);
  } catch {
    return undefined;
  }
}
