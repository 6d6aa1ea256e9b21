import type { SourceFile } from './source-files.ts';
import { isProduct, lineAt } from './source-files.ts';

type Forbidden = {
  pattern: RegExp;
  instead: string;
  where: 'product' | 'tests' | 'everywhere';
  /** Searched in comments instead of code. */
  comments?: true;
};

const FORBIDDEN: readonly Forbidden[] = [
  {
    pattern: /\b(?:const\s+)?enum\s+[A-Z]/g,
    instead: 'an object `as const` and a union type',
    where: 'everywhere',
  },
  {
    pattern: /^\s*(?:export\s+)?namespace\s+\w/gm,
    instead: 'a module',
    where: 'everywhere',
  },
  {
    pattern: /\bPromise\.race\s*\(/g,
    instead: 'an AbortSignal handed down; the loser of a race goes on running',
    where: 'product',
  },
  {
    pattern: /\bcreateReadStream\b/g,
    instead: 'reads into reused buffers; a stream allocates 64 KiB at a time',
    where: 'product',
  },
  { pattern: /\bconsole\.\w+\s*\(/g, instead: 'the logger', where: 'product' },
  {
    pattern: /\b(?:test|it|describe)\.(?:only|skip|todo)\b|\b(?:only|todo):\s*true\b/g,
    instead: 'a test that runs; a missing program is skipped by its stated requirement',
    where: 'tests',
  },
  {
    pattern: /\b(?:TODO|FIXME|XXX|HACK)\b/g,
    instead: 'the thing itself, or an issue',
    where: 'everywhere',
    comments: true,
  },
];

/** Every forbidden construct of a file, with what to write instead. */
export function forbiddenIn(source: SourceFile): string[] {
  const product = isProduct(source.file);
  return FORBIDDEN.flatMap(({ pattern, instead, where, comments }) => {
    if (where === 'product' ? !product : where === 'tests' && product) return [];
    const text = comments === true ? source.comments : source.code;
    return [...text.matchAll(pattern)].map(
      (match) => `${source.file}:${lineAt(text, match.index)} ${match[0].trim()}: write ${instead}`,
    );
  });
}
