import type { ReplicationCounts } from '../../proto/hubapi/replication.ts';
import { OciError } from '../../proto/oci/errors.ts';
import { parseManifest } from '../../proto/oci/manifest.ts';
import { referenceText, type Repository, type Tag } from '../../proto/oci/name.ts';
import type { Reference } from '../../proto/oci/name.ts';
import { DistributionError } from '../../proto/distribution/errors.ts';
import { sleep } from '../../proto/std/abort.ts';
import { backoffMs } from '../../proto/std/backoff.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { JobError } from '../jobs/errors.ts';
import { subjectOfTag } from './companions.ts';
import {
  ARTIFACT_RETRY_BASE_MS,
  ARTIFACT_RETRY_MAX_MS,
  ARTIFACTS_MAX,
  MESSAGE_MAX_CHARS,
  NOTE_MS,
  REPOSITORIES_MAX,
  TAGS_MAX,
} from './constants.ts';
import { ArtifactCopy, whyUnfit, type ArtifactCounts, type CopyModules } from './copy.ts';
import { refused } from './errors.ts';
import type { ReplicationMetrics } from './metrics.ts';
import { indexTagsOf, nameOf, type Rule } from './rule.ts';
import type { ArtifactResult, ArtifactState, ReplicationStore } from './store.ts';

/** One artifact that was pushed, rather than all that the rule chooses. */
export type Scope = {
  repository: Repository;
  reference: Reference;
  /** Something refers to it that was pushed later: of use only where it was copied to. */
  onlyIfThere: boolean;
};

type Options = {
  rule: Rule;
  /** The id of its job. */
  id: string;
  scope: Scope | undefined;
  /** What an earlier attempt told. */
  counts: ReplicationCounts;
};

type Modules = CopyModules & {
  store: Pick<ReplicationStore, 'states' | 'noteResult'>;
  metrics: ReplicationMetrics;
  note: (counts: ReplicationCounts) => Promise<void>;
  random?: () => number;
};

type Place = { from: Repository; to: Repository };
type Artifact = Place & { reference: Reference };

/** Artifacts of these states are looked at again. */
const OPEN: readonly ArtifactState[] = ['copying', 'failed'];

const NOTHING: ArtifactCounts = {
  copied: 0,
  mounted: 0,
  present: 0,
  manifests: 0,
  referrers: 0,
  bytes: 0,
};

export const NO_COUNTS: ReplicationCounts = {
  copied: 0,
  present: 0,
  skipped: 0,
  refused: 0,
  failed: 0,
  deleted: 0,
  bytes: 0,
};

/** One run over all that a rule chooses, or over one artifact. */
export class Execution {
  readonly #options: Options;
  readonly #modules: Modules;
  readonly #signal: AbortSignal;
  readonly #counts: ReplicationCounts;
  /** Which repository is copied to which name. */
  readonly #sources = new Map<string, string>();
  /** What an earlier attempt made of artifacts. */
  #states: ReadonlyMap<string, ArtifactState> = new Map();
  readonly #copies = new Set<ArtifactCopy>();
  #hopeful = false;
  #firstFailure = '';
  #telling: Promise<void> | undefined;
  #toldText = '';

  constructor(options: Options, modules: Modules, { signal }: { signal: AbortSignal }) {
    this.#options = options;
    this.#modules = modules;
    this.#signal = signal;
    this.#counts = { ...options.counts, failed: 0 };
  }

  /**
   * Copies what is missing; artifacts that an earlier attempt settled are left alone.
   * @throws Error when some failed, JobError JOB_HOPELESS when it is of no use to try again
   */
  async run(): Promise<string> {
    const { rule, id } = this.#options;
    this.#states = await this.#modules.store.states(id);
    const artifacts = this.#artifacts();
    const failures: unknown[] = [];
    const worker = async (): Promise<void> => {
      try {
        // oxlint-disable-next-line no-await-in-loop -- each worker one at a time
        for (let next = await artifacts.next(); next.done !== true; next = await artifacts.next()) {
          // oxlint-disable-next-line no-await-in-loop -- each worker one at a time
          await this.#artifact(next.value);
        }
      } catch (err) {
        failures.push(err);
        await artifacts.return();
      }
    };
    const timer = setInterval(() => void this.#tell(), NOTE_MS);
    try {
      await Promise.all(Array.from({ length: rule.concurrency }, worker));
    } finally {
      clearInterval(timer);
    }
    await this.#telling;
    await this.#modules.note(this.#told());
    if (failures.length > 0) throw failures[0];
    return this.#verdict();
  }

  #verdict(): string {
    const { copied, present, skipped, refused: no, failed, deleted } = this.#counts;
    const parts = { copied, 'there already': present, skipped, refused: no, deleted, failed };
    const told = Object.entries(parts).filter(([, count]) => count > 0);
    const text = told.map(([what, count]) => `${count} ${what}`).join(', ') || 'nothing to copy';
    if (failed === 0) return text;
    const message = `${text}; ${this.#firstFailure}`;
    throw this.#hopeful ? new Error(message) : new JobError(message, { code: 'JOB_HOPELESS' });
  }

  async *#artifacts(): AsyncGenerator<Artifact, void, undefined> {
    const { rule, scope } = this.#options;
    if (scope !== undefined) {
      const { repository: from, reference, onlyIfThere } = scope;
      await this.#learnNames(from);
      const to = await this.#destinationOf(from);
      if (to === undefined) return;
      if (!onlyIfThere || (await this.#isThere(to, reference))) yield { from, to, reference };
      return;
    }
    const signal = this.#signal;
    let [repositories, artifacts] = [0, 0];
    for await (const from of this.#modules.source.repositories(rule.repositories, { signal })) {
      if (!rule.choosesRepository(from)) continue;
      repositories += 1;
      if (repositories > REPOSITORIES_MAX) throw tooMuch(`${REPOSITORIES_MAX} repositories`);
      const to = await this.#destinationOf(from);
      if (to === undefined) continue;
      const tags = await this.#tried({ from, to }, () => this.#tagsOf(from));
      if (tags === undefined) continue;
      for (const tag of tags) {
        if (!this.#isArtifact(tag)) continue;
        artifacts += 1;
        if (artifacts > ARTIFACTS_MAX) throw tooMuch(`${ARTIFACTS_MAX} artifacts`);
        yield { from, to, reference: { kind: 'tag', tag } };
      }
      await this.#tried({ from, to }, () => this.#conclude({ from, to }, tags));
    }
  }

  /** What cannot be done with one repository keeps no other from being copied. */
  async #tried<T>({ from, to }: Place, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (err) {
      this.#signal.throwIfAborted();
      if (err instanceof JobError) throw err;
      const message = messageOf(err);
      await this.#noteAll({ from, to }, 'failed', message);
      this.#hopeful ||= isPassing(err) || hasCode(err, 'SOURCE_LACKS');
      this.#firstFailure ||= `${from}: ${message}`;
      return undefined;
    }
  }

  /** When all artifacts of a repository are known. */
  async #conclude(place: Place, tags: ReadonlySet<Tag>): Promise<void> {
    const { rule } = this.#options;
    if (tags.size > 0) {
      if (rule.mirrors) await this.#mirror(place, tags);
      if (this.#states.get(`${place.from} *`) !== 'failed') return;
      return this.#noteAll(place, 'skipped', 'what failed at first went well later');
    }
    const message = 'the source lists no tag of it';
    if (rule.mirrors) {
      await this.#noteAll(place, 'skipped', `${message}, so none is removed at the destination`);
    } else if (rule.repositories.includes(place.from)) {
      await this.#noteAll(place, 'skipped', message);
    }
  }

  /** Of a repository as a whole. */
  #noteAll({ from, to }: Place, state: ArtifactState, message: string): Promise<void> {
    return this.#note({ repository: from, reference: '*', destination: to, state, message });
  }

  async #isThere(to: Repository, reference: Reference): Promise<boolean> {
    const { target } = this.#modules;
    const o = { signal: this.#signal };
    if (reference.kind === 'digest') return target.hasManifest(to, reference.digest, o);
    return (await target.tagged(to, reference.tag, o)) !== undefined;
  }

  async #tagsOf(from: Repository): Promise<ReadonlySet<Tag>> {
    const tags = new Set<Tag>();
    for await (const tag of this.#modules.source.tags(from, { signal: this.#signal })) {
      tags.add(tag);
      if (tags.size > TAGS_MAX) throw tooMuch(`${TAGS_MAX} tags in ${from}`);
    }
    return tags;
  }

  /** Tags that belong to another manifest travel with it. */
  #isArtifact(tag: Tag): boolean {
    const { rule } = this.#options;
    return rule.choosesTag(tag) && !(rule.referrers && subjectOfTag(tag) !== undefined);
  }

  /** Which repositories go before one, and so have their names at the destination before it. */
  async #learnNames(until: Repository): Promise<void> {
    const { rule } = this.#options;
    if (!rule.flattens) return;
    const signal = this.#signal;
    for await (const from of this.#modules.source.repositories(rule.repositories, { signal })) {
      if (from === until) return;
      if (!rule.choosesRepository(from)) continue;
      const to = nameOf(rule, from);
      if (to !== undefined && !this.#sources.has(to)) this.#sources.set(to, from);
    }
  }

  /** Two repositories that would become one are refused rather than mixed. */
  async #destinationOf(from: Repository): Promise<Repository | undefined> {
    try {
      const to = this.#options.rule.destinationOf(from);
      const other = this.#sources.get(to);
      if (other !== undefined && other !== from) {
        throw refused(`${other} is copied to ${to} already; they would be mixed there`);
      }
      this.#sources.set(to, from);
      return to;
    } catch (err) {
      if (!hasCode(err, 'REFUSED')) throw err;
      const artifact = { repository: from, reference: '*', destination: '' };
      await this.#note({ ...artifact, state: 'refused', message: messageOf(err) });
      return undefined;
    }
  }

  async #artifact(artifact: Artifact): Promise<void> {
    const { rule } = this.#options;
    const reference = referenceText(artifact.reference);
    const state = this.#states.get(`${artifact.from} ${reference}`);
    if (state !== undefined && !OPEN.includes(state)) return;
    for (let attempt = 1; ; attempt += 1) {
      // oxlint-disable-next-line no-await-in-loop -- one attempt after the other
      if (await this.#attempt(artifact, attempt)) return;
      const { random } = this.#modules;
      const bounds = { baseMs: ARTIFACT_RETRY_BASE_MS, maxMs: ARTIFACT_RETRY_MAX_MS };
      if (attempt >= rule.attempts) return;
      const pause = backoffMs(attempt - 1, random === undefined ? bounds : { ...bounds, random });
      // oxlint-disable-next-line no-await-in-loop -- the pause comes before the next attempt
      await sleep(pause, { signal: this.#signal });
    }
  }

  /** False when it failed and may be tried again. */
  async #attempt(artifact: Artifact, attempts: number): Promise<boolean> {
    const { rule } = this.#options;
    const { from, to, reference } = artifact;
    const signal = this.#signal;
    const known = { repository: from, reference: referenceText(reference), destination: to };
    const copy = new ArtifactCopy({ rule, from, to }, this.#modules, { signal });
    if (attempts === 1) await this.#note({ ...known, state: 'copying', message: '', attempts });
    const told = (state: ArtifactState, message: string): Promise<void> =>
      this.#note({
        ...known,
        digest: copy.digest,
        state,
        message,
        counts: copy.counts,
        attempts,
      });
    this.#copies.add(copy);
    try {
      const { state, message } = await copy.run(reference);
      await told(state, message);
      return true;
    } catch (err) {
      if (signal.aborted) throw signal.reason;
      const message = messageOf(err);
      if (hasCode(err, 'UNCHOSEN')) await told('skipped', message);
      else if (hasCode(err, 'REFUSED')) await told('refused', message);
      else if (attempts < rule.attempts && isPassing(err)) {
        await this.#modules.store.noteResult(this.#options.id, {
          ...known,
          digest: copy.digest,
          state: 'copying',
          message: `attempt ${attempts} failed: ${message}`.slice(0, MESSAGE_MAX_CHARS),
          counts: copy.counts,
          attempts,
        });
        this.#counts.bytes += copy.counts.bytes;
        return false;
      } else {
        this.#hopeful ||= isPassing(err) || hasCode(err, 'SOURCE_LACKS');
        this.#firstFailure ||= `${from}:${referenceText(reference)}: ${message}`;
        await told('failed', message);
      }
      return true;
    } finally {
      this.#copies.delete(copy);
    }
  }

  /** Removes tags that the rule chooses and that the source has not. */
  async #mirror({ from, to }: Place, at: ReadonlySet<Tag>): Promise<void> {
    const { target } = this.#modules;
    const o = { signal: this.#signal };
    const gone: Tag[] = [];
    for await (const tag of target.tags(to, o)) {
      if (!this.#isGone(tag, at)) continue;
      if (await this.#isFitting(to, tag)) gone.push(tag);
      if (gone.length > TAGS_MAX) throw tooMuch(`${TAGS_MAX} tags in ${to}`);
    }
    for (const tag of gone) {
      const known = { repository: from, reference: tag, destination: to };
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const verdict = await target.deleteTag(to, tag, o);
      if (verdict === 'unknown') continue;
      const message =
        verdict === 'deleted'
          ? 'it is gone at the source'
          : 'the registry deletes manifests, not tags, and others need this one';
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await this.#note({
        ...known,
        state: verdict === 'deleted' ? 'deleted' : 'refused',
        message,
      });
    }
  }

  /** One of the rule that the source has not, and no image of an index that it has. */
  #isGone(tag: Tag, at: ReadonlySet<string>): boolean {
    if (at.has(tag) || !this.#isArtifact(tag)) return false;
    const { platforms, platformPolicy } = this.#options.rule;
    if (platformPolicy !== 'children') return true;
    return !indexTagsOf(tag, platforms).some((index) => at.has(index));
  }

  /** Whether the rule would choose what a tag names at the destination. */
  async #isFitting(to: Repository, tag: Tag): Promise<boolean> {
    const { rule } = this.#options;
    const { target } = this.#modules;
    if (rule.artifactTypes === undefined && Object.keys(rule.annotations).length === 0) return true;
    const o = { signal: this.#signal };
    const digest = await target.tagged(to, tag, o);
    const found = digest && (await target.manifest(to, digest, o));
    if (found === undefined) return false;
    const parsed = parseManifest(found.bytes, found.mediaType);
    const { mediaType } = found;
    // What only its labels would tell stays.
    return (await whyUnfit(rule, { mediaType, parsed }, async () => ({}))) === undefined;
  }

  async #note(
    result: Omit<ArtifactResult, 'counts' | 'attempts' | 'digest'> & Partial<ArtifactResult>,
  ): Promise<void> {
    const { rule, id } = this.#options;
    const { store, metrics } = this.#modules;
    const { counts = NOTHING, attempts = 0, digest } = result;
    const message = result.message.slice(0, MESSAGE_MAX_CHARS);
    await store.noteResult(id, { ...result, digest, counts, attempts, message });
    const { state } = result;
    if (state === 'copying') return;
    const { direction } = rule;
    metrics.artifacts.inc({ direction, state });
    for (const fate of ['copied', 'mounted', 'present'] as const) {
      metrics.blobs.inc({ direction, fate }, counts[fate]);
    }
    this.#counts[state] += 1;
    this.#counts.bytes += counts.bytes;
  }

  /** With what artifacts that are not through have sent. */
  #told(): ReplicationCounts {
    const live = [...this.#copies].reduce((sum, { counts }) => sum + counts.bytes, 0);
    return { ...this.#counts, bytes: this.#counts.bytes + live };
  }

  /**
   * Saves how far it is, if it is further: a job without progress is given up some time. Never
   * rejects: who has lost the job hears it by the signal.
   */
  async #tell(): Promise<void> {
    const counts = this.#told();
    const text = JSON.stringify(counts);
    if (text === this.#toldText || this.#telling !== undefined) return;
    this.#toldText = text;
    this.#telling = this.#modules
      .note(counts)
      .catch(() => undefined)
      .finally(() => {
        this.#telling = undefined;
      });
    await this.#telling;
  }
}

/** Whether something may go well the next time. */
function isPassing(err: unknown): boolean {
  if (err instanceof DistributionError) {
    const { data } = err;
    if (data.code !== 'HTTP_STATUS') return !LASTING.includes(data.code);
    return data.status >= 500 || PASSING.includes(data.status);
  }
  if (err instanceof OciError)
    return err.status >= 500 || hasCode(err, 'TOOMANYREQUESTS', ...REPEATED);
  return !hasCode(err, 'PURGED', 'SOURCE_LACKS', 'NAME_INVALID');
}

/** 416: the bytes of a request that was cut were still being taken when the next one came. */
const PASSING: readonly number[] = [408, 416, 425, 429];
const LASTING: readonly string[] = [
  'BASE_URL_INVALID',
  'AUTH_FAILED',
  'TOO_LARGE',
  'REDIRECT_REFUSED',
  'ADDRESS_REFUSED',
  'PLAIN_HTTP_REFUSED',
];
/** Refusals of the own upload that the next attempt does not meet. */
const REPEATED = ['DIGEST_INVALID', 'BLOB_UPLOAD_UNKNOWN', 'BLOB_UPLOAD_INVALID'] as const;

function tooMuch(what: string): JobError {
  const message = `the rule chooses more than ${what}; narrow it, or make several of it`;
  return new JobError(message, { code: 'JOB_HOPELESS' });
}
