import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { parseManifest } from '../../proto/oci/manifest.ts';
import { blobOf, type Blob } from './content.ts';
import { buildImage, type AddedImage, type ImagePlan, type StoredManifest } from './images.ts';

type Repository = {
  manifests: Map<string, StoredManifest>;
  tags: Map<string, Digest>;
  blobs: Set<string>;
  /** Who may pull it; undefined: everybody. */
  owner: string | undefined;
};

/** What the registry has. */
export class Shelf {
  readonly repositories = new Map<string, Repository>();
  /** Of all repositories, by digest. */
  readonly blobs = new Map<string, Blob>();

  mayPull(account: string | undefined, name: string): boolean {
    const repository = this.repositories.get(name);
    if (repository === undefined) return false;
    return repository.owner === undefined || repository.owner === account;
  }

  addImage(plan: ImagePlan): AddedImage {
    const { added, blobs, manifests } = buildImage(plan);
    const repository = this.#repository(plan.repository);
    for (const blob of blobs) this.#keep(repository, blob);
    for (const manifest of manifests) repository.manifests.set(manifest.digest, manifest);
    for (const tag of plan.tags ?? []) repository.tags.set(tag, added.digest);
    return added;
  }

  /** A small blob, such as a config. */
  addBlob(name: string, bytes: Buffer): Digest {
    const blob = blobOf(bytes);
    this.#keep(this.#repository(name), blob);
    return blob.digest;
  }

  /** A manifest as it is, such as a signature that refers to an image. */
  addManifest(name: string, bytes: Buffer, mediaType: string, tags: readonly string[]): Digest {
    const digest = digestOf(bytes);
    const repository = this.#repository(name);
    repository.manifests.set(digest, { bytes, digest, mediaType });
    for (const tag of tags) repository.tags.set(tag, digest);
    return digest;
  }

  /** Lets a tag name something else, or nothing any more. */
  tag(name: string, tag: string, digest: Digest | undefined): void {
    const { tags } = this.#repository(name);
    if (digest === undefined) tags.delete(tag);
    else tags.set(tag, digest);
  }

  /** Makes a repository one that only this account may pull; undefined: one for everybody. */
  own(name: string, account: string | undefined): void {
    this.#repository(name).owner = account;
  }

  manifest(name: string, reference: string): StoredManifest | undefined {
    const repository = this.repositories.get(name);
    return repository?.manifests.get(repository.tags.get(reference) ?? reference);
  }

  /** Descriptors of what refers to a manifest. */
  referrers(name: string, subject: string): object[] {
    const stored = [...(this.repositories.get(name)?.manifests.values() ?? [])];
    return stored.flatMap(({ bytes, digest, mediaType }) => {
      const parsed = parseManifest(bytes, mediaType);
      if (parsed.subject?.digest !== subject) return [];
      const artifactType = parsed.artifactType ?? parsed.config?.mediaType;
      return [{ mediaType, digest, size: bytes.length, artifactType }];
    });
  }

  #keep(repository: Repository, blob: Blob): void {
    repository.blobs.add(blob.digest);
    this.blobs.set(blob.digest, blob);
  }

  #repository(name: string): Repository {
    const found = this.repositories.get(name);
    if (found !== undefined) return found;
    const made: Repository = {
      manifests: new Map(),
      tags: new Map(),
      blobs: new Set(),
      owner: undefined,
    };
    this.repositories.set(name, made);
    return made;
  }
}
