import assert from 'node:assert/strict';
import { test } from 'node:test';
import { figuresOf } from './figures.ts';
import type { Measured } from './figures.ts';
import { parsePeakOptions } from './options.ts';
import { renderPage } from './page.ts';

const IMAGE_BYTES = 125e6;
const HEADER_BYTES = 66;

function run(seconds: readonly number[], received: number): Measured {
  const names = seconds.map((_, index) => `n${index + 1}`);
  const sampleOf = (atMs: number, part: number): Measured['samples'][number] => {
    const port = (sent: number, got: number) => ({
      sentBytes: part * (sent + 1000 * HEADER_BYTES),
      sentPackets: part * 1000,
      receivedBytes: part * (got + 1000 * HEADER_BYTES),
      receivedPackets: part * 1000,
    });
    const nodes = names.map((name) => [name, port(0, received)] as const);
    const traffic = new Map([['hub', port(1.5 * IMAGE_BYTES, 0)] as const, ...nodes]);
    return { atMs, traffic, idle: 0.5 };
  };
  const outcomes = seconds.map((endSeconds, index) => ({
    name: names[index] ?? '',
    startSeconds: 0,
    endSeconds,
    failure: undefined,
  }));
  const samples = [sampleOf(-5, 0), sampleOf(9000, 0.5), sampleOf(20_000, 1)];
  return { imageBytes: IMAGE_BYTES, outcomes, samples, plainGoodput: 12e6 };
}

function options(...args: string[]) {
  const parsed = parsePeakOptions(['--agents', '4', '--rate', '100Mbit', ...args]);
  if (parsed === 'help') throw new Error('help was asked for');
  return parsed;
}

test('efficiency is the bound by the time of the last client, median and tail by their own', () => {
  const figures = figuresOf(options(), run([10, 12.5, 16, 20], IMAGE_BYTES));
  assert.equal(figures.agents, 4);
  assert.equal(figures.boundSeconds, 10);
  assert.equal(figures.secondsToLast, 20);
  assert.equal(figures.efficiency, 0.5);
  assert.equal(figures.efficiencyP50, 0.8);
  assert.equal(figures.efficiencyP99, 0.5);
  assert.equal(figures.goodputRatio, 0.96);
});

test('copies and duplicates are payload at the links, packet headers left out', () => {
  const figures = figuresOf(options(), run([10, 10, 10, 10], IMAGE_BYTES * 1.02));
  assert.equal(figures.copies, 1.5);
  assert.ok(Math.abs(figures.duplicateRatio - 0.02) < 1e-9);
});

test('a client without the image is an error that names it, never a figure', () => {
  const measured = run([10, 10], IMAGE_BYTES);
  const [first, second] = measured.outcomes;
  assert.ok(first && second);
  const outcomes = [first, { ...second, failure: 'cut off' }];
  assert.throws(() => figuresOf(options(), { ...measured, outcomes }), /n2 .* cut off/);
});

test('the page shows its figures and loads nothing', () => {
  const measured = run([10, 12.5, 16, 20], IMAGE_BYTES);
  const page = renderPage(options(), measured, figuresOf(options(), measured), ['a < b']);
  assert.match(page, /50\.0 % of the bound/);
  assert.match(page, /a &lt; b/);
  assert.equal(page.match(/<svg/g)?.length, 5);
  assert.doesNotMatch(page, /<script|src=|href=|url\(|@import|https?:/);
  assert.doesNotMatch(page, /NaN|Infinity|undefined/);
});
