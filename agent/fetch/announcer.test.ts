import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { it } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import { Announcer } from './announcer.ts';
import type { AnnounceItem, AnnounceResult } from './ports.ts';

const digest = digestOf(Buffer.from('blob'));
const item: AnnounceItem = {
  namespace: 'hub',
  repository: parseRepository('library/app'),
  digest,
  size: 8 * 1024 ** 2,
  complete: false,
  have: new ChunkBitmap(8),
  hubChunksWanted: 0,
};

/** An announcer of one download whose tracker wants to hear of it again after `retryAfterMs`. */
class Trial extends EventEmitter<{ announced: [] }> implements AsyncDisposable {
  count = 0;
  readonly announcer: Announcer;

  constructor(retryAfterMs: number) {
    super();
    const announce = (): Promise<AnnounceResult[]> => {
      this.count += 1;
      this.emit('announced');
      return Promise.resolve([{ digest, peers: [], hubChunks: [], retryAfterMs }]);
    };
    const logger = createLogger({ level: 'silent', name: 'test' });
    this.announcer = new Announcer({ fleet: { announce }, stored: () => [], logger });
    this.announcer.start();
    const calls = { item: () => item, answered: () => {}, unanswered: () => {} };
    this.announcer.track({ digest, ...calls });
  }

  async reach(count: number): Promise<void> {
    while (this.count < count) await once(this, 'announced');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.announcer.close();
  }
}

it('announces as often as the tracker wants, and at once when there is news', async () => {
  await using quick = new Trial(0);
  await using patient = new Trial(60_000);
  await quick.reach(6);
  const before = patient.count;
  assert.ok(before <= 2, `${before} announcements although the tracker asked for patience`);
  patient.announcer.nudge();
  await patient.reach(before + 1);
});

it('goes on, and lets others go on, when what is stored cannot be told', async () => {
  let asked = 0;
  const stored = (): never => {
    asked += 1;
    throw new Error('the disk is full');
  };
  const fleet = { announce: () => Promise.resolve([]) };
  const logger = createLogger({ level: 'silent', name: 'test' });
  const announcer = new Announcer({ fleet, stored, logger });
  announcer.start();
  await new Promise(setImmediate);
  assert.equal(asked, 1);
  await announcer.close();
});
