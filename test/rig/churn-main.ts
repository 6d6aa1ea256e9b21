// Fills a content store with more than it holds, until it is killed. One line out for each step.
import { chunkRange } from '../../proto/chunks/layout.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import {
  CHURN_BLOBS,
  CHURN_SMALL,
  churnBytes,
  churnInput,
  churnSmall,
  churnStore,
} from './churn.ts';

const [, , dataDir = '', seed = '1'] = process.argv;
const inputs = Array.from({ length: CHURN_BLOBS }, (_, n) => churnInput(n));
let state = Number(seed);
let steps = 0;

function random(below: number): number {
  state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
  return (state >>> 8) % below;
}

const { store } = await churnStore(dataDir);

async function writeSome(n: number): Promise<void> {
  const input = inputs[n];
  if (input === undefined) return;
  const blob = await store.create(input);
  using kept = blob.retain();
  void kept;
  const bytes = churnBytes(n);
  for (const index of [...blob.have.missing()].slice(0, 1 + random(5))) {
    const { start, end } = chunkRange(blob.layout, index);
    // oxlint-disable-next-line no-await-in-loop -- one chunk after the other
    await blob.write(index, bytes.subarray(start, end));
  }
}

async function spoolWhole(n: number): Promise<void> {
  const input = inputs[n];
  if (input === undefined) return;
  const spool = await store.spool(input);
  await spool.append(churnBytes(n));
  await spool.commit(input);
}

async function churn(): Promise<void> {
  for (;;) {
    const kind = random(4);
    // oxlint-disable-next-line no-await-in-loop -- one step after the other
    if (kind === 0) await spoolWhole(random(CHURN_BLOBS));
    else if (kind === 1) {
      const small = churnSmall(random(CHURN_SMALL));
      // oxlint-disable-next-line no-await-in-loop -- one step after the other
      await store.putSmall(digestOf(small), small);
    }
    // oxlint-disable-next-line no-await-in-loop -- one step after the other
    else await writeSome(random(CHURN_BLOBS));
    steps += 1;
    process.stdout.write(`step ${steps}\n`);
  }
}

// Two at once, so that they meet at the quota. What finds no room goes on with the next step.
async function worker(): Promise<never> {
  for (;;) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- until killed
      await churn();
    } catch (err) {
      process.stdout.write(`refused ${String(err)}\n`);
    }
  }
}
await Promise.all([worker(), worker()]);
