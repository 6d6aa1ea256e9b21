import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { formatByteSize } from '../../proto/std/byte-size.ts';
import { formatDuration } from '../../proto/std/duration.ts';
import { ROOT, isProduct, sourceFiles } from './source-files.ts';

/** One bound of the code: an exported constant with a number and a comment. */
export type Limit = { room: string; name: string; value: number; meaning: string };

export const LIMITS_BEGIN = '<!-- limits: written by npm run limits -->';
export const LIMITS_END = '<!-- end of limits -->';

const CONSTANT = /(?:\/\*\*((?:(?!\*\/)[^])*)\*\/\n)?^export const ([A-Z][A-Z0-9_]*)\b/gm;
/** Numbers that bound nothing. */
const NOT_LIMITS = /^(SWARM_VERSION_|RENEW_AFTER_PART|RENEW_EARLIEST_PART|LINES_)/;

/** Code that lies beside the product for its tests alone. */
const TEST_SUPPORT = /(?:^|[/-])(?:test|fixture|conformance|raw-peer)[^/]*\.ts$/;

/** Every bound in code that ships, by room and in the order of the code. */
export async function collectLimits(): Promise<Limit[]> {
  const limits: Limit[] = [];
  for (const { file, text } of sourceFiles()) {
    if (!hasLimits(file, text)) continue;
    // oxlint-disable-next-line no-await-in-loop -- the order of the rooms is the order of the table
    const values: Record<string, unknown> = await import(pathToFileURL(path.join(ROOT, file)).href);
    let meaning = '';
    for (const match of text.matchAll(CONSTANT)) {
      const [, comment, name = ''] = match;
      meaning = comment === undefined ? meaning : sentence(comment);
      const value = values[name];
      if (typeof value !== 'number' || NOT_LIMITS.test(name)) continue;
      limits.push({ room: path.dirname(file), name, value, meaning });
    }
  }
  return limits;
}

function hasLimits(file: string, text: string): boolean {
  if (!isProduct(file) || file.startsWith('bin/') || TEST_SUPPORT.test(file)) return false;
  return /^export const [A-Z]/m.test(text);
}

/** The tables of LIMITS.md, one for each room. */
export function renderLimits(limits: readonly Limit[]): string {
  const rooms = Map.groupBy(limits, ({ room }) => room);
  const sections = [...rooms].map(([room, rows]) => {
    const lines = rows.map(
      ({ name, value, meaning }) => `| \`${name}\` | ${valueText(name, value)} | ${meaning} |`,
    );
    return [
      `### ${room}`,
      '',
      '| constant | value | what it bounds |',
      '|---|---|---|',
      ...lines,
    ].join('\n');
  });
  return [LIMITS_BEGIN, '', sections.join('\n\n'), '', LIMITS_END].join('\n');
}

function valueText(name: string, value: number): string {
  if (name.endsWith('_MS')) return formatDuration(value);
  if (/_BYTES(_MAX|_MIN)?$/.test(name)) return formatByteSize(value);
  return value.toLocaleString('en-US', { maximumFractionDigits: 3 });
}

function sentence(comment: string): string {
  return comment
    .replaceAll(/^\s*\*/gm, '')
    .replaceAll(/\s+/g, ' ')
    .replaceAll('|', String.raw`\|`)
    .trim();
}
