import { test } from 'node:test';
import assert from 'node:assert/strict';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import type { MetricDefinition } from '../../proto/ops/metrics.ts';
import { ROOT, isProduct, sourceFiles } from './source-files.ts';

type Side = 'hub' | 'agent';
type Found = { file: string; side: Side; key: string; definition: MetricDefinition };

const sources = sourceFiles().filter(({ file }) => isProduct(file));
const HELP_CHARS_MIN = 12;

/** Every metric of every module, made by the module's own function. */
async function collectMetrics(): Promise<Found[]> {
  const found: Found[] = [];
  for (const side of ['hub', 'agent'] as const) {
    const registry = new MetricsRegistry({ prefix: `flotilla_${side}_` });
    const modules = sources.filter(({ file }) =>
      new RegExp(`^${side}/(?:[\\w-]+/)*(?:[\\w-]+-)?metrics\\.ts$`).test(file),
    );
    for (const { file } of modules) {
      // oxlint-disable-next-line no-await-in-loop -- definitions are told apart by their order
      const exports: Record<string, unknown> = await import(
        pathToFileURL(path.join(ROOT, file)).href
      );
      for (const [name, create] of Object.entries(exports)) {
        if (!/^create\w*Metrics$/.test(name) || typeof create !== 'function') continue;
        const before = registry.definitions.length;
        const tree: unknown = create(registry);
        const made = registry.definitions.slice(before);
        found.push(...keysOf(tree, made).map((entry) => ({ ...entry, file, side })));
      }
    }
  }
  return found;
}

/** Which property of the tree holds which metric; prom-client keeps the name on the object. */
function keysOf(
  tree: unknown,
  made: readonly MetricDefinition[],
): { key: string; definition: MetricDefinition }[] {
  const named = new Map<string, string>();
  const visit = (node: unknown, key: string): void => {
    if (typeof node !== 'object' || node === null) return;
    const name = 'name' in node ? node.name : undefined;
    if (typeof name === 'string' && name.startsWith('flotilla_')) named.set(name, key);
    else for (const [child, value] of Object.entries(node)) visit(value, child);
  };
  visit(tree, '');
  return made.map((definition) => ({ key: named.get(definition.name) ?? '', definition }));
}

/** True when code that ships changes the metric; setting it to zero at the start is no change. */
function isWritten(found: Found): boolean {
  if (found.definition.collected) return true;
  if (found.key === '') return false;
  const access = String.raw`[mM]etrics\)?[?!]?\.(?:\s*\w+[?!]?\s*\.)*\s*${found.key}[?!]?\s*\.\s*`;
  const call = String.raw`(?:inc|dec|set|observe|startTimer|zero|remove|setToCurrentTime|labels)\(`;
  const writer = new RegExp(access + call);
  const taken = new RegExp(String.raw`\{[^{}]*\b${found.key}\b[^{}]*\}\s*=\s*[\w.#]*[mM]etrics\b`);
  const bare = new RegExp(String.raw`\b${found.key}\s*\.\s*${call}(?!(?:[^()]*,\s*)?0\))`);
  return sources.some(({ file, code }) => {
    if (file === found.file) return bare.test(code);
    if (!file.startsWith(`${found.side}/`)) return false;
    return writer.test(code) || (taken.test(code) && bare.test(code));
  });
}

test('every metric is written somewhere and says what it counts', async () => {
  const metrics = await collectMetrics();
  assert.ok(metrics.length > 0, 'no metrics found');
  const silent = metrics.filter((metric) => !isWritten(metric));
  assert.deepEqual(
    silent.map(({ definition, file }) => `${definition.name} of ${file} is never written`),
    [],
  );
  for (const { definition } of metrics) {
    assert.ok(definition.help.length >= HELP_CHARS_MIN, `${definition.name}: help too short`);
  }
});

test('names tell the unit: base units, seconds and bytes only', async () => {
  const odd = (await collectMetrics())
    .map(({ definition }) => definition)
    .filter(({ name, type }) => {
      if (/_(ms|millis|milliseconds|minutes|kb|mb|mib|kib|percent)(_|$)/.test(name)) return true;
      return type === 'histogram' && !/_(seconds|bytes|chunks|peers|ratio)$/.test(name);
    })
    .map(({ name }) => name);
  assert.deepEqual(odd, []);
});

test('metrics are made through the registry of their program, nowhere else', () => {
  const direct = sources
    .filter(({ file }) => file !== 'proto/ops/metrics.ts')
    .filter(({ code }) => /\bnew\s+(?:Counter|Gauge|Histogram|Summary)\b/.test(code))
    .map(({ file }) => file);
  assert.deepEqual(direct, []);
});
