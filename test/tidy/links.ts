import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from './source-files.ts';

const LINK = /\[[^\]]*\]\(([^)\s]+)\)/g;

/** Links of a document to files or headings that are not there. Other sites are not asked. */
export function deadLinks(file: string): string[] {
  const text = readFileSync(path.join(ROOT, file), 'utf8');
  return [...text.matchAll(LINK)].flatMap((match) => {
    const link = match[1] ?? '';
    if (/^[a-z]+:/.test(link)) return [];
    const [target = '', heading] = link.split('#');
    const full = target === '' ? file : path.join(path.dirname(file), target);
    if (!existsSync(path.join(ROOT, full))) return [`${file}: ${link} does not exist`];
    if (heading === undefined || !full.endsWith('.md')) return [];
    return headingsOf(full).has(heading) ? [] : [`${file}: ${link} has no such heading`];
  });
}

function headingsOf(file: string): Set<string> {
  const text = readFileSync(path.join(ROOT, file), 'utf8');
  const titles = [...text.matchAll(/^#{1,6} (.+)$/gm)].map((match) => match[1] ?? '');
  return new Set(
    titles.map((title) =>
      title
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
        .trim()
        .replaceAll(/\s/g, '-'),
    ),
  );
}
