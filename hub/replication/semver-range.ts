import { invalidRule } from './errors.ts';

// Ranges of versions as semver.org and npm have them, for tags such as 1.4.2, v1.4.2 or 1.4.2-rc.1.

type Version = { numbers: readonly [number, number, number]; pre: readonly string[] };
type Bound = { op: '<' | '<=' | '>' | '>=' | '='; version: Version };

const ID = '[0-9A-Za-z-]+(?:\\.[0-9A-Za-z-]+)*';
const NUMBER = '(0|[1-9][0-9]{0,8})';
const VERSION = new RegExp(`^v?${NUMBER}\\.${NUMBER}\\.${NUMBER}(?:-(${ID}))?(?:\\+${ID})?$`);
const PART = '(0|[1-9][0-9]{0,8}|[xX*])';
const PARTIAL = new RegExp(`^v?${PART}(?:\\.${PART}(?:\\.${PART}(?:-(${ID}))?(?:\\+${ID})?)?)?$`);
const COMPARATOR = /^(\^|~|<=|>=|<|>|=)?(.+)$/;

/**
 * Reads a range: comparators that must all hold, `||` between alternatives, `^`, `~`, `x`, and
 * `1.2 - 2.3`. What it gives tells whether a tag is a version in it; a prerelease is only in a
 * range that names one of the same version.
 * @throws ReplicationError INVALID
 */
export function semverRange(text: string): (tag: string) => boolean {
  const alternatives = text.split('||').map((part) => boundsOf(part.trim()));
  return (tag) => {
    const version = parseVersion(tag);
    return version !== undefined && alternatives.some((bounds) => fitsAll(version, bounds));
  };
}

function fitsAll(version: Version, bounds: readonly Bound[]): boolean {
  if (!bounds.every((bound) => fits(version, bound))) return false;
  if (version.pre.length === 0) return true;
  return bounds.some(
    ({ version: other }) => other.pre.length > 0 && compareNumbers(version, other) === 0,
  );
}

function fits(version: Version, { op, version: other }: Bound): boolean {
  const order = compare(version, other);
  if (op === '=') return order === 0;
  if (op.startsWith('<')) return order < 0 || (op === '<=' && order === 0);
  return order > 0 || (op === '>=' && order === 0);
}

function boundsOf(text: string): Bound[] {
  const hyphen = /^(\S+)\s+-\s+(\S+)$/.exec(text);
  if (hyphen) return [...comparator(`>=${hyphen[1]}`), ...comparator(`<=${hyphen[2]}`)];
  const words = text.replaceAll(/(\^|~|[<>]=?|=)\s+/g, '$1').split(/\s+/);
  return words.filter((word) => word !== '').flatMap(comparator);
}

function comparator(text: string): Bound[] {
  const [, op = '=', rest = ''] = COMPARATOR.exec(text) ?? [];
  const match = PARTIAL.exec(rest);
  if (match === null)
    throw invalidRule(`"${text}" is no version; write such as 1.4.2, ^1.4 or 1.x`);
  const given: number[] = [];
  for (const part of match.slice(1, 4)) {
    if (part === undefined || !/^\d/.test(part)) break;
    given.push(Number(part));
  }
  const [major = 0, minor = 0, patch = 0] = given;
  const pre = given.length === 3 ? (match[4]?.split('.') ?? []) : [];
  const low: Version = { numbers: [major, minor, patch], pre };
  /** The first version behind all that begin with these numbers. */
  const behind = (count: number): Version | undefined => {
    const [a, b, c] = low.numbers;
    if (count === 0) return undefined;
    if (count === 1) return { numbers: [a + 1, 0, 0], pre: FIRST };
    return { numbers: count === 2 ? [a, b + 1, 0] : [a, b, c + 1], pre: FIRST };
  };
  return boundsFor(op, low, { given: given.length, behind });
}

/** Before every prerelease of its version: what lies behind it is no prerelease of it either. */
const FIRST: readonly string[] = [''];

function boundsFor(
  op: string,
  low: Version,
  { given, behind }: { given: number; behind: (count: number) => Version | undefined },
): Bound[] {
  const [major, minor] = low.numbers;
  const from: Bound[] = given === 0 ? [] : [{ op: '>=', version: low }];
  const until = (count: number): Bound[] => {
    const version = behind(count);
    return version === undefined ? [] : [{ op: '<', version }];
  };
  switch (op) {
    case '^': {
      const firstSet = major > 0 ? 1 : minor > 0 ? 2 : 3;
      return [...from, ...until(Math.min(firstSet, given))];
    }
    case '~':
      return [...from, ...until(Math.min(2, given))];
    case '=':
      return given === 3 ? [{ op: '=', version: low }] : [...from, ...until(given)];
    case '>=':
      return from;
    case '<':
      return [{ op: '<', version: low }];
    case '>': {
      const version = given === 3 ? undefined : behind(given);
      if (given === 3) return [{ op: '>', version: low }];
      return version === undefined ? [{ op: '<', version: low }] : [{ op: '>=', version }];
    }
    default:
      return given === 3 ? [{ op: '<=', version: low }] : until(given);
  }
}

function parseVersion(tag: string): Version | undefined {
  const match = VERSION.exec(tag);
  if (match === null) return undefined;
  const [, major, minor, patch, pre] = match;
  return {
    numbers: [Number(major), Number(minor), Number(patch)],
    pre: pre === undefined ? [] : pre.split('.'),
  };
}

function compare(a: Version, b: Version): number {
  const order = compareNumbers(a, b);
  if (order !== 0) return order;
  if (a.pre.length === 0 || b.pre.length === 0) return b.pre.length - a.pre.length;
  for (let i = 0; i < Math.max(a.pre.length, b.pre.length); i += 1) {
    const next = compareIds(a.pre[i], b.pre[i]);
    if (next !== 0) return next;
  }
  return 0;
}

function compareNumbers(a: Version, b: Version): number {
  const at = a.numbers.findIndex((number, i) => number !== b.numbers[i]);
  return at < 0 ? 0 : (a.numbers[at] ?? 0) - (b.numbers[at] ?? 0);
}

/** semver.org 11.4: numbers before words, fewer fields before more. */
function compareIds(a: string | undefined, b: string | undefined): number {
  if (a === b) return 0;
  if (a === undefined || b === undefined) return a === undefined ? -1 : 1;
  if (a === '' || b === '') return a === '' ? -1 : 1;
  const [first, second] = [/^\d+$/.test(a), /^\d+$/.test(b)];
  if (first && second) return Number(a) - Number(b);
  if (first !== second) return first ? -1 : 1;
  return a < b ? -1 : 1;
}
