import { createHash } from 'node:crypto';
import { Agent } from 'undici';
import { digestOf } from '../../proto/oci/digest.ts';
import { parseManifest } from '../../proto/oci/manifest.ts';
import { readBody } from './http-body.ts';

/** What one client saw of one pull. `bytes` counts the manifest and every blob. */
export type PullResult = { bytes: number; seconds: number };

/** containerd's `max_concurrent_downloads`. */
const LAYERS_AT_ONCE = 3;
const ATTEMPTS_WITHOUT_PROGRESS_MAX = 3;
const PULL_TIMEOUT_MS = 60 * 60_000;

/**
 * Pulls `repository:tag` through a mirror in containerd's order (HEAD by tag, manifest by digest,
 * config, then layers three at a time; a broken body is resumed by Range) and checks the SHA-256
 * of everything it got.
 *
 * @throws Error when a byte is wrong or the mirror refuses a part of the image; the reason of the
 * signal
 */
export async function pullImage(
  target: { mirror: string; repository: string; tag: string; namespace: string },
  options: { onBytes: (count: number) => void; signal: AbortSignal },
): Promise<PullResult> {
  const { onBytes } = options;
  const started = performance.now();
  const dispatcher = new Agent({ connections: 16, bodyTimeout: 60_000 });
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(PULL_TIMEOUT_MS)]);
  const url = (path: string): string =>
    `${target.mirror}/v2/${target.repository}/${path}?ns=${target.namespace}`;
  try {
    const head = await dispatcher.request({
      ...where(url(`manifests/${target.tag}`)),
      method: 'HEAD',
      signal,
    });
    await head.body.dump();
    const digest = String(head.headers['docker-content-digest']);
    if (head.statusCode !== 200) throw new Error(`HEAD ${target.tag} answered ${head.statusCode}`);
    const got = await dispatcher.request({
      ...where(url(`manifests/${digest}`)),
      method: 'GET',
      signal,
    });
    const bytes = Buffer.from(await got.body.arrayBuffer());
    if (got.statusCode !== 200 || digestOf(bytes) !== digest) {
      throw new Error(`GET manifest ${digest} answered ${got.statusCode} with other bytes`);
    }
    onBytes(bytes.length);
    const manifest = parseManifest(bytes);
    const queue = [...(manifest.config ? [manifest.config] : []), ...manifest.layers];
    let total = bytes.length;
    const worker = async (): Promise<void> => {
      for (let next = queue.shift(); next; next = queue.shift()) {
        await pullBlob(url(`blobs/${next.digest}`), next, signal, onBytes);
        total += next.size;
      }
    };
    await Promise.all(Array.from({ length: LAYERS_AT_ONCE }, worker));
    return { bytes: total, seconds: (performance.now() - started) / 1000 };
  } finally {
    await dispatcher.destroy();
  }
}

async function pullBlob(
  url: string,
  blob: { digest: string; size: number },
  signal: AbortSignal,
  onBytes: (count: number) => void,
): Promise<void> {
  const hash = createHash('sha256');
  const got = { bytes: 0 };
  let stuck = 0;
  while (got.bytes < blob.size || got.bytes === 0) {
    const before = got.bytes;
    try {
      const take = (part: Buffer): void => {
        hash.update(part);
        got.bytes += part.length;
        onBytes(part.length);
      };
      // oxlint-disable-next-line no-await-in-loop -- one try after the other
      await readBody({ ...where(url), offset: got.bytes }, take, signal);
      if (blob.size === 0) break;
    } catch (err) {
      stuck = got.bytes > before ? 0 : stuck + 1;
      if (signal.aborted || stuck >= ATTEMPTS_WITHOUT_PROGRESS_MAX) {
        throw new Error(`GET ${url} stopped at byte ${got.bytes} of ${blob.size}`, { cause: err });
      }
    }
  }
  const digest = `sha256:${hash.digest('hex')}`;
  if (digest !== blob.digest || got.bytes !== blob.size) {
    throw new Error(`GET ${url} gave ${got.bytes} bytes with digest ${digest}`);
  }
}

function where(url: string): { origin: string; path: string } {
  const parsed = new URL(url);
  return { origin: parsed.origin, path: parsed.pathname + parsed.search };
}
