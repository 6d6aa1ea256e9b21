import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TestContext } from 'node:test';
import { request } from 'undici';
import type { RegistryClient } from '../../proto/distribution/registry-client.ts';
import { testRegistry } from '../../proto/distribution/test-registry.ts';
import { digestOf, isDigest, type Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import { MANIFEST_ACCEPT, OCI_INDEX, OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { referenceText } from '../../proto/oci/name.ts';
import { formatContentRange, parseRange } from '../../proto/oci/ranges.ts';
import type { KeyRing } from '../../proto/trust/key-ring.ts';
import { MIB, TestRegistry, type PullParts } from '../registry/registry-fixture.ts';
import type { Replicas } from '../replicas/replicas.ts';
import type { RegistryOptions } from '../registry/registry.ts';
import { openPullThrough } from './open-pull-through.ts';
import type { Ingests, Upstream, UpstreamNames, UpstreamPolicy, Upstreams } from './port.ts';
import { openProvisional } from './provisional/open.ts';
import { UpstreamSet } from './upstreams.ts';

/** What an origin does with a blob instead of sending it. True: it has answered. */
export type BlobFault = (
  request: IncomingMessage,
  response: ServerResponse,
  bytes: Buffer,
) => boolean;
type Asked = { method: string; path: string; range: string | undefined };

/** A registry far away, as an upstream of hubs under test. */
export class Origin {
  readonly name: string;
  readonly asked: Asked[] = [];
  readonly #blobs = new Map<string, Buffer>();
  readonly #manifests = new Map<string, { bytes: Buffer; type: string }>();
  /** Answers what it is asked of manifests with this status. */
  status: number | undefined;
  /** Answers GET of manifests with this status. */
  getStatus: number | undefined;
  /** Answers about manifests wait for it. */
  gate: Promise<void> = Promise.resolve();
  /** Before each blob. */
  blobFault: BlobFault | undefined;
  /** Whether HEAD of a manifest tells its digest. */
  tellsDigest = true;
  policy: UpstreamPolicy;
  client!: RegistryClient;
  url = '';

  constructor(name: string, policy: Partial<UpstreamPolicy> = {}) {
    this.name = name;
    this.policy = {
      repositories: [],
      freshness: { kind: 'always' },
      staleMaxAgeMs: 3_600_000,
      negativeMs: 0,
      onDeleted: 'keep',
      provisional: 'readers',
      ...policy,
    };
  }

  static async start(
    t: TestContext,
    name = 'docker.io',
    policy: Partial<UpstreamPolicy> = {},
  ): Promise<Origin> {
    const own = new Origin(name, policy);
    const server = await testRegistry(t, (asked, response) => void own.#answer(asked, response));
    own.client = server.client();
    own.url = server.url;
    return own;
  }

  putBlob(repository: string, bytes: Buffer): Digest {
    const digest = digestOf(bytes);
    this.#blobs.set(`${repository} ${digest}`, bytes);
    return digest;
  }

  putManifest(repository: string, tag: string, manifest: object, type = OCI_MANIFEST): Digest {
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: type, ...manifest }));
    const digest = digestOf(bytes);
    for (const reference of [tag, digest]) {
      if (reference !== '') this.#manifests.set(`${repository} ${reference}`, { bytes, type });
    }
    return digest;
  }

  /** An image of one layer under a tag. */
  putImage(repository: string, tag: string, layer: Buffer = bytesOf(MIB)) {
    const file = Buffer.from(`{"of":"${tag} ${layer.length}"}`);
    const config = this.putBlob(repository, file);
    const type = 'application/vnd.oci.image.config.v1+json';
    const digest = this.putBlob(repository, layer);
    const manifest = this.putManifest(repository, tag, {
      config: { mediaType: type, digest: config, size: file.length },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: layer.length }],
    });
    return { manifest, layer: digest, config };
  }

  dropTag(repository: string, tag: string): void {
    this.#manifests.delete(`${repository} ${tag}`);
  }

  /** How often it was asked for what has this in its path. */
  count(method: string, part: string): number {
    return this.asked.filter((one) => one.method === method && one.path.includes(part)).length;
  }

  upstream(): Upstream {
    const { client, name, url } = this;
    return {
      name,
      host: name,
      headManifest: async (repository, reference, { ifNoneMatch, signal }) => {
        const path = `${url}/v2/${repository}/manifests/${referenceText(reference)}`;
        const { statusCode, headers, body } = await request(path, {
          method: 'HEAD',
          headers: {
            accept: MANIFEST_ACCEPT.join(),
            ...(ifNoneMatch === undefined ? {} : { 'if-none-match': ifNoneMatch }),
          },
          signal: signal ?? null,
        });
        await body.dump();
        if (statusCode === 304) return 'unchanged';
        if (statusCode === 404) return undefined;
        if (statusCode !== 200) throw new Error(`it answered ${statusCode}`);
        const digest = headers['docker-content-digest'];
        return {
          digest: typeof digest === 'string' && isDigest(digest) ? digest : undefined,
          mediaType: String(headers['content-type']),
          size: Number(headers['content-length']),
          etag: headers['etag']?.toString(),
        };
      },
      getManifest: (repository, reference, o) => client.getManifest(repository, reference, o),
      headBlob: (repository, digest, o) => client.headBlob(repository, digest, o),
      openBlob: (repository, digest, o) => client.openBlob(repository, digest, o),
      tags: async (repository, { n, last }) => {
        if (this.status !== undefined) throw new Error(`it answered ${this.status}`);
        const all = [...this.#manifests.keys()].filter((key) => key.startsWith(`${repository} `));
        const tags = all.map((key) => key.split(' ')[1] ?? '').filter((tag) => !tag.includes(':'));
        return all.length === 0 ? undefined : tags.slice(last ? tags.indexOf(last) + 1 : 0, n + 99);
      },
      referrers: async (repository, subject) =>
        [...this.#manifests].flatMap(([key, { bytes, type }]) => {
          if (!key.startsWith(`${repository} sha256:`)) return [];
          const manifest: { subject?: { digest: string } } = JSON.parse(bytes.toString());
          if (manifest.subject?.digest !== subject) return [];
          return [{ digest: digestOf(bytes), mediaType: type }];
        }),
    };
  }

  async #answer(asked: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = asked;
    this.asked.push({ method, path: url, range: asked.headers.range });
    const [, repository = '', kind, reference = ''] =
      /^\/v2\/(.+)\/(manifests|blobs)\/(.+)$/.exec(url) ?? [];
    if (kind === 'blobs') return this.#blob(asked, response, `${repository} ${reference}`);
    await this.gate;
    const found = this.#manifests.get(`${repository} ${reference}`);
    const status = (method === 'GET' ? this.getStatus : undefined) ?? this.status;
    if (status !== undefined || found === undefined) {
      return void response.writeHead(status ?? 404).end();
    }
    const digest = digestOf(found.bytes);
    const etag = `"${digest}"`;
    if (asked.headers['if-none-match'] === etag) return void response.writeHead(304).end();
    response.writeHead(200, {
      'content-type': found.type,
      'content-length': found.bytes.length,
      etag,
      ...(this.tellsDigest ? { 'docker-content-digest': digest } : {}),
    });
    response.end(method === 'HEAD' ? undefined : found.bytes);
  }

  #blob(asked: IncomingMessage, response: ServerResponse, key: string): void {
    const bytes = this.#blobs.get(key);
    if (bytes === undefined) return void response.writeHead(404).end();
    if (asked.method === 'GET' && this.blobFault?.(asked, response, bytes)) return;
    sendRange(asked, response, bytes);
  }
}

/** Answers as a registry that has these bytes. */
export function sendRange(asked: IncomingMessage, response: ServerResponse, bytes: Buffer): void {
  const range = parseRange(asked.headers.range, bytes.length);
  if (range.kind === 'unsatisfiable') return void response.writeHead(416).end();
  const { start, end } = range.kind === 'part' ? range : { start: 0, end: bytes.length };
  response.writeHead(range.kind === 'part' ? 206 : 200, {
    'content-length': end - start,
    ...(range.kind === 'part'
      ? { 'content-range': formatContentRange(start, end, bytes.length) }
      : {}),
  });
  response.end(asked.method === 'HEAD' ? undefined : bytes.subarray(start, end));
}

/** Sends the first `count` bytes of what is asked for, and then nothing. */
export function sendSome(
  asked: IncomingMessage,
  response: ServerResponse,
  bytes: Buffer,
  count: number,
): void {
  const range = parseRange(asked.headers.range, bytes.length);
  const { start, end } = range.kind === 'part' ? range : { start: 0, end: bytes.length };
  response.writeHead(range.kind === 'part' ? 206 : 200, {
    'content-length': end - start,
    ...(range.kind === 'part'
      ? { 'content-range': formatContentRange(start, end, bytes.length) }
      : {}),
  });
  response.write(bytes.subarray(start, Math.min(end, start + count)));
}

/** Bytes that no two leaves have the same of. */
export function bytesOf(size: number, seed = ''): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; at += MIB) {
    createHash('sha256').update(`${seed} ${at}`).digest().copy(bytes, at);
  }
  return bytes;
}

export type PullRig = { hub: TestRegistry; ingests: Ingests; upstreams: Upstreams };

type RigOptions = RegistryOptions & {
  now?: () => number;
  stallMs?: number;
  visibility?: UpstreamNames['visibility'];
  aliases?: Record<string, string>;
  holder?: string;
  beside?: TestRegistry;
  shared?: boolean;
  /** How this hub knows others. */
  replicas?: Replicas;
  ownerWaitMs?: number;
  /** Signs what is told of blobs on their way; nothing is told without it. */
  ring?: KeyRing;
  /** Changes what pull-through is made of. */
  with?: (parts: PullParts) => PullParts;
};

/** A hub that pulls through from origins, over real HTTP, files and SQLite. */
export async function startPullHub(
  t: TestContext,
  origins: readonly Origin[],
  options: RigOptions = {},
): Promise<PullRig> {
  const { visibility = 'public', aliases = {}, holder = 'hub', stallMs, now } = options;
  const upstreams = new UpstreamSet(
    origins.map((origin) => ({
      names: { name: origin.name, host: origin.name, alias: aliases[origin.name], visibility },
      policy: origin.policy,
      upstream: origin.upstream(),
    })),
  );
  let ingests: Ingests | undefined;
  const { with: change = (parts) => parts, ...rest } = options;
  const hub = await TestRegistry.start(t, {
    ...rest,
    pullThrough: async (parts) => {
      const own = { dataDir: parts.folder, holder, shared: options.shared === true };
      const opened = await openPullThrough(
        {
          ...own,
          ...(now === undefined ? {} : { now }),
          ...(stallMs === undefined ? {} : { stallMs }),
          ...(options.ownerWaitMs === undefined ? {} : { ownerWaitMs: options.ownerWaitMs }),
        },
        { ...change(parts), upstreams, replicas: options.replicas },
      );
      ({ ingests } = opened);
      const { ring } = options;
      const signed = ring && { signingKey: () => ring.signingKey('statement') };
      const provisional = signed && openProvisional({ pull: opened, ...signed, ...parts });
      return {
        pullThrough: opened.pullThrough,
        ...(provisional === undefined ? {} : { provisional }),
        [Symbol.asyncDispose]: opened.close,
      };
    },
  });
  if (ingests === undefined) throw ociError('UNAVAILABLE', 'no pull-through');
  return { hub, ingests, upstreams };
}

export { OCI_INDEX };
