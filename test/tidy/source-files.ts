import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { maskSource } from './source-text.ts';

export const ROOT = path.join(import.meta.dirname, '..', '..');

const SKIPPED = ['node_modules', '.git', 'out', 'tmp'];
const TEXT_FILE = /\.(ts|md|json|ya?ml|proto|sh)$|(^|\/)(flotilla|Containerfile|LICENSE|run)$/;

/** One TypeScript file of ours; `code` has comments and literals blanked out. */
export type SourceFile = { file: string; text: string; code: string; comments: string };

/** Every text file of the project, generated ones too, as paths from its root. */
export function textFiles(): string[] {
  return globSync(['*', '.ci/*', '{bin,proto,hub,agent,daemonset,test,bench}/**/*'], {
    cwd: ROOT,
    exclude: (name) => SKIPPED.includes(path.basename(name)),
  })
    .filter((file) => TEXT_FILE.test(file))
    .sort();
}

/** Every TypeScript file written by hand. */
export function sourceFiles(): SourceFile[] {
  return textFiles()
    .filter((file) => file.endsWith('.ts') && !file.endsWith('_pb.ts'))
    .map((file) => {
      const text = readFileSync(path.join(ROOT, file), 'utf8');
      return { file, text, ...maskSource(text) };
    });
}

/** True for files that ship: no tests and what they share, no benches. */
export function isProduct(file: string): boolean {
  return /^(bin|proto|hub|agent)\//.test(file) && !/(\.test|-fixture)\.ts$/.test(file);
}

/** Line of an offset, counted from 1. */
export function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}
