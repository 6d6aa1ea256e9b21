import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { attempt } from '../rig/processes.ts';
import { findProgram } from '../rig/requirements.ts';
import { scale } from '../rig/scale.ts';
import { syncMutants, type Mutant } from './sync-mutants.ts';

const ROOT = path.join(import.meta.dirname, '..', '..');
const MUTATE = path.join(import.meta.dirname, 'mutant-main.ts');
/** Tests of durability: those of the whole disk first, which miss most. */
const TESTS = [
  'test/durability/power-cut.test.ts',
  'test/durability/backup-power-cut.test.ts',
  'hub/blobs/power-cut.test.ts',
  'test/durability/sqlite-syncs.test.ts',
];
/** A line like those of the product, without which every test is still green. */
const HARMLESS: Mutant = { file: 'hub/blobs/constants.ts', line: 1, text: '', without: '' };
const skip = !findProgram('strace') && 'needs strace: see test/rig/install.sh';

/** The first test that misses what the mutant leaves out. */
async function missedBy(mutant: Mutant): Promise<string | undefined> {
  // The runner of tests sets NODE_TEST_CONTEXT, with which a test file tells only that runner.
  const env = {
    NODE_TEST_CONTEXT: undefined,
    NODE_OPTIONS: `--import=${MUTATE}`,
    FLOTILLA_MUTANT: JSON.stringify(mutant),
  };
  for (const file of TESTS) {
    // oxlint-disable-next-line no-await-in-loop -- as few as are needed
    const { code } = await attempt([process.execPath, file], { cwd: ROOT, env });
    if (code !== 0) return file;
  }
  return undefined;
}

test(
  `a test misses each sync that is left out (one in ${scale.mutantStep})`,
  { skip },
  async (t) => {
    const mutants = syncMutants();
    assert.ok(mutants.length > 15, 'the search finds the syncs');
    assert.equal(await missedBy(HARMLESS), undefined, 'with all of them every test is green');
    for (const [i, mutant] of mutants.entries()) {
      if (i % scale.mutantStep !== 0) continue;
      const { file, line, text } = mutant;
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await t.test(`${file}:${line} ${text}`, async () => {
        assert.notEqual(await missedBy(mutant), undefined, 'nothing missed it');
      });
    }
  },
);
