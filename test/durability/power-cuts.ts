import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { LUCKS, PowerCut } from '../rig/power-cut.ts';

type Check = () => Promise<void>;

/**
 * Does something in an empty folder, cuts the power at once, and checks; so for each thing that a
 * power cut may leave.
 */
export async function survives(
  t: TestContext,
  work: (top: string) => Promise<Check>,
): Promise<void> {
  for (const [name, luck] of Object.entries(LUCKS)) {
    // oxlint-disable-next-line no-await-in-loop -- one power cut after the other
    const top = await mkdtemp(path.join(tmpdir(), 'flotilla-power-'));
    t.after(() => rm(top, { recursive: true, force: true }));
    // oxlint-disable-next-line no-await-in-loop -- one power cut after the other
    using power = await PowerCut.watch(top);
    // oxlint-disable-next-line no-await-in-loop -- one power cut after the other
    const check = await work(top);
    // oxlint-disable-next-line no-await-in-loop -- one power cut after the other
    await power.cut(luck);
    // oxlint-disable-next-line no-await-in-loop -- one power cut after the other
    await t.test(`with ${name} of what was not synced`, check);
  }
}
