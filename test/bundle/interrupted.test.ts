import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { access, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { HubRegistry, type Wish } from '../../hub/bundle/hub-registry.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { AdminError } from '../../proto/ops/join-token-request.ts';
import { ADMIN, TestHub } from '../registry/test-hub.ts';
import { until } from '../rig/until.ts';
import { exportTo, importTo, scratch } from './bundle-rig.ts';

const MIB = 1024 * 1024;
const TIMEOUT_MS = 20_000;
const LAYERS = [randomBytes(3 * MIB + 1), randomBytes(12 * MIB + 5), randomBytes(100)];
const WHOLE = LAYERS.reduce((sum, layer) => sum + layer.length, 0);

/** Ends the whole work when so many bytes of blobs have passed, as a kill would. */
class Interrupting extends HubRegistry {
  readonly stop = new AbortController();
  #left: number;

  constructor(hub: { url: string }, bytes: number) {
    super({ url: hub.url, ...ADMIN });
    this.#left = bytes;
  }

  override async blob(...ask: Parameters<HubRegistry['blob']>) {
    const body = await super.blob(...ask);
    return body && this.#counted(body);
  }

  override send(wish: Wish) {
    const { body, method } = wish;
    if (body === undefined || Buffer.isBuffer(body) || method !== 'PATCH') return super.send(wish);
    return super.send({ ...wish, body: this.#counted(body) });
  }

  async *#counted(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const bytes of body) {
      this.#left -= bytes.length;
      if (this.#left < 0) this.stop.abort(new Error('killed'));
      this.stop.signal.throwIfAborted();
      yield bytes;
    }
  }
}

/** Refuses the second upload, and gets nowhere with the others. */
class Refusing extends HubRegistry {
  readonly #sending = Promise.withResolvers<void>();
  #begun = 0;

  override async send(wish: Wish): ReturnType<HubRegistry['send']> {
    const { method, path: target, signal } = wish;
    if (method === 'PATCH') {
      this.#sending.resolve();
      await once(signal, 'abort');
      signal.throwIfAborted();
    }
    if (method === 'POST' && target.includes('digest-algorithm')) this.#begun += 1;
    if (method !== 'POST' || this.#begun !== 2) return super.send(wish);
    await this.#sending.promise;
    throw new AdminError('no room', { code: 'HUB_REFUSED', url: this.url, status: 403 });
  }
}

async function isThere(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

for (const kind of ['bundle.tar', 'bundle']) {
  test(`an export that was broken off goes on where it was: ${kind}`, async (t) => {
    const file = path.join(await scratch(t), kind);
    const done = kind === 'bundle' ? path.join(file, 'bundle.json') : file;
    await using hub = await TestHub.start();
    const { digest } = await hub.pushImage('v1', LAYERS);
    const registry = new Interrupting(hub, 9 * MIB);
    const { signal } = registry.stop;
    await assert.rejects(exportTo(hub, file, ['team/app:v1'], { registry, signal }), /killed/);
    assert.equal(await isThere(done), false);
    await hub.pushImage('v1', [Buffer.from('what the tag names later')]);
    const report = await exportTo(hub, file, ['team/app:v1']);
    assert.equal(report.resumed, true);
    assert.equal(report.list.images[0]?.digest, digest);
    assert.ok(report.copiedBytes < WHOLE - 8 * MIB, `${report.copiedBytes} bytes copied again`);
    await using to = await TestHub.start();
    await importTo(to, file, hub);
    const pulled = await to.ask('/v2/team/app/manifests/v1');
    assert.equal(digestOf(pulled.body), digest);
  });
}

test('what lies there of an export that was broken off is not believed', async (t) => {
  const file = path.join(await scratch(t), 'bundle.tar');
  await using hub = await TestHub.start();
  await hub.pushImage('v1', LAYERS);
  const breakOff = async () => {
    const registry = new Interrupting(hub, 9 * MIB);
    const { signal } = registry.stop;
    await assert.rejects(exportTo(hub, file, ['team/app:v1'], { registry, signal }), /killed/);
    return readFile(`${file}.new`);
  };
  const left = await breakOff();
  await writeFile(`${file}.new`, left.fill(0, 2 * MIB, 2 * MIB + 9).fill(7, 6 * MIB, 6 * MIB + 9));
  const report = await exportTo(hub, file, ['team/app:v1']);
  assert.equal(report.resumed, true);
  await using to = await TestHub.start();
  await importTo(to, file, hub);
});

test('another wish, or a list that was changed, begins anew', async (t) => {
  const folder = await scratch(t);
  await using hub = await TestHub.start();
  await hub.pushImage('v1', LAYERS);
  for (const [name, harm] of [
    ['platforms.tar', undefined],
    ['list.tar', (bytes: Buffer) => bytes.fill((bytes[700] ?? 0) ^ 1, 700, 701)],
  ] as const) {
    const file = path.join(folder, name);
    const registry = new Interrupting(hub, 9 * MIB);
    const { signal } = registry.stop;
    await assert.rejects(exportTo(hub, file, ['team/app:v1'], { registry, signal }), /killed/);
    if (harm) await writeFile(`${file}.new`, harm(await readFile(`${file}.new`)));
    const platforms = harm ? [] : ['linux/amd64'];
    const report = await exportTo(hub, file, ['team/app:v1'], { platforms });
    assert.equal(report.resumed, false);
    assert.equal(report.copiedBytes, report.bytes);
  }
});

test('an import that was broken off goes on in the middle of a large blob', async (t) => {
  const folder = await scratch(t);
  const file = path.join(folder, 'bundle.tar');
  await using from = await TestHub.start();
  await using to = await TestHub.start();
  const { digest } = await from.pushImage('v1', LAYERS);
  await exportTo(from, file, ['team/app:v1']);
  const registry = new Interrupting(to, 11 * MIB);
  const { signal } = registry.stop;
  const resumedMinBytes = MIB;
  const broken = importTo(to, file, from, { registry, signal, resumedMinBytes });
  await assert.rejects(broken, /killed/);
  assert.equal((await to.ask('/v2/team/app/manifests/v1')).status, 404);
  assert.equal((await to.ask(`/v2/team/app/manifests/${digest}`)).status, 404);
  const report = await importTo(to, file, from, { resumedMinBytes });
  assert.ok(report.sentBytes < WHOLE - 9 * MIB, `${report.sentBytes} bytes sent again`);
  const pulled = await to.ask(`/v2/team/app/blobs/${digestOf(LAYERS[1] ?? Buffer.alloc(0))}`);
  assert.ok(pulled.body.equals(LAYERS[1] ?? Buffer.alloc(0)));
  assert.deepEqual(await readdir(folder), ['bundle.tar'], 'nothing is left beside it');
});

test('an upload that the hub forgot is begun anew', async (t) => {
  const file = path.join(await scratch(t), 'bundle.tar');
  await using from = await TestHub.start();
  await using to = await TestHub.start();
  await from.pushImage('v1', LAYERS);
  await exportTo(from, file, ['team/app:v1']);
  const registry = new Interrupting(to, 11 * MIB);
  const { signal } = registry.stop;
  const wish = { registry, signal, resumedMinBytes: MIB };
  await assert.rejects(importTo(to, file, from, wish), /killed/);
  const names = await readdir(path.dirname(file));
  const remembered = path.join(
    path.dirname(file),
    names.find((name) => name.endsWith('.uploads')) ?? '',
  );
  const uploads: [string, string][] = JSON.parse(await readFile(remembered, 'utf8'));
  for (const [, location] of uploads) {
    await until('the hub noticed the kill', TIMEOUT_MS, async () => {
      const { status } = await to.ask(location, { method: 'DELETE' });
      // What was killed in its last request is gone already.
      return status === 204 || status === 404 ? true : undefined;
    });
  }
  await importTo(to, file, from, { resumedMinBytes: MIB });
  assert.equal((await to.ask('/v2/team/app/manifests/v1')).status, 200);
});

test('an import that is refused ends at once, whatever else is on its way', async (t) => {
  const file = path.join(await scratch(t), 'bundle.tar');
  await using from = await TestHub.start();
  await using to = await TestHub.start();
  await from.pushImage('v1', LAYERS);
  await exportTo(from, file, ['team/app:v1']);
  const registry = new Refusing({ url: to.url, ...ADMIN });
  await assert.rejects(importTo(to, file, from, { registry }), /no room/);
});
