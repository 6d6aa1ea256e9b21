// Loaded before a test, by `node --import`: the test meets the mutant of FLOTILLA_MUTANT.
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import { mutated, type Mutant } from './sync-mutants.ts';

const mutant: Mutant = JSON.parse(process.env['FLOTILLA_MUTANT'] ?? '');

registerHooks({
  load: (url, context, next) => {
    const loaded = next(url, context);
    if (!url.endsWith(`/${mutant.file}`) || url.includes('/node_modules/')) return loaded;
    return { ...loaded, source: mutated(readFileSync(fileURLToPath(url), 'utf8'), mutant) };
  },
});
