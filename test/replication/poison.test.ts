// What somebody can push, or another registry can answer, so that a rule would never end.
import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { test, type TestContext } from 'node:test';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { ownRegistry } from './own-registry.ts';
import { replicationRig, statesOf, type Ended } from './rig.ts';

const RULE = {
  direction: 'pull',
  repositories: ['team/app'],
  tags: { globs: ['v*'] },
  attempts: 1,
};
const CONFIG = Buffer.from('{}');
const REQUESTS_MAX = 200;
const WIDTH = 20;

type Named = { mediaType: string; digest: Digest; size: number };

/** Manifests of any name under one repository. */
class Shelf {
  readonly asked: string[] = [];
  /** What comes instead. True: it has answered. */
  instead: (request: IncomingMessage, response: ServerResponse) => boolean = () => false;
  readonly #manifests = new Map<string, { bytes: Buffer; type: string }>();

  put(tag: string, type: string, fields: object): Named {
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: type, ...fields }));
    const digest = digestOf(bytes);
    for (const name of [tag, digest]) this.#manifests.set(name, { bytes, type });
    return { mediaType: type, digest, size: bytes.length };
  }

  image(tag: string): Named {
    const config = { mediaType: 'application/x-test', digest: digestOf(CONFIG), size: 2 };
    return this.put(tag, OCI_MANIFEST, { config, layers: [], annotations: { tag } });
  }

  index(tag: string, manifests: readonly object[]): Named {
    return this.put(tag, OCI_INDEX, { manifests, annotations: { tag } });
  }

  start(t: TestContext): Promise<string> {
    return ownRegistry(t, (_path, response, request) => this.#answer(request, response));
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { url = '' } = request;
    this.asked.push(url);
    if (this.instead(request, response)) return;
    if (url.includes('/tags/list')) {
      const tags = [...this.#manifests.keys()].filter((name) => !name.includes(':'));
      return void response.end(JSON.stringify({ tags }));
    }
    const name = url.split('/').at(-1) ?? '';
    const found = this.#manifests.get(name);
    if (url.includes('/manifests/') && found !== undefined) {
      response.setHeader('content-type', found.type);
      response.setHeader('docker-content-digest', digestOf(found.bytes));
      return void response.end(found.bytes);
    }
    if (name === digestOf(CONFIG)) return void response.end(CONFIG);
    return void response.writeHead(404).end();
  }
}

async function ran(t: TestContext, shelf: Shelf, rule: object = RULE): Promise<Ended> {
  const rig = await replicationRig(t, { url: await shelf.start(t) });
  await rig.rule('in', rule);
  return rig.run('in');
}

test('an index that names the same over and over costs no more than naming it once', async (t) => {
  const shelf = new Shelf();
  let named: object = shelf.image('image');
  for (const level of ['low', 'middle', 'v1']) {
    named = shelf.index(
      level,
      Array.from({ length: WIDTH }, () => named),
    );
  }
  const ended = await ran(t, shelf);
  assert.deepEqual(statesOf(ended), ['team/app:v1 copied']);
  assert.ok(shelf.asked.length < REQUESTS_MAX, `${shelf.asked.length} requests`);
});

test('lists without an end are given up', async (t) => {
  for (const [kind, repositories] of [
    ['tags', ['team/app']],
    ['_catalog', ['team/*']],
  ] as const) {
    const shelf = new Shelf();
    shelf.image('v1');
    shelf.instead = ({ url = '' }, response) => {
      if (!url.includes(kind)) return false;
      response.setHeader(
        'link',
        `<${url.split('?')[0]}?n=1&last=${shelf.asked.length}>; rel="next"`,
      );
      response.end(JSON.stringify({ tags: ['v1'], repositories: ['other/app'] }));
      return true;
    };
    // oxlint-disable-next-line no-await-in-loop -- one hub at a time
    const ended = await ran(t, shelf, { ...RULE, repositories });
    assert.equal(ended.state, 'failed');
    assert.match(ended.message, /does not come to an end/);
  }
});
