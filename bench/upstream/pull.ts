import { createHash } from 'node:crypto';
import { Agent, request, type Dispatcher } from 'undici';
import { parseChallenges } from '../../proto/distribution/challenge.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import type { Pull } from './figures.ts';

const CHUNK_BYTES = 1024 ** 2;
const REDIRECTS = [301, 302, 303, 307, 308];

/** An image of one manifest, config and layer, and where it is pulled from. */
export type PullTask = {
  /** Of the agent, or of the upstream itself. */
  url: string;
  /** What names the upstream to an agent. */
  namespace: string | undefined;
  /** PEM, to believe the upstream. */
  ca: string | undefined;
  repository: string;
  tag: string;
};

/** Reads bodies on connections of its own, as a runtime does that begins a pull. */
class Client {
  readonly #task: PullTask;
  readonly #dispatcher: Agent;
  #authorization: string | undefined;

  constructor(task: PullTask) {
    this.#task = task;
    const { ca } = task;
    this.#dispatcher = new Agent({ connect: ca === undefined ? {} : { ca } });
  }

  /** @throws Error when it is not 200 in the end */
  async open(path: string, method: 'GET' | 'HEAD' = 'GET'): Promise<Dispatcher.ResponseData> {
    const { url, namespace } = this.#task;
    const query = namespace === undefined ? '' : `?ns=${namespace}`;
    const address = `${url}/v2/${this.#task.repository}/${path}${query}`;
    let answer = await this.#send(address, method, true);
    if (answer.statusCode === 401) {
      await answer.body.dump();
      this.#authorization = await this.#token(answer);
      answer = await this.#send(address, method, true);
    }
    if (REDIRECTS.includes(answer.statusCode)) {
      await answer.body.dump();
      answer = await this.#send(String(answer.headers['location']), method, false);
    }
    if (answer.statusCode === 200) return answer;
    const text = (await answer.body.text()).slice(0, 500);
    throw new Error(`${method} of ${path} was answered ${answer.statusCode}: ${text}`);
  }

  async close(): Promise<void> {
    await this.#dispatcher.close();
  }

  async #send(url: string, method: 'GET' | 'HEAD', own: boolean): Promise<Dispatcher.ResponseData> {
    const authorization = own ? this.#authorization : undefined;
    const headers: Record<string, string> = { accept: `${OCI_INDEX}, ${OCI_MANIFEST}` };
    if (authorization !== undefined) headers['authorization'] = authorization;
    return await request(url, { method, headers, dispatcher: this.#dispatcher });
  }

  async #token({ headers }: Dispatcher.ResponseData): Promise<string> {
    const [challenge] = parseChallenges(String(headers['www-authenticate']));
    const {
      realm = '',
      service = '',
      scope = '',
    } = Object.fromEntries(challenge?.parameters ?? []);
    const query = new URLSearchParams({ service, scope });
    const answer = await this.#send(`${realm}?${query.toString()}`, 'GET', false);
    const { token }: { token?: string } = JSON.parse(await answer.body.text());
    return `Bearer ${token}`;
  }
}

/**
 * Pulls an image as a runtime does: the tag by HEAD, then manifest, config and layer, each checked
 * against its digest.
 */
export async function pullOnce(task: PullTask): Promise<Pull> {
  const client = new Client(task);
  const started = performance.now();
  try {
    const head = await client.open(`manifests/${task.tag}`, 'HEAD');
    await head.body.dump();
    const digest = String(head.headers['docker-content-digest']);
    const manifest = await (await client.open(`manifests/${digest}`)).body.bytes();
    check(digest, createHash('sha256').update(manifest));
    const { config, layers }: Manifest = JSON.parse(Buffer.from(manifest).toString());
    const [layer] = layers;
    if (layer === undefined) throw new Error('the image has no layer');
    check(config.digest, createHash('sha256').update(await bytesOf(client, config.digest)));
    const times = await readLayer(client, layer.digest);
    return { totalMs: performance.now() - started, ...times };
  } finally {
    await client.close();
  }
}

type Manifest = { config: { digest: string }; layers: { digest: string }[] };

async function bytesOf(client: Client, digest: string): Promise<Uint8Array> {
  return await (await client.open(`blobs/${digest}`)).body.bytes();
}

async function readLayer(
  client: Client,
  digest: string,
): Promise<Pick<Pull, 'firstByteMs' | 'firstChunkMs'>> {
  const asked = performance.now();
  const { body } = await client.open(`blobs/${digest}`);
  const hash = createHash('sha256');
  let bytes = 0;
  let firstByteMs = Number.NaN;
  let firstChunkMs = Number.NaN;
  for await (const part of body) {
    const sinceMs = performance.now() - asked;
    if (bytes === 0) firstByteMs = sinceMs;
    bytes += Buffer.from(part).length;
    if (bytes >= CHUNK_BYTES && Number.isNaN(firstChunkMs)) firstChunkMs = sinceMs;
    hash.update(part);
  }
  check(digest, hash);
  return { firstByteMs, firstChunkMs };
}

function check(digest: string, hash: ReturnType<typeof createHash>): void {
  const found = `sha256:${hash.digest('hex')}`;
  if (found !== digest) throw new Error(`${digest} came as ${found}`);
}
