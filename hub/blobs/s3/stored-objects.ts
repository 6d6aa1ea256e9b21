import type { Digest } from '../../../proto/oci/digest.ts';
import type { FileLister, StoredFile } from '../stored-files.ts';
import { ObjectClient, type S3Place } from './client.ts';
import { COPY_MAX_BYTES } from './constants.ts';
import type { ObjectDirectory, ObjectIndex } from './object-index.ts';

type Modules = { index: ObjectIndex & ObjectDirectory };
type Options = S3Place & { prefix: string };

/** The part of a bucket that a hub keeps its objects in, and what the index says of them. */
export class StoredObjects implements FileLister, Disposable {
  readonly #prefix: string;
  readonly #client: ObjectClient;
  readonly #index: Modules['index'];

  private constructor({ prefix }: Options, client: ObjectClient, { index }: Modules) {
    this.#prefix = prefix;
    this.#client = client;
    this.#index = index;
  }

  /** Loads the driver. */
  static async open(options: Options, modules: Modules): Promise<StoredObjects> {
    return new StoredObjects(options, await ObjectClient.open(options), modules);
  }

  /** All objects, then what was begun and not ended; no more than one page is in memory. */
  async *list(): AsyncGenerator<StoredFile> {
    for (const kind of KINDS) {
      for await (const page of this.#client.list(`${this.#prefix}${kind}/`)) {
        const keys = page.map(({ key }) => key);
        const owners = await this.#index.owners(keys);
        const loose = await this.#index.looseOf(keys);
        for (const { key, size, changedMs } of page) {
          const [digest, pending] = [owners.get(key), loose.get(key)];
          if (digest !== undefined) yield { path: key, size, digest };
          else if (pending === undefined) yield { path: key, size };
          else yield { path: key, size, pending, changedMs };
        }
      }
      for await (const page of this.#client.uploads(`${this.#prefix}${kind}/`)) {
        const loose = await this.#index.looseOf(page.map(({ key }) => key));
        for (const { key, changedMs } of page) {
          yield { path: key, size: 0, pending: loose.get(key) ?? '', changedMs };
        }
      }
    }
  }

  async sizeOf(digest: Digest): Promise<number | undefined> {
    const found = await this.#index.find(digest);
    return found && this.#client.size(found.key);
  }

  async remove({ path: key, digest }: StoredFile): Promise<void> {
    if (digest !== undefined) await this.#index.remove({ digest, key }, Date.now());
    await this.#client.remove(key);
    await this.#index.forget([key]);
  }

  async setAside(file: StoredFile): Promise<string> {
    const { path: key, size } = file;
    if (size > COPY_MAX_BYTES) {
      await this.remove(file);
      return 'nowhere, for it is too large';
    }
    const place = `${this.#prefix}damaged/${key.slice(key.lastIndexOf('/') + 1)}`;
    await this.#client.copy(key, place);
    await this.remove(file);
    return place;
  }

  async forget(digest: Digest): Promise<void> {
    const found = await this.#index.find(digest);
    if (found === undefined) return;
    await this.#index.remove({ digest, key: found.key }, Date.now());
    await this.#index.forget([found.key]);
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

/** What the keys of a hub's objects begin with. */
const KINDS = ['blobs', 'tails'] as const;
