import { abortable, deadline, sleep } from '../../proto/std/abort.ts';
import { hasCode } from '../../proto/std/errors.ts';
import type { Membership } from '../../proto/trust/membership.ts';
import { AnswerMemory } from './answer-memory.ts';
import {
  MEMBER_SAMPLE,
  MEMBER_SEARCH_MAX,
  PEER_BUSY_MS,
  PEER_EXCHANGE_MS,
  PEER_ANSWER_TIMEOUT_MS,
  PEER_QUESTIONS_MAX,
  PEER_QUESTIONS_OPEN_MAX,
  PEER_QUESTIONS_PARALLEL,
  PEER_SEARCH_MS,
  PEER_SLOW_MS,
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

/**
 * Up to `max` members, for when no tracker tells who holds what: first those that had an answer of
 * late, then others at random, and last those that were slow to answer.
 */
export function sampleMembers(
  swarm: Swarm,
  random: () => number = Math.random,
  max = MEMBER_SAMPLE,
): Membership[] {
  const memory = AnswerMemory.of(swarm);
  const { helpful } = memory;
  const known: Membership[] = [];
  const others: Membership[] = [];
  const slow: Membership[] = [];
  for (const member of swarm.members()) {
    const { peerId } = member;
    if (swarm.isBanned(peerId)) continue;
    if (memory.isSlow(peerId)) slow.push(member);
    else (helpful.includes(peerId) ? known : others).push(member);
  }
  known.sort((a, b) => helpful.indexOf(a.peerId) - helpful.indexOf(b.peerId));
  for (const group of [others, slow]) known.push(...draw(group, max - known.length, random));
  return known;
}

/** Some of the members, each with the same chance; puts the array in another order. */
function draw(members: Membership[], max: number, random: () => number): Membership[] {
  const wanted = Math.max(0, Math.min(max, members.length));
  for (let at = 0; at < wanted; at += 1) {
    const other = at + Math.floor(random() * (members.length - at));
    const held = members[at];
    const swap = members[other];
    if (held === undefined || swap === undefined) continue;
    members[at] = swap;
    members[other] = held;
  }
  return members.slice(0, wanted);
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
  const search = new Search(swarm, question, o, take);
  const onAbort = (): void => search.end();
  o.signal?.addEventListener('abort', onAbort, { once: true });
  try {
    await search.run();
  } finally {
    o.signal?.removeEventListener('abort', onAbort);
  }
  o.signal?.throwIfAborted();
}

/** A member is busy, or its connection has just ended: it may answer the next time. */
const LATER = Symbol('later');

/** One question on its way through the members. */
class Search<T> {
  readonly #swarm: Swarm;
  readonly #question: PeerQuestion<T>;
  readonly #take: (answer: T) => number;
  readonly #membersMax: number;
  readonly #endMs: number;
  readonly #asked = new Set<string>();
  /** Members that may have an answer a moment later. */
  readonly #again = new Set<Membership>();
  readonly #askedAgain = new Set<string>();
  readonly #stop = new AbortController();
  readonly #done = Promise.withResolvers<void>();
  #next: Membership[] = [];
  /** Lanes that ask, one member after the other. */
  #lanes = 0;
  /** Questions under way, also those a lane no longer waits for. */
  #asking = 0;
  #isResting = false;
  #ending: NodeJS.Timeout | undefined;
  #widening: NodeJS.Timeout | undefined;

  constructor(
    swarm: Swarm,
    question: PeerQuestion<T>,
    bounds: SearchBounds,
    take: (answer: T) => number,
  ) {
    this.#swarm = swarm;
    this.#question = question;
    this.#take = take;
    this.#membersMax = bounds.membersMax;
    this.#endMs = performance.now() + bounds.timeMs;
  }

  async run(): Promise<void> {
    this.#refill();
    this.#widen();
    this.#proceed();
    this.#widening = setInterval(() => this.#widen(), PEER_WIDEN_MS);
    await this.#done.promise;
    this.end();
  }

  /** Leaves the questions under way. */
  end(): void {
    clearInterval(this.#widening);
    clearTimeout(this.#ending);
    this.#stop.abort(new Error('the search is over'));
    this.#done.resolve();
  }

  get #isOver(): boolean {
    return this.#stop.signal.aborted || performance.now() > this.#endMs;
  }

  #widen(): void {
    const room = Math.min(PEER_QUESTIONS_PARALLEL, PEER_QUESTIONS_MAX - this.#lanes);
    const more = Math.min(room, this.#next.length);
    for (let i = 0; i < more; i += 1) void this.#lane();
  }

  async #lane(): Promise<void> {
    this.#lanes += 1;
    for (let member = this.#next.shift(); member !== undefined; member = this.#next.shift()) {
      if (this.#isOver) break;
      this.#asked.add(member.peerId);
      // oxlint-disable-next-line no-await-in-loop -- one question after the other
      await this.#askWhileQuick(member);
    }
    this.#lanes -= 1;
    this.#proceed();
  }

  /** Resolves when the member has answered, or is so late that another is asked meanwhile. */
  async #askWhileQuick(member: Membership): Promise<void> {
    const free = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      if (!this.#stop.signal.aborted) AnswerMemory.of(this.#swarm).isLate(member.peerId);
      if (this.#asking < PEER_QUESTIONS_OPEN_MAX) free.resolve();
    }, PEER_SLOW_MS);
    void this.#ask(member).finally(free.resolve);
    await free.promise;
    clearTimeout(timer);
  }

  async #ask(member: Membership): Promise<void> {
    this.#asking += 1;
    const found = await askOne(this.#swarm, member, this.#question, this.#stop.signal);
    this.#asking -= 1;
    if (found === LATER) this.#notNow(member);
    else if (found !== undefined) this.#found(found, member);
    this.#proceed();
  }

  #notNow(member: Membership): void {
    if (this.#askedAgain.has(member.peerId)) return;
    this.#askedAgain.add(member.peerId);
    this.#again.add(member);
  }

  #found(answer: T, member: Membership): void {
    if (this.#stop.signal.aborted) return;
    AnswerMemory.of(this.#swarm).hadAnswer(member.peerId);
    const moreMs = this.#take(answer);
    if (moreMs === 0) this.end();
    else this.#ending ??= setTimeout(() => this.end(), moreMs);
  }

  #proceed(): void {
    if (this.#lanes === 0 && !this.#isResting) void this.#goOn();
  }

  /**
   * All have been asked. Whom they told us about meanwhile is asked too, and who was busy again.
   * With nobody left this is the end, once those that are late have answered or are given up.
   */
  async #goOn(): Promise<void> {
    if (!this.#isOver && this.#asked.size > 0) {
      this.#isResting = true;
      await sleep(this.#again.size > 0 ? PEER_BUSY_MS : PEER_EXCHANGE_MS);
      this.#isResting = false;
      this.#refill();
      this.#next.push(...this.#again);
      this.#again.clear();
    }
    if (!this.#isOver && this.#next.length > 0) this.#widen();
    else if (this.#asking === 0) this.end();
  }

  #refill(): void {
    const room = this.#membersMax - this.#asked.size;
    const isNew = ({ peerId }: Membership): boolean => !this.#asked.has(peerId);
    this.#next = sampleMembers(this.#swarm, Math.random, this.#membersMax).filter(isNew);
    this.#next.length = Math.min(this.#next.length, Math.max(0, room));
  }
}

async function askOne<T>(
  swarm: Swarm,
  member: Membership,
  question: PeerQuestion<T>,
  signal: AbortSignal,
): Promise<T | typeof LATER | undefined> {
  if (signal.aborted) return undefined;
  const memory = AnswerMemory.of(swarm);
  using limit = deadline(PEER_ANSWER_TIMEOUT_MS, signal);
  try {
    const link = await swarm.link(member, { signal: limit.signal });
    const answer = await abortable(question(link, { signal: limit.signal }), limit.signal);
    memory.answered(member.peerId);
    return answer;
  } catch (err) {
    if (hasCode(err, 'UNREACHABLE')) memory.isLate(member.peerId);
    else if (!limit.signal.aborted) memory.answered(member.peerId);
    return hasCode(err, 'BUSY', 'CLOSED') ? LATER : undefined;
  }
}
