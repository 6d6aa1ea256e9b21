import { isDeepStrictEqual } from 'node:util';
import { parseChallenges, type Challenge } from '../../proto/distribution/challenge.ts';
import {
  digestAlgorithm,
  digestBytes,
  digestFromBytes,
  digestOf,
  isDigest,
  parseDigest,
} from '../../proto/oci/digest.ts';
import { DESCRIPTORS_MAX, parseManifest } from '../../proto/oci/manifest.ts';
import { MANIFEST_ACCEPT, OCI_ARTIFACT, OCI_INDEX } from '../../proto/oci/media-types.ts';
import {
  parseImageReference,
  parseReference,
  parseRepository,
  referenceText,
} from '../../proto/oci/name.ts';
import {
  formatContentRange,
  parseContentRange,
  parseRange,
  parseUploadRange,
} from '../../proto/oci/ranges.ts';
import { parseRegistryRoute, type RegistryRoute } from '../../proto/oci/routes.ts';
import { parseStrictJson } from '../../proto/std/strict-json.ts';
import type { Fuzzer } from './campaign.ts';

const digest = digestOf(Buffer.from('blob'));
const long = digestOf(Buffer.from('blob'), 'sha512');
const descriptor = { mediaType: 'application/octet-stream', digest, size: 7 };
const image = {
  schemaVersion: 2,
  mediaType: MANIFEST_ACCEPT[1],
  config: descriptor,
  layers: [{ ...descriptor, urls: ['https://a.example'], annotations: { a: 'b' } }, descriptor],
  subject: descriptor,
  annotations: { 'org.example.a': 'ä\u0000"' },
};
const platform = { os: 'linux', architecture: 'arm64', variant: 'v8', 'os.version': '1' };
const index = {
  schemaVersion: 2,
  mediaType: OCI_INDEX,
  manifests: [{ ...descriptor, platform, artifactType: 'a/b' }],
};
const artifact = { mediaType: OCI_ARTIFACT, artifactType: 'a/b', blobs: [descriptor] };

/** What a parser that returns nothing, rather than throwing, did with the input. */
class NotRead extends Error {
  readonly code = 'NOT_READ';
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

function mustRefuse(run: () => void, what: string): void {
  let refused = false;
  try {
    run();
  } catch {
    refused = true;
  }
  check(refused, what);
}

/** A parser of text; `run` gets the input as a client would send it. */
function text(
  name: string,
  corpus: readonly string[],
  refusals: string[],
  run: (input: string) => void,
): Fuzzer {
  return {
    name,
    corpus: corpus.map((one) => Buffer.from(one)),
    refusals,
    run: (input) => run(input.toString('utf8')),
  };
}

const NAMES = ['NAME_INVALID', 'TAG_INVALID', 'DIGEST_INVALID'];

function runImageReference(input: string): void {
  const { host, repository, tag, digest: pinned } = parseImageReference(input);
  const tail = `${tag === undefined ? '' : `:${tag}`}${pinned === undefined ? '' : `@${pinned}`}`;
  const full = `${host}/${repository}${tail}`;
  check(isDeepStrictEqual(parseImageReference(full), parseImageReference(input)), full);
  check(URL.canParse(`https://${host}/`), 'a host that is none');
  check(new URL(`https://${host}/`).pathname === '/', 'a host with more behind it');
}

/** The input is `<size> <header>`. */
function runRange(input: string): void {
  const [first = '', ...rest] = input.split(' ');
  const size = Number.parseInt(first, 10);
  if (!Number.isSafeInteger(size) || size < 0) throw new NotRead();
  const range = parseRange(rest.join(' '), size);
  if (range.kind !== 'part') throw new NotRead();
  const { start, end } = range;
  check(start >= 0 && start < end && end <= size, 'a part beyond the content');
  const header = formatContentRange(start, end, size);
  check(isDeepStrictEqual(parseContentRange(header), { start, end, size }), header);
}

function runContentRange(input: string): void {
  const whole = parseContentRange(input);
  const upload = parseUploadRange(input);
  const range = whole ?? upload;
  if (range === undefined) throw new NotRead();
  const { start, end } = range;
  check(Number.isSafeInteger(start) && Number.isSafeInteger(end), 'an inexact number');
  check(start >= 0 && start < end && end <= (whole?.size ?? end), 'a range that cannot be');
  check(isDeepStrictEqual(parseUploadRange(`${start}-${end - 1}`), { start, end }), 'round trip');
}

function pathOf(route: RegistryRoute): string {
  if (route.kind === 'base') return '/v2/';
  if (route.kind === 'catalog') return '/v2/_catalog';
  const prefix = `/v2/${route.repository}`;
  switch (route.kind) {
    case 'tags':
      return `${prefix}/tags/list`;
    case 'manifest':
      return `${prefix}/manifests/${referenceText(route.reference)}`;
    case 'blob':
      return `${prefix}/blobs/${route.digest}`;
    case 'upload-start':
      return `${prefix}/blobs/uploads/`;
    case 'upload':
      return `${prefix}/blobs/uploads/${route.session}`;
    case 'referrers':
      return `${prefix}/referrers/${route.digest}`;
    case 'chunk-statement':
      return `${prefix}/_flotilla/chunks/statement/${route.digest}`;
    default:
      return `${prefix}/_flotilla/chunks/hashes/${route.digest}`;
  }
}

const ROUTES: readonly RegistryRoute[] = [
  { kind: 'base' },
  { kind: 'catalog' },
  ...['a', 'library/a-b', 'blobs/uploads', 'a/manifests/b__c.d'].flatMap((name) => {
    const repository = parseRepository(name);
    return [
      { kind: 'tags', repository },
      { kind: 'manifest', repository, reference: parseReference('v1.0_x') },
      { kind: 'manifest', repository, reference: parseReference(digest) },
      { kind: 'blob', repository, digest: long },
      { kind: 'upload-start', repository },
      { kind: 'upload', repository, session: 'Ab-_9' },
      { kind: 'referrers', repository, digest },
      { kind: 'chunk-statement', repository, digest },
      { kind: 'chunk-hashes', repository, digest },
    ] as const;
  }),
];

function runRoute(input: string): void {
  const route = parseRegistryRoute(input);
  const slash = input === '/v2' || (route.kind === 'upload-start' && !input.endsWith('/'));
  check(pathOf(route) === (slash ? `${input}/` : input), 'two paths, one route');
  if ('repository' in route) check(!/\.\.|%|\/\//.test(route.repository), 'a name that climbs');
}

function runManifest(input: Buffer): void {
  const manifest = parseManifest(input);
  const { config, layers, manifests, subject } = manifest;
  const all = [config, subject, ...layers, ...manifests].filter((one) => one !== undefined);
  check(layers.length + manifests.length <= DESCRIPTORS_MAX, 'more descriptors than allowed');
  check(layers.length === 0 || manifests.length === 0, 'an index that is an image');
  for (const one of all) {
    check(isDigest(one.digest), 'a digest that is none');
    check(Number.isSafeInteger(one.size) && one.size >= 0, 'a size that is none');
  }
  check(MANIFEST_ACCEPT.includes(manifest.mediaType), 'a type that is none');
  const again = parseManifest(input, `${manifest.mediaType}; charset=utf-8`);
  check(isDeepStrictEqual(again, manifest), 'the Content-Type changes what is read');
  mustRefuse(() => parseManifest(input, 'text/plain'), 'any Content-Type will do');
  const plain: unknown = JSON.parse(input.toString('utf8'));
  const own = parseManifest(Buffer.from(JSON.stringify(plain)));
  check(isDeepStrictEqual(own, manifest), 'the platform reads another manifest');
}

function runJson(input: Buffer): void {
  const value = parseStrictJson(input, { depthMax: 20, valuesMax: 1000 });
  const plain: unknown = JSON.parse(input.toString('utf8'));
  check(isDeepStrictEqual(value, plain), 'the platform reads another value');
  const twice = Buffer.from(`{"a":${input.toString()},"\\u0061":0}`);
  mustRefuse(() => parseStrictJson(twice), 'one key twice');
}

function written({ scheme, parameters }: Challenge): string {
  const parts = [...parameters].map(
    ([name, value]) => `${name}="${value.replaceAll(/[\\"]/g, String.raw`\$&`)}"`,
  );
  return `${scheme} ${parts.join(', ')}`;
}

function runChallenge(input: string): void {
  const challenges = parseChallenges(input);
  if (challenges.length === 0) throw new NotRead();
  let chars = 0;
  for (const { scheme, parameters } of challenges) {
    chars += scheme.length;
    for (const [name, value] of parameters) chars += name.length + value.length;
  }
  check(chars <= input.length, 'more came out than went in');
  const again = parseChallenges(challenges.map(written).join(', '));
  check(isDeepStrictEqual(again, challenges), 'a challenge changes on its way');
}

/** Fuzzers of what registries and their clients send: names, headers, paths, manifests. */
export const REGISTRY_FUZZERS: Fuzzer[] = [
  text('digest', [digest, long], ['DIGEST_INVALID'], (input) => {
    const parsed = parseDigest(input);
    const back = digestFromBytes(digestAlgorithm(parsed), digestBytes(parsed));
    check(back === input, 'two texts, one digest');
  }),
  text('repository name', ['a', 'library/a-b__c.d/e---f', 'a'.repeat(255)], NAMES, (input) => {
    check(parseRepository(input) === input, 'a name changes');
    check(input.length <= 255 && /^[a-z0-9][a-z0-9._/-]*$/.test(input), 'a name of other signs');
    check(!/\.\.|\/\/|\/$|\/[._-]|___/.test(input), 'a name of separators');
  }),
  text('reference', ['latest', 'V1.0_-', digest, long], NAMES, (input) => {
    check(referenceText(parseReference(input)) === input, 'a reference changes');
    check(input.length <= 135 && !/[\s/%]/.test(input), 'a reference of other signs');
  }),
  text(
    'image reference',
    [
      'alpine',
      `quay.example:5000/a/b:v1@${digest}`,
      '[fd00::1]:5000/a',
      'localhost/a:1',
      'index.docker.io/a',
    ],
    NAMES,
    runImageReference,
  ),
  text(
    'range',
    ['1500 bytes=0-', '1500 bytes=-5', '10 bytes=2-3', '9007199254740991 bytes=1-9007199254740990'],
    ['NOT_READ'],
    runRange,
  ),
  text(
    'content range',
    ['bytes 0-9/10', 'bytes 5-5/*', '0-9', '7-9007199254740989'],
    ['NOT_READ'],
    runContentRange,
  ),
  text(
    'registry path',
    ROUTES.map(pathOf),
    [...NAMES, 'BLOB_UPLOAD_UNKNOWN', 'UNSUPPORTED'],
    runRoute,
  ),
  {
    name: 'manifest',
    corpus: [image, index, artifact].map((one) => Buffer.from(JSON.stringify(one))),
    refusals: ['MANIFEST_INVALID', 'UNSUPPORTED'],
    run: runManifest,
  },
  {
    name: 'strict json',
    corpus: ['{"a":[1,-0.5e3,true,null],"__proto__":{"b":"\\u00e4\\n"}}', '"😀"', '[]'].map((one) =>
      Buffer.from(one),
    ),
    refusals: ['JSON_INVALID'],
    run: runJson,
  },
  text(
    'challenge',
    [
      'Bearer realm="https://auth.example/token",service="r",scope="repository:a/b:pull,push"',
      String.raw`Negotiate YWJj==, Digest realm="a, \"b\\", nonce=1 , Basic realm=x`,
    ],
    ['NOT_READ'],
    runChallenge,
  ),
];
