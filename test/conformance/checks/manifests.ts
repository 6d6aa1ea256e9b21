import {
  errorCodesOf,
  expectHeader,
  expectRefused,
  expectStatus,
  describeAnswer,
  isJson,
} from '../answer.ts';
import { fail, inOrder, skip, type Check, type Trial } from '../check.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../../proto/oci/media-types.ts';
import {
  descriptorOf,
  emptyJson,
  freshTag,
  imageOf,
  OCI_LAYER,
  randomBlob,
  withBytes,
  type Manifest,
} from '../content.ts';
import { expectManifest } from '../repository.ts';

const PULL = 'Pulling manifests';
const PUSH = 'Pushing Manifests';
const BAD_DIGEST = 'sha256:baddigeststring';
/** What a registry has to take at least, and what it may well refuse, bytes. */
const LARGE = 4 * 1024 * 1024;
const TOO_LARGE = 16 * 1024 * 1024;

/** An image that needs no more than the empty object, as text with something done to it. */
async function changed({ repo }: Trial, change: (text: string) => string): Promise<Manifest> {
  await repo.push(emptyJson());
  const image = imageOf(emptyJson(), []);
  return withBytes(image, Buffer.from(change(image.bytes.toString())));
}

/** Padded with spaces to this size. */
function paddedTo(size: number) {
  return (text: string): string => text + ' '.repeat(size - text.length);
}

/** One that must not be taken for what it says it is. */
function refusedCheck(
  name: string,
  spec: string,
  change: (text: string) => string,
  type = OCI_MANIFEST,
): Check {
  return {
    id: `manifests/refused: ${name}`,
    spec,
    level: 'SHOULD',
    since: '1.1',
    run: async (trial) => {
      const image = await changed(trial, change);
      const tag = freshTag('refused');
      expectRefused(await trial.repo.putManifest(tag, image, type));
      expectStatus(await trial.repo.ask(`manifests/${tag}`), 404);
    },
  };
}

const CONFUSION = 'image-spec, "mediaType" and GHSA-77vh-xpmg-72qh';

export const manifestChecks: readonly Check[] = [
  {
    id: 'manifests/pull what is not there',
    spec: PULL,
    level: 'MUST',
    since: '1.1',
    run: async ({ repo }) => {
      await repo.pushImage();
      await inOrder([randomBlob(8).digest, freshTag('absent')], async (reference) => {
        expectStatus(await repo.ask(`manifests/${reference}`), 404);
        expectStatus(await repo.head(`manifests/${reference}`), 404);
      });
    },
  },
  {
    id: 'manifests/pull a digest that is none',
    spec: PULL,
    level: 'MUST',
    since: '1.1',
    run: async ({ repo }) => expectStatus(await repo.ask(`manifests/${BAD_DIGEST}`), 400, 404),
  },
  {
    id: 'manifests/push to a digest that is none',
    spec: PULL,
    level: 'MUST',
    since: '1.1',
    run: async ({ repo }) =>
      expectStatus(await repo.putManifest(BAD_DIGEST, await repo.pushImage()), 400),
  },
  {
    id: 'manifests/push to the digest of other bytes',
    spec: PUSH,
    level: 'MUST',
    since: '1.1',
    run: async (trial) => {
      const image = await trial.repo.pushImage();
      const padded = withBytes(image, Buffer.concat([image.bytes, Buffer.from('  ')]));
      const { digest } = await changed(trial, (text) => `${text}    `);
      expectStatus(await trial.repo.putManifest(digest, padded), 400);
      expectStatus(await trial.repo.ask(`manifests/${digest}`), 404);
    },
  },
  ...['sha256', 'sha512'].map((algorithm): Check => ({
    id: `manifests/push by ${algorithm} digest`,
    spec: PUSH,
    level: algorithm === 'sha256' ? 'MUST' : 'SHOULD',
    since: '1.1',
    run: async ({ repo }) => {
      const kind = algorithm === 'sha256' ? 'sha256' : 'sha512';
      const layer = randomBlob(64);
      await repo.pushAll([emptyJson(), layer]);
      const image = imageOf(emptyJson(), [layer], {}, kind);
      const answer = await repo.pushManifest(image);
      expectHeader(answer, 'docker-content-digest', image.digest);
      expectManifest(await repo.ask(`manifests/${image.digest}`), image);
    },
  })),
  {
    id: 'manifests/bytes are kept, white space and unknown members too',
    spec: PUSH,
    level: 'MUST',
    since: '1.1',
    run: async (trial) => {
      const odd = '{\n\t"org.example.odd": [1.50, {"é": "\\u00e9"}, null, 1e2],';
      const image = await changed(trial, (text) => `${text.replace('{', odd)}\r\n \n`);
      const tag = freshTag('bytes');
      await trial.repo.pushManifest(image, tag);
      await inOrder([tag, image.digest], async (reference) =>
        expectManifest(await trial.repo.ask(`manifests/${reference}`), image),
      );
    },
  },
  {
    id: 'manifests/parameters of the Content-Type are ignored',
    spec: PUSH,
    level: 'SHOULD',
    since: '1.1',
    run: async ({ repo }) => {
      const image = await repo.pushImage();
      const tag = freshTag('parameters');
      const type = `${image.mediaType}; charset=utf-8`;
      expectStatus(await repo.putManifest(tag, image, type), 201);
      expectManifest(await repo.ask(`manifests/${tag}`), image);
    },
  },
  {
    id: 'manifests/Content-Type has no parameters',
    spec: PULL,
    level: 'SHOULD',
    since: '1.1',
    run: async ({ repo }) => {
      const { digest, mediaType } = await repo.pushImage();
      expectHeader(await repo.ask(`manifests/${digest}`), 'content-type', mediaType);
      expectHeader(await repo.head(`manifests/${digest}`), 'content-type', mediaType);
    },
  },
  {
    id: 'manifests/without mediaType',
    spec: PULL,
    level: 'SHOULD',
    since: '1.1',
    run: async (trial) => {
      const member = `"mediaType": "${OCI_MANIFEST}",`;
      const image = await changed(trial, (text) => text.replace(member, ''));
      await trial.repo.pushManifest(image, freshTag('untyped'));
    },
  },
  {
    id: 'manifests/digest and size are told',
    spec: 'Checking if content exists in the registry',
    level: 'MUST',
    since: 'dev',
    run: async ({ repo }) => {
      const tag = freshTag('headers');
      const { digest, bytes } = await repo.pushImage([tag]);
      await inOrder([tag, digest], async (reference) => {
        const head = await repo.head(`manifests/${reference}`);
        expectStatus(head, 200);
        expectHeader(head, 'content-length', String(bytes.length));
        expectHeader(head, 'docker-content-digest', digest);
        const answer = await repo.ask(`manifests/${reference}`);
        expectHeader(answer, 'docker-content-digest', digest);
      });
    },
  },
  {
    id: 'manifests/a tag moves',
    spec: PUSH,
    level: 'MUST',
    since: '1.1',
    run: async ({ repo }) => {
      const tag = freshTag('moves');
      const first = await repo.pushImage([tag]);
      const second = await repo.pushImage([tag]);
      expectManifest(await repo.ask(`manifests/${tag}`), second);
      expectManifest(await repo.ask(`manifests/${first.digest}`), first);
    },
  },
  {
    id: 'manifests/range of a manifest',
    spec: PULL,
    level: 'SHOULD',
    since: '1.1',
    run: async ({ repo }) => {
      const image = await repo.pushImage();
      const headers = { range: 'bytes=0-' };
      const answer = await repo.ask(`manifests/${image.digest}`, { headers });
      expectStatus(answer, 200, 206);
      if (!answer.body.equals(image.bytes)) fail('bytes=0- of a manifest is not all of it');
    },
  },
];

export const manifestSizeChecks: readonly Check[] = [
  {
    id: 'manifests/of 4 MiB',
    spec: PUSH,
    level: 'SHOULD',
    since: '1.1',
    run: async (trial) => {
      const image = await changed(trial, paddedTo(LARGE));
      await trial.repo.pushManifest(image, freshTag('large'));
    },
  },
  {
    id: 'manifests/of 16 MiB',
    spec: PUSH,
    level: 'SHOULD',
    since: '1.1',
    run: async (trial) => {
      const image = await changed(trial, paddedTo(TOO_LARGE));
      const answer = await trial.repo.putManifest(freshTag('huge'), image);
      if (answer.status === 201) skip('manifests of 16 MiB are taken');
      expectStatus(answer, 413);
    },
  },
];

export const badManifestChecks: readonly Check[] = [
  refusedCheck('no JSON', PUSH, () => '{'),
  refusedCheck('a list', PUSH, () => '[]'),
  refusedCheck('nothing', PUSH, () => ''),
  refusedCheck('a member twice', 'RFC 8259 section 4, JSON that readers agree on', (text) =>
    text.replace('{', `{"schemaVersion": 1, "mediaType": "${OCI_INDEX}",`),
  ),
  refusedCheck('mediaType is not the Content-Type', CONFUSION, (text) => text, OCI_INDEX),
  refusedCheck('an image with manifests', CONFUSION, (text) =>
    text.replace('{', '{"manifests": [],'),
  ),
  refusedCheck('a layer of negative size', 'image-spec, "Descriptor"', (text) => {
    const layer = { ...descriptorOf(randomBlob(8), OCI_LAYER), size: -1 };
    return text.replace('"layers": []', `"layers": [${JSON.stringify(layer)}]`);
  }),
  refusedCheck('a config without a digest', 'image-spec, "Descriptor"', (text) =>
    text.replace(emptyJson().digest, ''),
  ),
  {
    id: 'manifests/refused: a layer that is not here',
    spec: 'Push',
    level: 'MAY',
    since: '1.1',
    run: async ({ repo }) => {
      await repo.push(emptyJson());
      const image = imageOf(emptyJson(), [randomBlob(20)]);
      const answer = await repo.putManifest(freshTag('sparse'), image);
      if (answer.status === 201) skip('an image may name layers that are not here');
      expectRefused(answer);
      if (!isJson(answer)) return;
      const codes = errorCodesOf(answer);
      const good = codes.length > 0 && codes.every((code) => code === 'MANIFEST_BLOB_UNKNOWN');
      if (!good) fail(`${describeAnswer(answer)}; expected MANIFEST_BLOB_UNKNOWN`);
    },
  },
];
