// A hub and Debian's docker-registry, with a rule between them.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { RegistryClient } from '../../proto/distribution/registry-client.ts';
import { checkBody } from '../../proto/hubapi/body.ts';
import { ArtifactList, ExecutionAnswer } from '../../proto/hubapi/replication.ts';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { parseReference, parseRepository } from '../../proto/oci/name.ts';
import { TestHub } from '../registry/test-hub.ts';
import { startDockerRegistry } from '../rig/docker-registry.ts';
import { until } from '../rig/until.ts';

const DONE_TIMEOUT_MS = 60_000;
const BLOB = 'application/octet-stream';

export type Pushed = { digest: Digest; bytes: Buffer };

/** Any registry, as a client that pushes and pulls sees it. */
export class Pusher implements AsyncDisposable {
  readonly client: RegistryClient;
  readonly url: string;

  constructor(url: string, credentials?: { username: string; password: string }) {
    this.url = url;
    this.client = new RegistryClient({ baseUrl: url, allowPlainHttp: true, credentials });
  }

  async blob(repository: string, bytes: Buffer): Promise<object> {
    const digest = digestOf(bytes);
    const { length: size } = bytes;
    const source = async function* (): AsyncIterable<Buffer> {
      yield bytes;
    };
    await this.client.pushBlob(parseRepository(repository), digest, size, source);
    return { mediaType: BLOB, digest, size };
  }

  /** An image of these layers; `more` are members of its manifest. */
  async image(
    repository: string,
    reference: string | undefined,
    layers: readonly Buffer[],
    more: object = {},
    config: object = {},
  ): Promise<Pushed> {
    const own = await this.blob(repository, Buffer.from(JSON.stringify(config)));
    const parts = [];
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    for (const layer of layers) parts.push(await this.blob(repository, layer));
    const mediaType = OCI_MANIFEST;
    const type = { mediaType: 'application/vnd.oci.image.config.v1+json' };
    const manifest = { schemaVersion: 2, mediaType, config: { ...own, ...type }, layers: parts };
    return this.manifest(repository, reference, { ...manifest, ...more }, mediaType);
  }

  async index(repository: string, tag: string, children: readonly object[]): Promise<Pushed> {
    const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: children };
    return this.manifest(repository, tag, index, OCI_INDEX);
  }

  async manifest(
    repository: string,
    reference: string | undefined,
    manifest: object,
    mediaType: string,
  ): Promise<Pushed> {
    const bytes = Buffer.from(JSON.stringify(manifest));
    const digest = digestOf(bytes);
    const as = parseReference(reference ?? digest);
    await this.client.pushManifest(parseRepository(repository), as, bytes, mediaType);
    return { digest, bytes };
  }

  async tagged(repository: string, reference: string): Promise<Digest | undefined> {
    const as = parseReference(reference);
    return (await this.client.getManifest(parseRepository(repository), as))?.digest;
  }

  async hasBlob(repository: string, digest: Digest): Promise<boolean> {
    return (await this.client.headBlob(parseRepository(repository), digest)) !== undefined;
  }

  /** Digests of what the registry, or a tag of it, says refers to a manifest. */
  async referrers(repository: string, subject: Digest): Promise<Digest[]> {
    const found = await this.client.referrers(parseRepository(repository), subject);
    return (found ?? []).map(({ digest }) => digest);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.client.close();
  }
}

export type Rig = {
  hub: TestHub;
  /** The hub as a client that pushes and pulls sees it. */
  here: Pusher;
  there: Pusher;
  rule: (name: string, settings: object, enabled?: boolean) => Promise<void>;
  /** Runs a rule to its end. */
  run: (name: string) => Promise<Ended>;
  ended: (execution: string) => Promise<Ended>;
};
export type Ended = ExecutionAnswer & { artifacts: ArtifactList['artifacts'] };

/** A hub that knows the other registry as `other`. */
export async function replicationRig(
  t: TestContext,
  options: { url?: string; registry?: object } = {},
): Promise<Rig> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-replication-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const other = options.url === undefined ? await startDockerRegistry(folder) : undefined;
  if (other) t.after(() => other[Symbol.asyncDispose]());
  const url = options.url ?? other?.url ?? '';
  const registries = [{ name: 'other', url, ...options.registry }];
  const hub = await TestHub.start({ replication: { registries } });
  t.after(() => hub[Symbol.asyncDispose]());
  const credentials = { username: 'admin', password: 'a test password' };
  const [here, there] = [new Pusher(hub.url, credentials), new Pusher(url)];
  t.after(() => Promise.all([here[Symbol.asyncDispose](), there[Symbol.asyncDispose]()]));
  const ended = (execution: string): Promise<Ended> => endOf(hub, execution);
  return {
    hub,
    here,
    there,
    ended,
    rule: async (name, settings, enabled = true) => {
      const body = { name, enabled, settings: { registry: 'other', ...settings } };
      const answer = await hub.api('POST', '/replication/rules', body);
      assert.equal(answer.status, 201, answer.body.toString());
    },
    run: async (name) => {
      const answer = await hub.api('POST', `/replication/rules/${name}/executions`);
      assert.equal(answer.status, 202, answer.body.toString());
      return ended(String(answer.json['id']));
    },
  };
}

async function endOf(hub: TestHub, execution: string): Promise<Ended> {
  const target = `/replication/executions/${execution}`;
  const answer = await until('the execution ended', DONE_TIMEOUT_MS, async () => {
    const { json } = await hub.api('GET', target);
    return json['ended'] === null && json['attempt'] === 0 ? undefined : json;
  });
  const { json } = await hub.api('GET', `${target}/artifacts`);
  return { ...checkBody(ExecutionAnswer, answer), ...checkBody(ArtifactList, json) };
}

/** What became of each artifact. */
export function statesOf({ artifacts }: Ended): string[] {
  return artifacts.map((one) => `${one.repository}:${one.reference} ${one.state}`);
}

export function someBytes(size: number): Buffer {
  return randomBytes(size);
}
