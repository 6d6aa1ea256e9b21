// What a hub was asked to do, and what of it it acknowledged.
import { digestOf, type Digest } from '../../proto/oci/digest.ts';

export type Image = {
  repository: string;
  digest: Digest;
  /** Number of the client that pushed it. */
  by: number;
  bytes: Buffer;
  blobs: readonly Digest[];
  /** `sent` and `deleting` were not answered: they may be done or not. */
  state: 'sent' | 'stored' | 'deleting' | 'deleted';
};

/** A blob in a repository; without `storedMs` it was not answered. */
export type SentBlob = { repository: string; digest: Digest; storedMs?: number };

/** What a tag may name; more than one thing while a request is not answered. */
export type Tag = { repository: string; name: string; may: Set<Digest | undefined> };

export class Ledger {
  readonly bytes = new Map<Digest, Buffer>();
  readonly blobs = new Map<string, SentBlob>();
  readonly images = new Map<string, Image>();
  readonly tags = new Map<string, Tag>();
  /** Paths of uploads that were begun and not ended. */
  readonly uploads = new Set<string>();
  /** Requests that were acknowledged. */
  readonly acknowledged = { blobs: 0, mounts: 0, manifests: 0, deletes: 0 };

  sendBlob(repository: string, bytes: Buffer): SentBlob {
    const digest = digestOf(bytes);
    this.bytes.set(digest, bytes);
    const key = `${repository}@${digest}`;
    const blob = this.blobs.get(key) ?? { repository, digest };
    this.blobs.set(key, blob);
    return blob;
  }

  sendImage(image: Omit<Image, 'state' | 'digest'>, tagName: string): { image: Image; tag: Tag } {
    const { repository } = image;
    const digest = digestOf(image.bytes);
    const sent: Image = { ...image, digest, state: 'sent' };
    this.images.set(`${repository}@${digest}`, sent);
    const tag = this.tag(repository, tagName);
    tag.may.add(digest);
    return { image: sent, tag };
  }

  tag(repository: string, name: string): Tag {
    const key = `${repository}:${name}`;
    const tag = this.tags.get(key) ?? { repository, name, may: new Set([undefined]) };
    this.tags.set(key, tag);
    return tag;
  }

  /** Tags of a repository that may name this. */
  tagsOf({ repository, digest }: Image): Tag[] {
    return [...this.tags.values()].filter(
      (tag) => tag.repository === repository && tag.may.has(digest),
    );
  }

  /** Forgets what no image names and nothing is promised of. */
  tidy(): void {
    const used = new Set<Digest>();
    for (const [key, image] of this.images) {
      if (image.state === 'deleted') this.images.delete(key);
      else for (const digest of image.blobs) used.add(digest);
    }
    for (const { digest } of this.blobs.values()) used.add(digest);
    for (const digest of this.bytes.keys()) if (!used.has(digest)) this.bytes.delete(digest);
  }
}
