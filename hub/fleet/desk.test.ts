import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LEAF_BYTES } from '../../proto/chunks/layout.ts';
import { checkBody } from '../../proto/hubapi/body.ts';
import { AnnounceResponse, RenewResponse } from '../../proto/hubapi/schemas.ts';
import { BLOB, BLOB_SIZE, download, TestAgent, TestHub } from './fleet-fixture.ts';
import type { FleetPart } from './fleet.ts';
import type { Announcement } from './tracker.ts';

test('of members that this hub knows its own word counts, of others another hub', async (t) => {
  const [asker, known, gone] = [new TestAgent(), new TestAgent(), new TestAgent()];
  const peers = [known.peerId, gone.peerId, 'elsewhere', 'nobody'];
  const others = ['old', 'old', 'new'].map((text) => Buffer.from(text).toString('base64'));
  const certificates = new Map(others.map((text, i) => [peers[i] ?? '', text]));
  const own: { part?: FleetPart } = {};
  const hub = await TestHub.start(t, {
    deskOf: (part) => {
      own.part = part;
      const answer = { digest: BLOB, peers, hubChunks: [], bypassChunks: 0, retryAfterMs: 1 };
      return { announce: async () => ({ intervalMs: 1, blobs: [answer], certificates }) };
    },
  });
  await hub.enrol(asker, 'asker');
  const { body } = await hub.enrol(known, 'known');
  await hub.enrol(gone, 'gone');
  await hub.fleet.revokeNode('gone');
  const announce = { full: false, downloads: [download({})] };
  const reply = await hub.call(asker, 'announce', announce);
  const [found] = checkBody(AnnounceResponse, reply.body).downloads;
  const { membership } = checkBody(RenewResponse, body);
  assert.deepEqual(found?.peers, [membership, others[2]]);
  const { members } = own.part ?? assert.fail();
  assert.equal(members.certificateOf(known.peerId), membership);
  assert.deepEqual(
    [members.knows(gone.peerId), members.certificateOf(gone.peerId)],
    [true, undefined],
  );
  assert.equal(members.knows('elsewhere'), false);
});

test('the desk of all hubs is told where a blob is, and how much of it has come', async (t) => {
  const asker = new TestAgent();
  const own: { part?: FleetPart; asked?: Announcement } = {};
  const hub = await TestHub.start(t, {
    coming: () => ({ size: BLOB_SIZE, received: 3 * LEAF_BYTES }),
    deskOf: (part) => {
      own.part = part;
      return {
        announce: (announcement) => {
          own.asked = announcement;
          return { intervalMs: 1, blobs: [] };
        },
      };
    },
  });
  await hub.enrol(asker, 'asker');
  await hub.call(asker, 'announce', { full: false, downloads: [download({})] });
  const [blob] = own.asked?.blobs ?? [];
  assert.deepEqual([blob?.repository, blob?.ready], ['team/app', 3]);
  assert.equal(own.part?.coming?.('team/app', BLOB)?.received, 3 * LEAF_BYTES);
});
