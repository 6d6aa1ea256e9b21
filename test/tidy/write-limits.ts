import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { LIMITS_BEGIN, LIMITS_END, collectLimits, renderLimits } from './limits.ts';
import { ROOT } from './source-files.ts';

// usage: npm run limits. Writes the tables of LIMITS.md anew; what stands around them stays.

const file = path.join(ROOT, 'LIMITS.md');
const text = readFileSync(file, 'utf8');
const begin = text.indexOf(LIMITS_BEGIN);
const end = text.indexOf(LIMITS_END);
if (begin === -1 || end === -1) throw new Error(`${file} has no place for the tables`);
const tables = renderLimits(await collectLimits());
writeFileSync(file, text.slice(0, begin) + tables + text.slice(end + LIMITS_END.length));
