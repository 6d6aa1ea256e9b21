import type { Digest } from '../../proto/oci/digest.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import type { Repository } from '../../proto/oci/name.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import type { GrantBundle } from '../../proto/trust/grant.ts';
import type { TagName } from '../../proto/trust/tag-statement.ts';
import type { BlobHandle, CallOptions, OpenRequest, ReadOptions } from '../fetch/ports.ts';
import { MirrorError, unavailable } from './errors.ts';
import { startMirror } from './mirror.ts';
import type { Mirror } from './mirror.ts';
import type { NamespaceRules, Target } from './namespace.ts';
import type { MirrorConfig } from './options.ts';
import type {
  AskOptions,
  LocalBlob,
  LocalContent,
  ManifestBytes,
  Origin,
  StaleTag,
  TagSource,
} from './ports.ts';

/** Reads bytes for a handle; a test may replace it to stall, fail or lie. */
export type ReadBlob = (
  range: { start: number; end: number },
  o: ReadOptions,
) => AsyncIterable<Buffer>;

/** A registry in memory. Keys are `repository@digest` and `repository:tag`. */
export class FakeRegistry implements Origin {
  readonly manifests = new Map<string, ManifestBytes>();
  readonly blobs = new Map<string, number>();
  /** Every call with the credentials it carried. */
  readonly calls: { call: string; authorization: string | undefined }[] = [];
  /** Set: 401 with this challenge unless `accepts` comes along. */
  challenge: string | undefined;
  accepts: string | undefined;
  down = false;
  downReason: 'unreachable' | 'source' | 'upstream' = 'unreachable';
  /** True: calls are never answered. */
  hangs = false;
  /** Calls are answered when it resolves. */
  gate: Promise<void> | undefined;
  /** So many calls are refused as too many. */
  busyCalls = 0;

  putManifest(repository: string, tag: string, manifest: object, mediaType: string): Digest {
    const bytes = Buffer.from(JSON.stringify(manifest));
    const digest = digestOf(bytes);
    const entry = { bytes, digest, mediaType };
    this.manifests.set(`${repository}:${tag}`, entry);
    this.manifests.set(`${repository}@${digest}`, entry);
    return digest;
  }

  async headManifest(
    repository: Repository,
    reference: Parameters<Origin['headManifest']>[1],
    o: AskOptions,
  ) {
    const found = await this.#find('head', repository, reference, o);
    return found && { ...found, size: found.bytes.length };
  }

  async getManifest(
    repository: Repository,
    reference: Parameters<Origin['getManifest']>[1],
    o: AskOptions,
  ) {
    return this.#find('get', repository, reference, o);
  }

  async headBlob(repository: Repository, digest: Digest, o: AskOptions) {
    await this.#enter('head blob', o);
    const size = this.blobs.get(`${repository}@${digest}`);
    return size === undefined ? undefined : { size };
  }

  async #find(
    verb: string,
    repository: Repository,
    reference: Parameters<Origin['getManifest']>[1],
    o: AskOptions,
  ): Promise<ManifestBytes | undefined> {
    await this.#enter(`${verb} ${reference.kind}`, o);
    const text = reference.kind === 'tag' ? `:${reference.tag}` : `@${reference.digest}`;
    return this.manifests.get(`${repository}${text}`);
  }

  async #enter(call: string, o: AskOptions): Promise<void> {
    this.calls.push({ call, authorization: o.authorization });
    if (this.hangs) await new Promise((_, reject) => o.signal?.addEventListener('abort', reject));
    await this.gate;
    if (this.busyCalls-- > 0) throw unavailable('busy', 'too many requests');
    if (this.down) throw unavailable(this.downReason, 'cannot be reached');
    if (this.challenge === undefined) return;
    if (o.authorization !== undefined && o.authorization === this.accepts) return;
    throw new MirrorError('credentials wanted', {
      code: 'UNAUTHORIZED',
      challenge: this.challenge,
    });
  }
}

/** Content by digest, as the fetch room gives it. */
export class FakeContent {
  readonly blobs = new Map<Digest, Buffer>();
  readonly opened: OpenRequest[] = [];
  /** Handles not disposed yet. */
  openHandles = 0;
  read: ((bytes: Buffer) => ReadBlob) | undefined;
  beforeOpen: ((o: CallOptions) => Promise<void>) | undefined;

  put(bytes: Buffer): Digest {
    const digest = digestOf(bytes);
    this.blobs.set(digest, bytes);
    return digest;
  }

  notice(): void {}

  ahead(): void {}

  async manifest(request: OpenRequest): Promise<Buffer | undefined> {
    this.opened.push(request);
    return this.blobs.get(request.digest);
  }

  async open(request: OpenRequest, o: CallOptions): Promise<BlobHandle> {
    this.opened.push(request);
    await this.beforeOpen?.(o);
    const bytes = this.blobs.get(request.digest);
    if (bytes === undefined) {
      throw Object.assign(new Error('no source has it'), { code: 'NOT_FOUND' });
    }
    this.openHandles += 1;
    const read = this.read?.(bytes) ?? slices(bytes, 64 * 1024);
    return {
      size: bytes.length,
      read,
      [Symbol.dispose]: () => {
        this.openHandles -= 1;
      },
    };
  }
}

/** Reads in steps, giving the same buffer again and again as the contract allows. */
export function slices(bytes: Buffer, step: number): ReadBlob {
  return async function* read({ start, end }, { signal }) {
    const ring = Buffer.alloc(step);
    for (let at = start; at < end; at += step) {
      signal?.throwIfAborted();
      const length = Math.min(step, end - at);
      bytes.copy(ring, 0, at, at + length);
      yield ring.subarray(0, length);
      ring.fill(0xee);
    }
  };
}

/** What is on the node. */
export class FakeLocal implements LocalContent {
  readonly small = new Map<Digest, Buffer>();
  readonly large = new Map<Digest, LocalBlob>();

  async getSmall(digest: Digest): Promise<Buffer | undefined> {
    return this.small.get(digest);
  }

  async putSmall(digest: Digest, bytes: Buffer): Promise<void> {
    this.small.set(digest, bytes);
  }

  find(digest: Digest): LocalBlob | undefined {
    return this.large.get(digest);
  }
}

/** Grants by `repository@digest`. */
export class FakeGrants {
  readonly granted = new Set<string>();
  down = false;
  asked = 0;

  async ensure(
    _namespace: string,
    repository: string,
    digest: Digest,
  ): Promise<GrantBundle | undefined> {
    this.asked += 1;
    if (this.down) throw new Error('nobody can tell');
    if (!this.granted.has(`${repository}@${digest}`)) return undefined;
    return { grant: Buffer.from('grant'), digests: [digest] };
  }
}

/** Tag statements by `repository:tag`. */
export class FakeTags implements TagSource {
  online = true;
  readonly stated = new Map<string, StaleTag>();
  readonly heard: { tag: string; digest: Digest | undefined }[] = [];
  asked = 0;

  resolved({ tag }: TagName, digest: Digest | undefined): void {
    this.heard.push({ tag, digest });
  }

  async newest({ repository, tag }: TagName): Promise<StaleTag | undefined> {
    this.asked += 1;
    return this.stated.get(`${repository}:${tag}`);
  }
}

export type LogEntry = { level: string; [field: string]: unknown };

export type TestMirror = AsyncDisposable & {
  mirror: Mirror;
  url: string;
  hub: FakeRegistry;
  upstream: FakeRegistry;
  content: FakeContent;
  local: FakeLocal;
  grants: FakeGrants;
  tags: FakeTags;
  metrics: MetricsRegistry;
  /** Parsed log entries. */
  logs: LogEntry[];
  clock: { nowMs: number };
};

export const TEST_CONFIG: MirrorConfig = {
  listen: ['127.0.0.1:0'],
  requestsMax: 64,
  headersTimeout: 5_000,
  bodyStallTimeout: 20_000,
  staleTagMaxAge: 3_600_000,
  sendfile: true,
  clientStallTimeout: 60_000,
};

export const TEST_RULES: NamespaceRules = {
  hubNames: () => ['hub.example'],
  hubUpstreams: () => [{ namespace: 'registry.example:5000' }],
  hubPort: 7400,
  upstreams: [{ namespace: 'docker.io' }, { namespace: 'quay.example:5000', alias: 'quay' }],
};

/** A mirror on a free port of 127.0.0.1 whose surroundings are fakes. For tests. */
export async function startTestMirror(config: Partial<MirrorConfig> = {}): Promise<TestMirror> {
  const hub = new FakeRegistry();
  const upstream = new FakeRegistry();
  const content = new FakeContent();
  const local = new FakeLocal();
  const grants = new FakeGrants();
  const tags = new FakeTags();
  const metrics = new MetricsRegistry({ prefix: 'flotilla_agent_' });
  const logs: TestMirror['logs'] = [];
  const clock = { nowMs: 1_000 };
  const logger = createLogger(
    { level: 'debug', name: 'agent' },
    { write: (line) => logs.push(parseEntry(line)) },
  );
  // Tokens of these tests cannot be verified by the node: the hub is asked.
  const hubTokens = { mayRead: () => false };
  const originOf = (target: Target): FakeRegistry => (target.kind === 'hub' ? hub : upstream);
  const mirror = await startMirror(
    { ...TEST_CONFIG, ...config, rules: TEST_RULES, now: () => clock.nowMs },
    { local, content, grants, hubTokens, originOf, tags, metrics, logger },
  );
  const url = mirror.urls[0] ?? '';
  const parts = { hub, upstream, content, local, grants, tags, metrics, logs, clock };
  return { mirror, url, ...parts, [Symbol.asyncDispose]: () => mirror.close() };
}

function parseEntry(line: string): LogEntry {
  const entry: unknown = JSON.parse(line);
  if (typeof entry !== 'object' || entry === null) throw new Error('a log line is no object');
  return { level: '', ...entry };
}
