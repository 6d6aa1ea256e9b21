import { Type, type Static } from 'typebox';
import { checkBody } from '../../proto/hubapi/body.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { MANIFEST_MAX_BYTES } from '../../proto/oci/manifest.ts';
import { isManifestMediaType } from '../../proto/oci/media-types.ts';
import { parseRepository, parseTag } from '../../proto/oci/name.ts';
import { parseStrictJson } from '../../proto/std/strict-json.ts';
import {
  BUNDLE_CHAIN_MAX,
  BUNDLE_ENTRIES_MAX,
  BUNDLE_IMAGES_MAX,
  BUNDLE_LIST_MAX_BYTES,
} from './constants.ts';
import { BundleError, damaged } from './errors.ts';
import { blobPath, INDEX_PATH, LAYOUT_PATH } from './layout.ts';

/** Version of what a bundle looks like; others are not read. */
export const BUNDLE_FORMAT = 1;

/** Values of a list of the largest size. */
const VALUES_MAX = BUNDLE_LIST_MAX_BYTES;
const CLOSED = { additionalProperties: false };
const Name = Type.String({ minLength: 1, maxLength: 255 });
const Id = Type.String({ pattern: '^[0-9a-f]{32}$' });
const Time = Type.String({ maxLength: 40 });
const Size = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const DigestText = Type.Unsafe<Digest>(
  Type.String({ pattern: '^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$' }),
);

/** What `bundle.json` says: all that is in the bundle, with digest and size in bytes. */
export const BundleList = Type.Object(
  {
    kind: Type.Literal('flotilla-bundle'),
    format: Type.Literal(BUNDLE_FORMAT),
    id: Id,
    /** RFC 3339: when the tags were looked up. */
    time: Time,
    build: Type.String({ maxLength: 255 }),
    fleetId: Name,
    /** Host of the hub in image names. */
    host: Name,
    /** What was asked for; the same once more goes on with what was broken off. */
    request: Type.Object(
      {
        images: Type.Array(Type.String({ maxLength: 1024 }), { maxItems: BUNDLE_IMAGES_MAX }),
        platforms: Type.Array(Name, { maxItems: 64 }),
      },
      CLOSED,
    ),
    /** Earlier bundles that are needed beside this one, the latest first. */
    since: Type.Array(Type.Object({ id: Id, time: Time, digest: DigestText }, CLOSED), {
      maxItems: BUNDLE_CHAIN_MAX,
    }),
    files: Type.Array(
      Type.Object(
        {
          path: Type.Union([Type.Literal(LAYOUT_PATH), Type.Literal(INDEX_PATH)]),
          digest: DigestText,
          size: Size,
        },
        CLOSED,
      ),
      { minItems: 2, maxItems: 2 },
    ),
    /** Names to be set, when all that they name is there. */
    images: Type.Array(
      Type.Object({ repository: Name, tag: Type.Optional(Name), digest: DigestText }, CLOSED),
      { maxItems: BUNDLE_ENTRIES_MAX },
    ),
    /** Manifests without a name that are about another one, such as signatures. */
    referrers: Type.Array(Type.Object({ repository: Name, digest: DigestText }, CLOSED), {
      maxItems: BUNDLE_ENTRIES_MAX,
    }),
    /** In the order in which they are pushed. */
    manifests: Type.Array(
      Type.Object({ repository: Name, digest: DigestText, size: Size, mediaType: Name }, CLOSED),
      { maxItems: BUNDLE_ENTRIES_MAX },
    ),
    blobs: Type.Array(
      Type.Object(
        {
          digest: DigestText,
          size: Size,
          /** Those whose manifests name it. */
          repositories: Type.Array(Name, { minItems: 1, maxItems: BUNDLE_ENTRIES_MAX }),
          /** The earlier bundle that has its bytes, and a repository that has it there. */
          in: Type.Optional(Type.Object({ id: Id, repository: Name }, CLOSED)),
        },
        CLOSED,
      ),
      { maxItems: BUNDLE_ENTRIES_MAX },
    ),
  },
  CLOSED,
);
export type BundleList = Static<typeof BundleList>;
export type BundleBlob = BundleList['blobs'][number];

/** A file of a bundle beside its list and signature. */
export type BundleEntry = { path: string; digest: Digest; size: number };

/** The bytes of the list. @throws BundleError BUNDLE_TOO_LARGE */
export function formatList(list: BundleList): Buffer {
  const bytes = Buffer.from(`${JSON.stringify(list, undefined, 1)}\n`);
  if (bytes.length <= BUNDLE_LIST_MAX_BYTES) return bytes;
  const what = `its list has ${bytes.length} bytes, at most ${BUNDLE_LIST_MAX_BYTES}`;
  const message = `this would be too large for one bundle: ${what}; export fewer images at a time`;
  throw new BundleError(message, { code: 'BUNDLE_TOO_LARGE', what });
}

/** Reads a list. @throws BundleError BUNDLE_FORMAT for another version, BUNDLE_DAMAGED */
export function parseList(bytes: Uint8Array): BundleList {
  let value: unknown;
  try {
    value = parseStrictJson(bytes, { valuesMax: VALUES_MAX });
  } catch (cause) {
    throw damaged('bundle.json is no JSON', cause);
  }
  if (!isObject(value) || value['kind'] !== 'flotilla-bundle') {
    throw damaged('bundle.json describes no bundle');
  }
  const { format } = value;
  if (format !== BUNDLE_FORMAT) {
    throw new BundleError(
      `the bundle has format ${String(format)}, this program reads ${BUNDLE_FORMAT}; ` +
        'use the program that wrote it or a newer one',
      { code: 'BUNDLE_FORMAT', found: format },
    );
  }
  try {
    const list = checkBody(BundleList, value);
    checkMeaning(list);
    return list;
  } catch (cause) {
    throw damaged('bundle.json says what cannot be', cause);
  }
}

/** Every file that the bundle itself has, in the order in which they are written. */
export function entriesOf({ files, manifests, blobs }: BundleList): BundleEntry[] {
  const found = new Map<string, BundleEntry>();
  for (const { path, digest, size } of files) found.set(path, { path, digest, size });
  for (const { digest, size } of [...manifests, ...blobs.filter((blob) => !blob.in)]) {
    const path = blobPath(digest);
    if (!found.has(path)) found.set(path, { path, digest, size });
  }
  return [...found.values()];
}

function checkMeaning(list: BundleList): void {
  const { images, manifests, blobs, since, files, id } = list;
  if (!(Date.parse(list.time) >= 0)) refuse('it is of no moment');
  if (new Set(files.map(({ path }) => path)).size !== files.length) refuse('a file twice');
  const chain = new Set(since.map((earlier) => earlier.id));
  if (chain.size !== since.length || chain.has(id)) refuse('an earlier bundle twice');
  const known = new Set<string>();
  const sizes = new Map<Digest, number>();
  for (const { repository, digest, size, mediaType } of manifests) {
    parseRepository(repository);
    if (size > MANIFEST_MAX_BYTES) refuse(`${digest} is too large for a manifest`);
    if (!isManifestMediaType(mediaType)) refuse(`${digest} is no manifest`);
    if ((sizes.get(digest) ?? size) !== size) refuse(`${digest} has two sizes`);
    sizes.set(digest, size);
    if (known.has(`${repository} ${digest}`)) refuse(`${digest} is listed twice`);
    known.add(`${repository} ${digest}`);
  }
  for (const { tag } of images) if (tag !== undefined) parseTag(tag);
  for (const { repository, digest } of [...images, ...list.referrers]) {
    if (!known.has(`${repository} ${digest}`)) refuse(`${digest} is not listed`);
  }
  const listed = new Set<Digest>();
  for (const { digest, size, repositories, in: from } of blobs) {
    repositories.forEach(parseRepository);
    if (listed.has(digest)) refuse(`${digest} is listed twice`);
    listed.add(digest);
    if ((sizes.get(digest) ?? size) !== size) refuse(`${digest} has two sizes`);
    if (from !== undefined) parseRepository(from.repository);
    if (from !== undefined && !chain.has(from.id)) refuse(`${digest} is in an unknown bundle`);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function refuse(what: string): never {
  throw new TypeError(what);
}
