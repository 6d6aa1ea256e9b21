import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { chunkRange } from '../../proto/chunks/layout.ts';
import { SESSION_VERSION_MIN } from '../../proto/swarm/constants.ts';
import type { PeerAvailability } from '../fetch/ports.ts';
import { code, TestFleet } from './test-fleet.ts';

const MIB = 1024 * 1024;
const SESSIONS = [randomBytes(16), randomBytes(16)] as const;

function signal(): { signal: AbortSignal } {
  return { signal: AbortSignal.timeout(20_000) };
}

function held(told: PeerAvailability | undefined): number[] | undefined {
  return told && [...told.bitmap.present()];
}

/** A server with chunks of a blob that were checked in the first session, and a link to it. */
async function withSession(
  fleet: TestFleet,
  options: { versionMax?: number; lane?: boolean } = {},
) {
  const { server, client } = await fleet.pair(options);
  const blob = fleet.blob(6 * MIB);
  server.content.add(blob, [0, 2], SESSIONS[0]);
  const link = await client.swarm.link(server.membership, signal());
  await link.openGrant(fleet.grant([blob.digest]), signal());
  const have = (session?: Buffer) =>
    link.have(blob.digest, { count: 0, waitMs: 0, session }, signal());
  const fetch = async (index: number, session?: Buffer): Promise<Buffer> => {
    const request = { digest: blob.digest, index, length: MIB, session };
    using chunk = await client.swarm.transport.fetchChunk(link.peerId, request, signal());
    return Buffer.from(chunk.bytes);
  };
  return { server, blob, link, have, fetch };
}

for (const lane of [false, true]) {
  test(`what was checked in a session is told and given only in it, lane: ${lane}`, async () => {
    await using fleet = new TestFleet();
    const { server, blob, link, have, fetch } = await withSession(fleet, { lane });
    const { start, end } = chunkRange(blob.layout, 2);
    // The first chunk may go over a stream, until there is a lane.
    for (let round = 0; round < 3; round += 1) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      assert.ok((await fetch(2, SESSIONS[0])).equals(blob.bytes.subarray(start, end)));
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      assert.deepEqual(held(await have(SESSIONS[0])), [0, 2]);
    }
    assert.equal(await have(SESSIONS[1]), undefined);
    assert.equal(await have(), undefined);
    await assert.rejects(fetch(2, SESSIONS[1]), code('NOT_FOUND'));
    await assert.rejects(fetch(2), code('NOT_FOUND'));
    assert.equal(await link.statement(blob.digest, signal()), undefined);
    assert.equal(await link.hashes(blob.digest, MIB, signal()), undefined);
    server.content.add(blob);
    assert.equal((await have())?.complete, true);
    assert.deepEqual(held(await have(SESSIONS[0])), [0, 2]);
  });
}

test('a peer of an earlier version is asked for nothing that a session vouches for', async () => {
  await using fleet = new TestFleet();
  const { server, blob, have } = await withSession(fleet, { versionMax: SESSION_VERSION_MIN - 1 });
  server.content.add(blob);
  assert.equal(await have(SESSIONS[0]), undefined);
  assert.equal((await have())?.complete, true);
});
