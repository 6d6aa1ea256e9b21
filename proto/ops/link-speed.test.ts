import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { cardTraffic, linkCard } from './link-speed.ts';

const ROUTES = 'Iface\tDestination\tGateway\ncni0\t0000580A\t00000000\neth0\t00000000\t0101A8C0\n';

/** A folder like /sys/class/net with these cards. */
async function machine(t: TestContext, cards: Record<string, { speed: number; on?: string }>) {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-cards-'));
  t.after(() => rm(folder, { recursive: true }));
  const routesFile = path.join(folder, 'route');
  await writeFile(routesFile, ROUTES);
  const cardsFolder = path.join(folder, 'net');
  for (const [name, { speed, on }] of Object.entries(cards)) {
    const card = path.join(cardsFolder, name);
    // oxlint-disable no-await-in-loop -- one card after the other
    await mkdir(path.join(card, 'statistics'), { recursive: true });
    await writeFile(path.join(card, 'speed'), `${speed}\n`);
    if (on === 'device') await mkdir(path.join(card, 'device'));
    else if (on !== undefined) await symlink(`../${on}`, path.join(card, `lower_${on}`));
    // oxlint-enable no-await-in-loop
  }
  return { routesFile, cardsFolder };
}

test('the speed of the card of the default route is known', async (t) => {
  const where = await machine(t, { cni0: { speed: 7 }, eth0: { speed: 25_000, on: 'device' } });
  assert.deepEqual(await linkCard(where), { name: 'eth0', bytesPerSecond: 3_125_000_000 });
});

test('a virtual pair, as a pod has, is not believed, nor a card without a speed', async (t) => {
  const pod = await machine(t, { eth0: { speed: 10_000 } });
  assert.deepEqual(await linkCard(pod), { name: 'eth0', bytesPerSecond: undefined });
  const cloud = await machine(t, { eth0: { speed: -1, on: 'device' } });
  assert.deepEqual(await linkCard(cloud), { name: 'eth0', bytesPerSecond: undefined });
});

test('a bond or a VLAN is as real as the cards under it', async (t) => {
  const cards = { eth0: { speed: 1000, on: 'bond0' }, bond0: { speed: 1000, on: 'eno1' } };
  const real = await machine(t, { ...cards, eno1: { speed: 1000, on: 'device' } });
  assert.equal((await linkCard(real))?.bytesPerSecond, 125_000_000);
  const bridge = await machine(t, { ...cards, eno1: { speed: 10_000 } });
  assert.equal((await linkCard(bridge))?.bytesPerSecond, undefined);
});

test('a machine without these files has no card, and no counters', async () => {
  const nowhere = { routesFile: '/nonexistent/route', cardsFolder: '/nonexistent/net' };
  assert.equal(await linkCard(nowhere), undefined);
  assert.equal(await cardTraffic('eth0', nowhere), undefined);
});
