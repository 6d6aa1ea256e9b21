// Two hubs on one catalog: what one does with members, the other knows.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { checkBody } from '../../proto/hubapi/body.ts';
import { MembersResponse, RenewResponse } from '../../proto/hubapi/schemas.ts';
import { verifyMembership } from '../../proto/trust/membership.ts';
import { postgresForTests } from '../../test/rig/postgres.ts';
import { KyselyFleetStore, type FleetTables } from '../catalog/fleet-store.ts';
import { openPostgresCatalog } from '../catalog/postgres-catalog.ts';
import { SHARED_POLL_MS } from './constants.ts';
import { TestAgent, TestHub, type Reply } from './fleet-fixture.ts';
import { MemoryFleetStore } from './memory-store.ts';
import type { FleetStore } from './store.ts';

const ENDPOINT = { addresses: [], libp2pPort: 7412, lanePort: 0, version: '0' };

/** Two hubs; `stores` gives each its own way to the same rows. */
type Rig = { a: TestHub; b: TestHub };

const CASES: Record<string, (rig: Rig, t: TestContext) => Promise<void>> = {
  'an agent that enrolled at one hub is a member at the other at once': async ({ a, b }) => {
    const agent = new TestAgent();
    await a.enrol(agent, 'node-1');
    const answers = await Promise.all([
      b.call(agent, 'members'),
      b.call(agent, 'announce', { full: true, downloads: [] }),
      b.call(agent, 'renew', ENDPOINT),
    ]);
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 200, 200],
    );
  },

  'who is revoked at one hub is refused at the other after the poll': async ({ a, b }, t) => {
    const agent = new TestAgent();
    await a.enrol(agent, 'node-1');
    assert.equal((await b.call(agent, 'members')).status, 200);
    assert.equal(await a.fleet.revokeNode('node-1'), true);
    t.mock.timers.tick(SHARED_POLL_MS);
    while ((await b.call(agent, 'members')).code !== 'REVOKED') await settle();
    assert.equal(b.fleet.nodes().length, 0);
    assert.equal(await b.fleet.revokeNode('node-1'), false);
  },

  'a hub that nobody asks hears of members and revocations too': async ({ a, b }, t) => {
    await a.enrol(new TestAgent(), 'node-1');
    await a.enrol(new TestAgent(), 'node-2');
    await a.fleet.revokeNode('node-1');
    t.mock.timers.tick(SHARED_POLL_MS);
    while (b.fleet.nodes().length !== 1) await settle();
    assert.deepEqual(
      b.fleet.nodes().map(({ node }) => node),
      ['node-2'],
    );
  },

  'a node name taken at both hubs at once has one owner in the end': async ({ a, b }) => {
    const agents = Array.from({ length: 8 }, () => new TestAgent());
    const joined = await Promise.all(agents.map((one, i) => (i % 2 ? a : b).enrol(one, 'node-1')));
    const serials = joined.map((reply) => membershipOf(a, reply).serial);
    assert.equal(new Set(serials).size, agents.length);
    const last = agents[serials.indexOf(Math.max(...serials))];
    assert.ok(last);
    for (const hub of [a, b]) {
      const { body } = await hub.call(last, 'members');
      const list = checkBody(MembersResponse, body);
      assert.equal(list.memberships?.length, 1);
      assert.equal(list.revokedSerials?.length, agents.length - 1);
      for (const agent of agents) {
        const { code } = await hub.call(agent, 'members');
        assert.equal(code, agent === last ? '' : 'REVOKED');
      }
    }
  },

  'a join token is good for its uses, however many hubs are asked': async ({ a, b }) => {
    const token = await a.fleet.createJoinToken({ uses: 3 });
    const asked = Array.from({ length: 10 }, (_, i) =>
      (i % 2 ? a : b).enrol(new TestAgent(), `node-${i}`, { token }),
    );
    const codes = (await Promise.all(asked)).map(({ code }) => code).filter(Boolean);
    assert.deepEqual(
      codes,
      Array.from({ length: 7 }, () => 'TOKEN_USED_UP'),
    );
  },

  'an agent that asks both in turn is never told of an older list': async ({ a, b }) => {
    const agent = new TestAgent();
    await a.enrol(agent, 'node-0');
    let known = 0;
    for (let i = 1; i <= 6; i++) {
      await a.enrol(new TestAgent(), `node-${i}`);
      for (const hub of [a, b]) {
        const query = `?version=${known}`;
        const { body } = await hub.call(agent, 'members', undefined, { query });
        const { version } = checkBody(MembersResponse, body);
        assert.ok(version >= known, `${version} after ${known}`);
        known = version;
      }
    }
  },

  'a renewal that was recorded is refused by the other hub too': async ({ a, b }) => {
    const agent = new TestAgent();
    await a.enrol(agent, 'node-1');
    const recorded = a.signed(agent, 'renew', ENDPOINT);
    assert.equal((await a.send(...recorded)).status, 200);
    const again = await b.send(...recorded, { remote: '203.0.113.9' });
    assert.deepEqual([again.status, again.code], [409, 'REPLAYED']);
  },

  'a stranger is one at both, and costs one look': async ({ a, b }) => {
    const strangers = Array.from({ length: 20 }, () => new TestAgent());
    const asked = strangers.flatMap((one) => [a.call(one, 'members'), b.call(one, 'members')]);
    const codes = new Set((await Promise.all(asked)).map(({ code }) => code));
    assert.deepEqual([...codes], ['NOT_A_MEMBER']);
  },
};

function membershipOf(hub: TestHub, reply: Reply) {
  assert.equal(reply.status, 200, JSON.stringify(reply.body));
  const bytes = Buffer.from(checkBody(RenewResponse, reply.body).membership, 'base64');
  return verifyMembership(bytes, hub.trust, { nowMs: hub.nowMs, fleetId: hub.fleet.fleetId });
}

function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const { skip, server } = postgresForTests();

/** One way to the store for each hub. */
async function inPostgres(t: TestContext): Promise<[FleetStore, FleetStore]> {
  const own = await server();
  const database = await own.createDatabase();
  const open = async (): Promise<FleetStore> => {
    const catalog = await openPostgresCatalog({ ...own.target, database });
    t.after(() => catalog.close());
    return new KyselyFleetStore({ db: catalog.db.withTables<FleetTables>() });
  };
  return [await open(), await open()];
}

async function inMemory(): Promise<[FleetStore, FleetStore]> {
  const store = new MemoryFleetStore();
  return [store, store];
}

const PLACES = [
  { place: 'in memory', open: inMemory, skip: false },
  { place: 'in PostgreSQL', open: inPostgres, skip },
];
for (const { place, open, skip: reason } of PLACES) {
  for (const [promise, work] of Object.entries(CASES)) {
    test(`${place}: ${promise}`, { skip: reason }, async (t) => {
      const [first, second] = await open(t);
      t.mock.timers.enable({ apis: ['setInterval'] });
      const a = await TestHub.start(t, { store: first, shared: true });
      const b = await TestHub.start(t, { store: second, shared: true, beside: a });
      await work({ a, b }, t);
    });
  }
}
