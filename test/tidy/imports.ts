import path from 'node:path';
import type { SourceFile } from './source-files.ts';
import { lineAt } from './source-files.ts';

/** One import of one file. `target` is a path from the root, or the name of a package. */
export type Import = { file: string; line: number; target: string; local: boolean; type: boolean };

const IMPORT = /\b(import|export)\b(\s+type\b)?(?:[\w\s{},*$]*?\bfrom\s*)?\s*\(?\s*(['"])/g;

/** Every static import, re-export and literal dynamic import of a file. */
export function importsOf(source: SourceFile): Import[] {
  const found: Import[] = [];
  for (const match of source.code.matchAll(IMPORT)) {
    const start = match.index + match[0].length;
    const end = source.code.indexOf(match[3] ?? '', start);
    const name = source.text.slice(start, end);
    const local = name.startsWith('.');
    const target = local ? path.join(path.dirname(source.file), name) : packageName(name);
    const line = lineAt(source.text, match.index);
    found.push({ file: source.file, line, target, local, type: match[2] !== undefined });
  }
  return found;
}

function packageName(name: string): string {
  if (name.startsWith('node:')) return name;
  return name
    .split('/')
    .slice(0, name.startsWith('@') ? 2 : 1)
    .join('/');
}
