// Places where the product makes something durable, and the product without one of them.
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.join(import.meta.dirname, '..', '..');
const SOURCES = ['hub/**/*.ts', 'agent/**/*.ts', 'proto/**/*.ts', 'bin/**/*.ts'];
/** Fixtures of tests, which are not the product. */
const NOT_PRODUCT = /(?:\.test|-fixture|memory-disk|conformance)\.ts$/;
const PATTERNS = [
  { find: /[\w.#]+\.(?:sync|datasync|syncFolder)\((?:[^()]|\([^()]*\))*\)/, instead: 'undefined' },
  { find: /synchronous = FULL/, instead: 'synchronous = OFF' },
];

/** A line of the product with something left out. */
export type Mutant = { file: string; line: number; text: string; without: string };

/** One mutant for each of these places. */
export function syncMutants(): Mutant[] {
  const files = globSync(SOURCES, { cwd: ROOT }).filter((file) => !NOT_PRODUCT.test(file));
  return files.sort().flatMap((file) => {
    const lines = readFileSync(path.join(ROOT, file), 'utf8').split('\n');
    return lines.flatMap((text, index) =>
      PATTERNS.filter(({ find }) => find.test(text) && !/^\s*(?:\*|\/\/)/.test(text)).map(
        ({ find, instead }) => ({
          file,
          line: index + 1,
          text: text.trim(),
          without: text.replace(find, instead),
        }),
      ),
    );
  });
}

/** The source of a file as it is in the mutant. */
export function mutated(source: string, { line, without }: Mutant): string {
  return source
    .split('\n')
    .with(line - 1, without)
    .join('\n');
}
