import { LRUCache } from 'lru-cache';
import type { Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import { abortable, deadline, sleep } from '../../proto/std/abort.ts';
import { CodedError, hasCode } from '../../proto/std/errors.ts';
import type { OpenBlob } from '../blobs/port.ts';
import type { ReplicaRow } from '../replicas/store.ts';
import type { HubLeavesQuestion } from './hub-question.ts';
import type { HubStreams, OtherHubs } from './hub-streams.ts';
import { PassedOnBlob } from './passed-on.ts';
import { PROVISIONAL_WAIT_MS } from './provisional/constants.ts';
import { gatherMsFor } from './provisional/leaf-news.ts';
import {
  HUB_LEAVES_CALLS_MAX,
  HUB_LEAVES_PAUSE_MS,
  HUB_LEAVES_SPARE_MS,
  HUB_LEAVES_WAITERS_MAX,
  HUB_SIZES_MAX,
} from './pull-constants.ts';

type Options = { signal?: AbortSignal | undefined };
type Question = HubLeavesQuestion & { digest: Digest };
type Call = { answer: Promise<Buffer | undefined>; stop: AbortController; asking: number };

/**
 * Asks other hubs about blobs on their way there, for agents that ask this one: one question for
 * all who ask the same. What they say is passed on as they signed it.
 */
export class HubLeaves {
  readonly #hubs: OtherHubs;
  readonly #streams: Pick<HubStreams, 'leaves' | 'size' | 'open'>;
  readonly #calls = new Map<string, Call>();
  readonly #sizes = new LRUCache<string, number>({ max: HUB_SIZES_MAX });
  /** Hubs that were silent, by name; at most as many as there are hubs. */
  readonly #pausedUntilMs = new Map<string, number>();
  #waiters = 0;

  constructor(modules: { hubs: OtherHubs; streams: Pick<HubStreams, 'leaves' | 'size' | 'open'> }) {
    this.#hubs = modules.hubs;
    this.#streams = modules.streams;
  }

  /** Questions of agents that wait for an answer of another hub. */
  get waiters(): number {
    return this.#waiters;
  }

  /** The other hub that fetches blobs of this digest; undefined: this one, or nobody just now. */
  ownerOf(digest: Digest): ReplicaRow | undefined {
    const part = this.#hubs.ownership.partIn(digest);
    return part.kind === 'other' ? part.replica : undefined;
  }

  /** Another hub of this name. */
  named(name: string | undefined): ReplicaRow | undefined {
    const { view, self } = this.#hubs.ownership;
    return view?.replicas.find(({ id }) => id === name && id !== self?.id);
  }

  /**
   * What that hub says of the leaves; undefined when it does not fetch the blob.
   * @throws OciError UNAVAILABLE when too many ask; CodedError HUB_AWAY, HELD_ELSEWHERE; the reason
   * of the signal
   */
  async batch(
    hub: ReplicaRow,
    question: Question,
    { signal }: Options,
  ): Promise<Buffer | undefined> {
    signal?.throwIfAborted();
    const { repository, digest, from = '' } = question;
    const key = `${hub.id} ${hub.joined} ${repository} ${digest} ${from}`;
    const call = this.#calls.get(key);
    if (
      this.#waiters >= HUB_LEAVES_WAITERS_MAX ||
      (call === undefined && this.#calls.size >= HUB_LEAVES_CALLS_MAX)
    ) {
      throw ociError('UNAVAILABLE', 'too many ask for parts of blobs of other hubs; try again');
    }
    return this.#wait(call ?? this.#begin(key, hub, question), key, signal);
  }

  /**
   * The bytes of a blob on its way to that hub, those still to come as they come, for one who
   * checks them against its leaves; undefined when it does not fetch the blob.
   * @throws as HubStreams.size
   */
  async open(
    hub: ReplicaRow,
    { repository, digest }: { repository: string; digest: Digest },
    { signal = new AbortController().signal }: Options,
  ): Promise<OpenBlob | undefined> {
    const blob = { repository, digest, checksLeaves: true };
    const key = `${repository} ${digest}`;
    try {
      const size = this.#sizes.get(key) ?? (await this.#streams.size(hub, blob, { signal }));
      this.#sizes.set(key, size);
      const open: ConstructorParameters<typeof PassedOnBlob>[1]['open'] = async (range) => {
        try {
          return await this.#streams.open(hub, { ...blob, ...range }, { signal });
        } catch (err) {
          this.#sizes.delete(key);
          throw err;
        }
      };
      return new PassedOnBlob(size, { open });
    } catch (err) {
      if (hasCode(err, 'BLOB_UNKNOWN')) return undefined;
      throw err;
    }
  }

  #begin(key: string, hub: ReplicaRow, question: Question): Call {
    const stop = new AbortController();
    const call: Call = { answer: Promise.resolve(undefined), stop, asking: 0 };
    this.#calls.set(key, call);
    call.answer = this.#ask(hub, question, call).finally(() => this.#forget(key, call));
    // All who asked may have left.
    call.answer.catch(() => undefined);
    return call;
  }

  async #ask(hub: ReplicaRow, question: Question, call: Call): Promise<Buffer | undefined> {
    const { signal } = call.stop;
    if (performance.now() < (this.#pausedUntilMs.get(hub.id) ?? 0)) throw silent(hub);
    // It may wait to begin with the blob, and then for the leaves.
    const waits = question.from === undefined ? 1 : 2;
    using limit = deadline(waits * PROVISIONAL_WAIT_MS + HUB_LEAVES_SPARE_MS, signal);
    let batch: Buffer | undefined;
    try {
      batch = await this.#streams.leaves(hub, question, limit);
    } catch (cause) {
      if (!hasCode(cause, 'TIMEOUT')) throw cause;
      this.#pause(hub);
      throw silent(hub, cause);
    }
    // Not more often than this hub can answer those who ask it.
    if (question.from !== undefined) await sleep(gatherMsFor(call.asking), { signal });
    return batch;
  }

  async #wait(
    call: Call,
    key: string,
    signal: AbortSignal | undefined,
  ): Promise<Buffer | undefined> {
    this.#waiters += 1;
    call.asking += 1;
    try {
      return await abortable(call.answer, signal);
    } finally {
      this.#waiters -= 1;
      call.asking -= 1;
      if (call.asking === 0) {
        this.#forget(key, call);
        call.stop.abort(new Error('nobody waits for it any more'));
      }
    }
  }

  #pause(hub: ReplicaRow): void {
    const nowMs = performance.now();
    for (const [id, untilMs] of this.#pausedUntilMs) {
      if (untilMs <= nowMs) this.#pausedUntilMs.delete(id);
    }
    this.#pausedUntilMs.set(hub.id, nowMs + HUB_LEAVES_PAUSE_MS);
  }

  #forget(key: string, call: Call): void {
    if (this.#calls.get(key) === call) this.#calls.delete(key);
  }
}

function silent({ url }: ReplicaRow, cause?: unknown): Error {
  return new CodedError(`${url} is silent`, { code: 'HUB_AWAY' }, { cause });
}
