// A fleet in one process for the tests of this room: real keys, real libp2p hosts on loopback.
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ContentHasher } from '../../proto/chunks/content-hasher.ts';
import { chunkRange, layoutOf } from '../../proto/chunks/layout.ts';
import { chunkHashesFromLeaves } from '../../proto/chunks/merkle.ts';
import { signStatement } from '../../proto/chunks/statement.ts';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { formatListen } from '../../proto/ops/listen.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { hasCode } from '../../proto/std/errors.ts';
import type { RateBudget } from '../../proto/std/rate-budget.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import {
  grantContentHash,
  signGrant,
  type Grant,
  type GrantBundle,
} from '../../proto/trust/grant.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import { signMembership, type Membership } from '../../proto/trust/membership.ts';
import { TrustStore } from '../../proto/trust/trust-store.ts';
import { libp2pKeyOf, loadIdentity, type NodeIdentity } from '../fleet/identity.ts';
import { MemberBook } from '../fleet/member-book.ts';
import type { ContentReader, ServableBlob } from './content-reader.ts';
import type { Relay } from './exchange-handlers.ts';
import { createSwarmMetrics } from './metrics.ts';
import { SwarmNode } from './swarm.ts';

const FLEET_ID = 'test-fleet';
const HOUR_MS = 3_600_000;
const TIMEOUT_MS = 20_000;

/** Of a node that has nothing to pass on. */
export const NO_RELAY: Relay = { publicGrant: () => undefined, tagStatement: () => undefined };

/** Content in memory; `change` tells those who wait for news. */
export class MemoryContent implements ContentReader {
  readonly #blobs = new Map<string, ServableBlob & { change: () => void }>();
  readonly #small = new Map<Digest, Buffer>();

  /** With a session: what was checked against leaves of that. */
  add(blob: TestBlob, held: readonly number[] | 'all' = 'all', session?: Buffer): void {
    const { layout, bytes, statement, hashes } = blob;
    const have = new ChunkBitmap(layout.chunkCount);
    for (let i = 0; i < layout.chunkCount; i++) if (held === 'all' || held.includes(i)) have.set(i);
    const listeners = new Set<() => void>();
    this.#blobs.set(nameOf(blob.digest, session), {
      size: bytes.length,
      chunkCount: layout.chunkCount,
      have,
      get complete() {
        return have.complete;
      },
      statement,
      hashes,
      chunkRange: (index) => chunkRange(layout, index),
      read: async (into, position) => {
        bytes.copy(into, 0, position, position + into.length);
      },
      retain: () => ({ [Symbol.dispose]: () => {} }),
      onChange: (listener) => {
        listeners.add(listener);
        return { [Symbol.dispose]: () => listeners.delete(listener) };
      },
      change: () => {
        for (const listener of listeners) listener();
      },
    });
  }

  addSmall(bytes: Buffer): Digest {
    const digest = digestOf(bytes);
    this.#small.set(digest, bytes);
    return digest;
  }

  gain(digest: Digest, index: number): void {
    const blob = this.#blobs.get(digest);
    blob?.have.set(index);
    blob?.change();
  }

  find(digest: Digest, session?: Buffer): ServableBlob | undefined {
    return this.#blobs.get(nameOf(digest, session));
  }

  small(digest: Digest): Promise<Buffer | undefined> {
    return Promise.resolve(this.#small.get(digest));
  }
}

function nameOf(digest: Digest, session: Buffer | undefined): string {
  return session === undefined ? digest : `${digest} ${session.toString('hex')}`;
}

/** The same content, but each read of a chunk waits for `before`. */
export function readingAfter(
  before: (position: number) => Promise<void>,
): (content: ContentReader) => ContentReader {
  return (content) => ({
    small: (digest) => content.small(digest),
    find: (digest) => {
      const found = content.find(digest);
      if (found === undefined) return undefined;
      const read = async (into: Buffer, position: number): Promise<void> => {
        await before(position);
        await found.read(into, position);
      };
      return { ...found, complete: found.complete, read };
    },
  });
}

export type TestBlob = ReturnType<TestFleet['blob']>;

export type TestNode = {
  swarm: SwarmNode;
  identity: NodeIdentity;
  members: MemberBook;
  trust: TrustStore;
  content: MemoryContent;
  metrics: MetricsRegistry;
  membership: Membership;
  clock: TestClock;
};

/** `steadyMs`: what passes when the clock is set; without it the same as `nowMs`. */
type TestClock = { nowMs: number; steadyMs?: number };

function clocksOf(clock: TestClock) {
  return { now: () => clock.nowMs, steadyNow: () => clock.steadyMs ?? clock.nowMs };
}

/** Signs for a fleet and runs its nodes; disposing stops them all. */
export class TestFleet implements AsyncDisposable {
  readonly #ring = KeyRing.create(Date.now());
  readonly #nodes: TestNode[] = [];
  readonly #folders: string[] = [];
  #serial = 0;

  trust(): TrustStore {
    const trust = new TrustStore({ rootFingerprint: this.#ring.fingerprint() });
    trust.load(this.#ring.bundle());
    return trust;
  }

  async identity(): Promise<NodeIdentity> {
    const folder = await mkdtemp(join(tmpdir(), 'flotilla-swarm-'));
    this.#folders.push(folder);
    return loadIdentity(folder);
  }

  /** Starts a node that is enrolled, but that no other node knows of yet. */
  async node(
    name: string,
    options: {
      host?: string;
      /** Where it listens; default: any free port of the host. */
      listen?: string[];
      wrap?: (content: ContentReader) => ContentReader;
      relay?: Relay;
      enrolled?: boolean;
      clock?: TestClock;
      bodyStallMs?: number;
      graceMs?: number;
      /** Whether others may open lanes to it. */
      lane?: boolean;
      /** What it may send. */
      uploadRate?: RateBudget;
      /** Newest version of the exchange it speaks, for a node of an earlier version. */
      versionMax?: number;
    } = {},
  ): Promise<TestNode> {
    const { host = '127.0.0.1', wrap = (content) => content, enrolled = true } = options;
    const clock: TestClock = options.clock ?? { nowMs: Date.now() };
    const { now } = clocksOf(clock);
    const identity = await this.identity();
    const trust = this.trust();
    const fleetId = (): string => FLEET_ID;
    const members = new MemberBook({ peerId: identity.peerId, now }, { trust, fleetId });
    const content = new MemoryContent();
    const metrics = new MetricsRegistry({ prefix: 'flotilla_agent_' });
    const swarm = await SwarmNode.start(
      {
        privateKey: await libp2pKeyOf(identity),
        listen: options.listen ?? [formatListen({ host, port: 0 })],
        lanePort: options.lane === true ? 0 : undefined,
        connectionsMax: 64,
        uploads: 8,
        uploadRate: options.uploadRate,
        build: 'test',
        ...(options.bodyStallMs === undefined ? {} : { bodyStallMs: options.bodyStallMs }),
        ...(options.versionMax === undefined ? {} : { versionMax: options.versionMax }),
        ...clocksOf(clock),
      },
      {
        members,
        trust,
        fleetId,
        graceMs: () => options.graceMs ?? 0,
        content: wrap(content),
        relay: options.relay ?? NO_RELAY,
        metrics: (live) => createSwarmMetrics(metrics, live),
        logger: createLogger({ level: 'silent', name: name }),
      },
    );
    const membership: Membership = {
      fleetId: FLEET_ID,
      peerId: identity.peerId,
      node: name,
      zone: '',
      addresses: [host],
      libp2pPort: swarm.port,
      lanePort: swarm.lanePort,
      serial: ++this.#serial,
      notBeforeMs: clock.nowMs - HOUR_MS,
      notAfterMs: clock.nowMs + HOUR_MS,
    };
    if (enrolled) members.setOwn(this.certificate(membership));
    const node = { swarm, identity, members, trust, content, metrics, membership, clock };
    this.#nodes.push(node);
    return node;
  }

  certificate(membership: Membership): Buffer {
    return signMembership(membership, this.#ring.signingKey('membership'));
  }

  /** Gives every node the same snapshot, as the hub would. */
  publish(nodes: readonly TestNode[], revokedSerials: readonly number[] = []): void {
    const memberships = nodes
      .filter((node) => !revokedSerials.includes(node.membership.serial))
      .map((node) => this.certificate(node.membership));
    for (const node of nodes) {
      const version = node.members.version + 1;
      node.members.replace({ version, memberships, revokedSerials });
    }
  }

  /** Two enrolled nodes that know each other. */
  async pair(
    options: Parameters<TestFleet['node']>[1] = {},
  ): Promise<{ server: TestNode; client: TestNode }> {
    const server = await this.node('server', options);
    const client = await this.node('client', { ...options, wrap: (content) => content });
    this.publish([server, client]);
    return { server, client };
  }

  /** The same, with a blob of this size on the server and a link to it. */
  async linked(size: number, options: Parameters<TestFleet['node']>[1] = {}) {
    const nodes = await this.pair(options);
    const blob = this.blob(size);
    nodes.server.content.add(blob);
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    return {
      ...nodes,
      blob,
      link: await nodes.client.swarm.link(nodes.server.membership, { signal }),
    };
  }

  blob(size: number) {
    const bytes = randomBytes(size);
    const hasher = new ContentHasher();
    hasher.update(bytes);
    const { digests, leaves, root } = hasher.finish();
    const digest = digests.sha256;
    const layout = layoutOf(size);
    const statement = signStatement({ digest, size, root }, this.#ring.signingKey('statement'));
    const hashes = chunkHashesFromLeaves(leaves, layout);
    return { bytes, digest, layout, statement, hashes };
  }

  grant(digests: Digest[], overrides: Partial<Grant> = {}): GrantBundle {
    const issuedAtMs = Date.now() - 1_000;
    const grant: Grant = {
      fleetId: FLEET_ID,
      peerId: '',
      namespace: 'hub',
      repository: 'team/app',
      manifestDigest: digestOf(Buffer.from('a manifest')),
      contentHash: grantContentHash(digests),
      issuedAtMs,
      notAfterMs: issuedAtMs + 60_000,
      ...overrides,
    };
    return { grant: signGrant(grant, this.#ring.signingKey('grant')), digests };
  }

  /** The key that signed every grant so far is revoked, and this node hears of it. */
  revokeGrantKey({ trust }: TestNode): void {
    this.#ring.revoke(this.#ring.signingKey('grant').keyId, Date.now());
    trust.load(this.#ring.bundle());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.swarm.close()));
    await Promise.all(this.#folders.map((path) => rm(path, { recursive: true, force: true })));
  }
}

/** Checks the code of a rejection. */
export function code(expected: string): (err: unknown) => boolean {
  return (err) => {
    if (!hasCode(err, expected)) throw new Error(`expected code ${expected}`, { cause: err });
    return true;
  };
}
