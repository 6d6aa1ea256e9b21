import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { it } from 'node:test';
import * as fc from 'fast-check';
import { digestOf } from '../../proto/oci/digest.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { Ledger } from './ledger.ts';
import { StoreIndex } from './store-index.ts';
import { LOGGER } from './test-store.ts';

const QUOTA = 1_000;
const NAMES = 12;
const ENTRIES_MAX = 6;
const PINNED = new Set([0, 1]);

type Step =
  | { do: 'admit'; name: number; bytes: number }
  | { do: 'reserve'; bytes: number }
  | { do: 'release' | 'restart' }
  | { do: 'read' | 'use' | 'unuse'; name: number };

const name = fc.nat(NAMES - 1);
const bytes = fc.integer({ min: 1, max: 600 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('admit' as const), name, bytes }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reserve' as const), bytes }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('release' as const, 'restart') }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constantFrom('read' as const, 'use', 'unuse'), name }),
  },
);

function digestNo(number: number): Digest {
  return digestOf(Buffer.from(`blob ${number}`));
}

/** The ledger, and beside it a list of what must be there, the longest unread first. */
class Trial {
  readonly used = new Set<number>();
  readonly order: { name: number; bytes: number }[] = [];
  readonly path: string;
  reserved: Disposable[] = [];
  reservedBytes = 0;
  evicted: number[] = [];
  index: StoreIndex;
  ledger: Ledger;

  constructor(path: string) {
    this.path = path;
    ({ index: this.index, ledger: this.ledger } = this.open());
  }

  open(): { index: StoreIndex; ledger: Ledger } {
    const pins = { digests: new Set([...PINNED].map(digestNo)), places: new Set<string>() };
    const options = { path: this.path, bootId: 'boot', pins, now: () => 5 };
    const index = new StoreIndex(options, { logger: LOGGER });
    const limits = { quotaBytes: QUOTA, highWater: 0.9, lowWater: 0.7, entriesMax: ENTRIES_MAX };
    const nameOf = (digest: Digest): number =>
      Array.from({ length: NAMES }, (_, number) => digestNo(number)).indexOf(digest);
    const ledger = new Ledger(limits, {
      index,
      isInUse: ({ digest }) => this.used.has(nameOf(digest)),
      remove: (entries) => {
        for (const { digest } of entries) {
          index.forget(digest);
          this.evicted.push(nameOf(digest));
        }
        return Promise.resolve();
      },
      onEvict: () => {},
    });
    return { index, ledger };
  }

  get bytes(): number {
    return this.order.reduce((sum, entry) => sum + entry.bytes, this.reservedBytes);
  }

  async run(next: Step): Promise<void> {
    if (next.do === 'admit') await this.#admit(next.name, next.bytes);
    else if (next.do === 'reserve') await this.#reserve(next.bytes);
    else if (next.do === 'use') this.used.add(next.name);
    else if (next.do === 'unuse') this.used.delete(next.name);
    else if (next.do === 'read') this.#read(next.name);
    else {
      for (const reservation of this.reserved.splice(0)) reservation[Symbol.dispose]();
      this.reservedBytes = 0;
      if (next.do === 'restart') {
        this.index.close();
        ({ index: this.index, ledger: this.ledger } = this.open());
      }
    }
    await this.ledger.settled();
    this.#checkEvicted();
  }

  /** What went was not in use, not pinned, and nothing that could go was unread for longer. */
  #checkEvicted(): void {
    for (const gone of this.evicted.splice(0)) {
      assert.ok(!this.used.has(gone), 'what is in use stays');
      assert.ok(!PINNED.has(gone), 'what is pinned stays');
      const at = this.order.findIndex((entry) => entry.name === gone);
      assert.ok(at !== -1);
      const older = this.order.slice(0, at).map((entry) => entry.name);
      assert.deepEqual(
        older.filter((other) => !this.used.has(other) && !PINNED.has(other)),
        [],
      );
      this.order.splice(at, 1);
    }
    assert.equal(this.ledger.bytes, this.bytes);
    assert.equal(this.index.totals().entries, this.order.length);
    assert.ok(this.bytes <= QUOTA, 'the quota holds');
  }

  async #admit(number: number, size: number): Promise<void> {
    const digest = digestNo(number);
    if (this.order.some((entry) => entry.name === number)) return;
    const row = { digest, bytes: size, held: 0, place: '', servable: false };
    if (await this.#refused(() => this.ledger.admit({ ...row, kind: 'chunked' }), size)) return;
    this.order.push({ name: number, bytes: size });
  }

  async #reserve(size: number): Promise<void> {
    const take = async () => void this.reserved.push(await this.ledger.reserve(size));
    if (!(await this.#refused(take, size))) this.reservedBytes += size;
  }

  /** A refusal is right only when evicting all that may go would not be enough. */
  async #refused(task: () => Promise<void>, size: number): Promise<boolean> {
    const staying = this.order.filter(({ name: n }) => this.used.has(n) || PINNED.has(n));
    const least = staying.reduce((sum, entry) => sum + entry.bytes, this.reservedBytes);
    try {
      await task();
      return false;
    } catch (err) {
      assert.ok(hasCode(err, 'STORE_FULL'));
      assert.ok(least + size > QUOTA, 'refused although there was room to be made');
      return true;
    }
  }

  #read(number: number): void {
    const at = this.order.findIndex((entry) => entry.name === number);
    if (at === -1) return;
    this.index.touch(digestNo(number));
    this.order.push(...this.order.splice(at, 1));
  }
}

it('whatever happens the quota holds, and only what was read longest ago leaves', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'flotilla-ledger-'));
  let trials = 0;
  try {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        trials += 1;
        const trial = new Trial(join(folder, `${trials}.sqlite`));
        try {
          for (const next of steps) await trial.run(next);
        } finally {
          trial.index.close();
        }
      }),
      { numRuns: 60 },
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

it('promises nothing for room that could not be made', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'flotilla-ledger-'));
  const trial = new Trial(join(folder, 'index.sqlite'));
  try {
    await trial.run({ do: 'admit', name: 5, bytes: 600 });
    using other = new DatabaseSync(trial.path);
    other.exec('BEGIN IMMEDIATE');
    await assert.rejects(trial.ledger.reserve(600), (err) => hasCode(err, 'IO'));
    assert.equal(trial.ledger.bytes, 600);
    other.exec('ROLLBACK');
  } finally {
    trial.index.close();
    await rm(folder, { recursive: true, force: true });
  }
});
