import type { Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import { sleep } from '../../proto/std/abort.ts';
import { hasCode } from '../../proto/std/errors.ts';
import type { BlobReader } from '../blobs/port.ts';
import type { Catalog } from '../catalog/port.ts';
import { LEAVING_STEP_MS, LEAVING_WAIT_MS } from './constants.ts';
import type { FinishedUpload } from './upload-session.ts';

type Modules = {
  blobs: Pick<BlobReader, 'stat'>;
  catalog: Pick<Catalog, 'pinBlob' | 'addBlob'>;
  signal: AbortSignal;
};

/**
 * Stores a blob and records it, with the end of its upload if that has an `id`. Bytes of the same
 * digest may be on their way out meanwhile: they are waited for before, and looked at after, so
 * that what is recorded is there.
 * @throws OciError UNAVAILABLE; CatalogError PURGED, BLOB_LEAVING; whatever `commit` throws
 */
export async function keepBlob(
  { repository, digest, id }: { repository: string; digest: Digest; id?: string | undefined },
  commit: () => Promise<FinishedUpload>,
  modules: Modules,
): Promise<void> {
  const { blobs, catalog } = modules;
  await pinBlob(digest, modules);
  const blob = await commit();
  await catalog.addBlob(blob, repository, id === undefined ? undefined : { id });
  if ((await blobs.stat(digest))?.size === blob.size) return;
  throw ociError('UNAVAILABLE', `${digest} was removed while it was sent; send it again`);
}

async function pinBlob(
  digest: Digest,
  { catalog, signal }: Pick<Modules, 'catalog' | 'signal'>,
): Promise<void> {
  const startedMs = performance.now();
  for (;;) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- looks again until they are gone
      await catalog.pinBlob(digest);
      return;
    } catch (err) {
      const waitedMs = performance.now() - startedMs;
      if (!hasCode(err, 'BLOB_LEAVING') || waitedMs > LEAVING_WAIT_MS) throw err;
      // oxlint-disable-next-line no-await-in-loop -- the pause comes before the next look
      await sleep(LEAVING_STEP_MS, { signal });
    }
  }
}
