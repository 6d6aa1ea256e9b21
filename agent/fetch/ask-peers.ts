import { deadline } from '../../proto/std/abort.ts';
import type { Membership } from '../../proto/trust/membership.ts';
import { MEMBER_SAMPLE, PEER_ANSWER_TIMEOUT_MS, PEER_QUESTIONS_PARALLEL } from './constants.ts';
import type { CallOptions, PeerLink, Swarm } from './ports.ts';

/** Up to MEMBER_SAMPLE members at random; for when no tracker tells who holds what. */
export function sampleMembers(swarm: Swarm, random: () => number = Math.random): Membership[] {
  const members = swarm.members().filter((member) => !swarm.isBanned(member.peerId));
  for (let at = 0; at < Math.min(MEMBER_SAMPLE, members.length); at += 1) {
    const other = at + Math.floor(random() * (members.length - at));
    const held = members[at];
    const swap = members[other];
    if (held === undefined || swap === undefined) continue;
    members[at] = swap;
    members[other] = held;
  }
  return members.slice(0, MEMBER_SAMPLE);
}

/**
 * Asks some members the same question, PEER_QUESTIONS_PARALLEL at a time, and returns the first
 * answer that is not undefined; undefined when nobody has one. What a peer throws counts as no
 * answer. The other questions are aborted.
 */
export async function askPeers<T>(
  swarm: Swarm,
  question: (link: PeerLink, o: { signal: AbortSignal }) => Promise<T | undefined>,
  o: CallOptions,
): Promise<T | undefined> {
  o.signal?.throwIfAborted();
  const members = sampleMembers(swarm);
  const stop = new AbortController();
  const onAbort = (): void => stop.abort(o.signal?.reason);
  o.signal?.addEventListener('abort', onAbort, { once: true });
  let answer: T | undefined;
  const lane = async (): Promise<void> => {
    for (let member = members.pop(); member !== undefined; member = members.pop()) {
      const found = await askOne(swarm, member, question, stop.signal);
      if (stop.signal.aborted) return;
      if (found === undefined) continue;
      answer = found;
      stop.abort(new Error('answered by another peer'));
    }
  };
  try {
    await Promise.all(Array.from({ length: PEER_QUESTIONS_PARALLEL }, lane));
  } finally {
    o.signal?.removeEventListener('abort', onAbort);
  }
  o.signal?.throwIfAborted();
  return answer;
}

async function askOne<T>(
  swarm: Swarm,
  member: Membership,
  question: (link: PeerLink, o: { signal: AbortSignal }) => Promise<T | undefined>,
  signal: AbortSignal,
): Promise<T | undefined> {
  if (signal.aborted) return undefined;
  using limit = deadline(PEER_ANSWER_TIMEOUT_MS, signal);
  try {
    const link = await swarm.link(member, { signal: limit.signal });
    return await question(link, { signal: limit.signal });
  } catch {
    return undefined;
  }
}
