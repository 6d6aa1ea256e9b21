// The hub of the test fleet: bytes, statements, grants and a tracker, in memory.
import { randomBytes } from 'node:crypto';
import { ContentHasher } from '../../proto/chunks/content-hasher.ts';
import { layoutOf } from '../../proto/chunks/layout.ts';
import { chunkHashesFromLeaves } from '../../proto/chunks/merkle.ts';
import { signStatement } from '../../proto/chunks/statement.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import type { Repository } from '../../proto/oci/name.ts';
import { sleep } from '../../proto/std/abort.ts';
import { freeBuffer } from '../../proto/std/free-buffer.ts';
import { CodedError } from '../../proto/std/errors.ts';
import { HUB_NAMESPACE, grantContentHash, signGrant } from '../../proto/trust/grant.ts';
import type { GrantBundle } from '../../proto/trust/grant.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import type { Membership } from '../../proto/trust/membership.ts';
import { TrustStore } from '../../proto/trust/trust-store.ts';
import type { ChunkBytes, AnnounceItem, AnnounceResult, CallOptions, HubSource } from './ports.ts';
import { TestSession } from './test-session.ts';

export const FLEET_ID = 'test-fleet';
const LEASE_MS = 5_000;
export const REPOSITORY = parseRepository('team/app');

export type TestBlob = { digest: Digest; bytes: Buffer; statement: Buffer; hashes: Buffer };

export function failure(code: string): CodedError<{ code: string }> {
  return new CodedError(`test: ${code}`, { code });
}

/** The hub as a source of bytes, as tracker and as issuer of grants. */
export class TestHub implements HubSource {
  readonly kind: 'hub' | 'upstream' = 'hub';
  readonly keys = KeyRing.create(Date.now());
  readonly members = new Map<string, Membership>();
  /** Bytes that left the hub as chunks, streams or small blobs. */
  sentBytes = 0;
  down = false;
  /** Questions for the size of a blob. */
  heads = 0;
  /** Time a chunk takes. */
  chunkMs = 2;
  /** Whether it has statements; without them blobs pass through unverified. */
  states = true;
  /** Called with each chunk or piece before it is sent; may change it. */
  tamper: (bytes: Buffer, start: number) => Buffer = (bytes) => bytes;
  /** Bytes after which a stream breaks. */
  breakAfter = Number.POSITIVE_INFINITY;
  /** Blobs on their way into the hub. */
  readonly sessions = new Map<Digest, TestSession>();
  readonly #blobs = new Map<Digest, TestBlob>();
  readonly #leases = new Map<Digest, Map<number, number>>();
  readonly #held = new Map<Digest, Map<string, AnnounceItem>>();

  addBlob(size: number): TestBlob {
    return this.store(randomBytes(size));
  }

  /** The hub begins to fetch the blob of `bytes`; `sent` is what the upstream sends instead. */
  fetch(bytes: Buffer, o: { sent?: Buffer; release?: TestSession['release'] } = {}): TestSession {
    const digest = digestOf(bytes);
    const session = new TestSession(digest, o.sent ?? bytes, o.release ?? 'readers');
    this.sessions.set(digest, session);
    return session;
  }

  /** The hub has the blob. */
  store(bytes: Buffer): TestBlob {
    const size = bytes.length;
    const hasher = new ContentHasher();
    hasher.update(bytes);
    const { digests, leaves, root } = hasher.finish();
    const digest = digests.sha256;
    const layout = layoutOf(size);
    const hashes = chunkHashesFromLeaves(leaves, layout);
    const key = this.keys.signingKey('statement');
    const statement =
      layout.chunkCount > 0 ? signStatement({ digest, size, root }, key) : Buffer.alloc(0);
    const blob = { digest, bytes, statement, hashes };
    this.#blobs.set(digest, blob);
    return blob;
  }

  trust(): TrustStore {
    const trust = new TrustStore({ rootFingerprint: this.keys.fingerprint() });
    trust.load(this.keys.bundle());
    return trust;
  }

  grant(repository: string): GrantBundle {
    const digests = [...new Set([...this.#blobs.keys(), ...this.sessions.keys()])];
    const now = Date.now();
    const manifestDigest = digestOf(Buffer.from(repository));
    const grant = signGrant(
      {
        fleetId: FLEET_ID,
        peerId: '',
        namespace: HUB_NAMESPACE,
        repository,
        manifestDigest,
        contentHash: grantContentHash(digests),
        issuedAtMs: now,
        notAfterMs: now + 20 * 60_000,
      },
      this.keys.signingKey('grant'),
    );
    return { grant, digests };
  }

  head(_repository: Repository, digest: Digest): Promise<{ size: number } | undefined> {
    this.heads += 1;
    return this.#answer(() => {
      const blob = this.#blobs.get(digest) ?? this.sessions.get(digest);
      return blob === undefined ? undefined : { size: blob.bytes.length };
    });
  }

  statement(_repository: Repository, digest: Digest): Promise<Buffer | undefined> {
    return this.#answer(() => {
      const statement = this.states ? this.#blobs.get(digest)?.statement : undefined;
      return statement?.length === 0 ? undefined : statement;
    });
  }

  hashes(_repository: Repository, digest: Digest): Promise<Buffer | undefined> {
    return this.#answer(() => (this.states ? this.#blobs.get(digest)?.hashes : undefined));
  }

  async provisional(
    _repository: Repository,
    digest: Digest,
    from: number | undefined,
    o: CallOptions,
  ): Promise<Buffer | undefined> {
    const session = await this.#answer(() => this.sessions.get(digest));
    return session?.batch(from, this.keys.signingKey('statement'), o);
  }

  async chunk(
    _repository: Repository,
    digest: Digest,
    { start, end }: { start: number; end: number },
    o: CallOptions & { provisional?: boolean },
  ): Promise<ChunkBytes> {
    await sleep(this.chunkMs, o);
    const session = o.provisional === true ? this.sessions.get(digest) : undefined;
    const bytes =
      (await session?.part(start, end, o)) ??
      (await this.#answer(() => this.#blobs.get(digest)?.bytes.subarray(start, end)));
    if (bytes === undefined) throw failure('HTTP_STATUS');
    this.sentBytes += bytes.length;
    const tampered = this.tamper(Buffer.from(bytes), start);
    const own = Buffer.allocUnsafeSlow(tampered.length);
    tampered.copy(own);
    // As in the product, so that a look at it after that is seen.
    return { bytes: own, [Symbol.dispose]: () => freeBuffer(own) };
  }

  stream(
    _repository: Repository,
    digest: Digest,
    start: number,
  ): Promise<{ size: number; body: AsyncIterable<Buffer> } | undefined> {
    return this.#answer(() => {
      const blob = this.#blobs.get(digest);
      if (blob === undefined) return undefined;
      return { size: blob.bytes.length, body: this.#body(blob.bytes, start) };
    });
  }

  small(_repository: Repository, digest: Digest): Promise<Buffer | undefined> {
    return this.#answer(() => {
      const bytes = this.#blobs.get(digest)?.bytes;
      this.sentBytes += bytes?.length ?? 0;
      return bytes;
    });
  }

  /** The tracker: chunks nobody has or fetches are leased to whoever asks. */
  announce(from: string, items: AnnounceItem[]): Promise<AnnounceResult[]> {
    return this.#answer(() => items.map((item) => this.#track(from, item)));
  }

  /** As after a restart of the tracker. */
  forget(): void {
    this.#held.clear();
    this.#leases.clear();
  }

  /** Resolves when somebody has announced the blob. */
  async announced(digest: Digest): Promise<void> {
    while (!this.#held.has(digest)) await sleep(5);
  }

  #track(from: string, item: AnnounceItem): AnnounceResult {
    const held = this.#held.get(item.digest) ?? new Map<string, AnnounceItem>();
    this.#held.set(item.digest, held);
    const leases = this.#leases.get(item.digest) ?? new Map<number, number>();
    this.#leases.set(item.digest, leases);
    held.set(from, { ...item, have: item.have.clone() });
    const now = Date.now();
    const free: number[] = [];
    for (let index = 0; index < item.have.size; index += 1) {
      if ((leases.get(index) ?? 0) > now) continue;
      if (![...held.values()].some((other) => other.have.has(index))) free.push(index);
    }
    const cap = Math.min(64, Math.max(4, Math.ceil(free.length / (2 * held.size))));
    const hubChunks: number[] = [];
    while (hubChunks.length < Math.min(cap, item.hubChunksWanted) && free.length > 0) {
      const [index] = free.splice(Math.floor(Math.random() * free.length), 1);
      if (index === undefined) break;
      leases.set(index, now + LEASE_MS);
      hubChunks.push(index);
    }
    const peers = [...held.keys()].flatMap((peer) => {
      const member = this.members.get(peer);
      return peer === from || member === undefined ? [] : [member];
    });
    return { digest: item.digest, peers, hubChunks, retryAfterMs: 0 };
  }

  async *#body(bytes: Buffer, start: number): AsyncGenerator<Buffer> {
    const step = 256 * 1024;
    for (let at = start; at < bytes.length; at += step) {
      if (at - start >= this.breakAfter || this.down) throw failure('BODY_SHORT');
      await sleep(0);
      const piece = Buffer.from(bytes.subarray(at, at + step));
      this.sentBytes += piece.length;
      yield this.tamper(piece, at);
    }
  }

  async #answer<T>(value: () => T): Promise<T> {
    await sleep(1);
    if (this.down) throw failure('UNREACHABLE');
    return value();
  }
}
