import { PATTERN_STATES_MAX } from './constants.ts';
import { invalidRule } from './errors.ts';

// Regular expressions whose matching takes time in proportion to text and pattern, whatever they
// are: alternatives, groups, classes, `.`, `?`, `*`, `+` and `{n,m}` as a set of states that is
// followed character by character. Look-around and back references, which cannot be, are refused.

type Fits = (character: string) => boolean;
type Node =
  | { kind: 'one'; fits: Fits }
  | { kind: 'all'; parts: readonly Node[] }
  | { kind: 'any'; parts: readonly Node[] }
  | { kind: 'repeat'; part: Node; min: number; max: number };
/** `next` of 'one' is where a fitting character leads; 'split' leads on without one. */
type State = { fits: Fits; next: number } | { to: number[] } | 'end';

const REPEAT_MAX = 255;
const SPECIAL = /[\\^$.*+?()[\]{}|]/;
const CLASSES: Readonly<Record<string, RegExp>> = {
  d: /^\d$/,
  D: /^\D$/,
  w: /^\w$/,
  W: /^\W$/,
  s: /^\s$/,
  S: /^\S$/,
};

/**
 * Reads a pattern; what it gives tells whether it fits a whole text.
 * @throws ReplicationError INVALID
 */
export function linearRegex(pattern: string): (text: string) => boolean {
  const states: State[] = [];
  const add = (state: State): number => {
    if (states.length >= PATTERN_STATES_MAX) throw invalidRule('the regular expression is too big');
    return states.push(state) - 1;
  };
  let steps = 0;
  const build = (node: Node, next: number): number => {
    // What repeats nothing makes no states, however often.
    steps += 1;
    if (steps > PATTERN_STATES_MAX) throw invalidRule('the regular expression is too big');
    switch (node.kind) {
      case 'one':
        return add({ fits: node.fits, next });
      case 'all':
        return node.parts.reduceRight((at, part) => build(part, at), next);
      case 'any':
        return add({ to: node.parts.map((part) => build(part, next)) });
      default:
        return repeat(node, next);
    }
  };
  const repeat = ({ part, min, max }: Node & { kind: 'repeat' }, next: number): number => {
    let at = next;
    if (max === Number.POSITIVE_INFINITY) {
      const loop = { to: [next] };
      at = add(loop);
      loop.to.push(build(part, at));
    } else {
      for (let i = min; i < max; i += 1) at = add({ to: [next, build(part, at)] });
    }
    for (let i = 0; i < min; i += 1) at = build(part, at);
    return at;
  };
  const start = build(new Parser(pattern).parse(), add('end'));
  return (text) => follow(states, start, text);
}

function follow(states: readonly State[], start: number, text: string): boolean {
  let now = closure(states, [start]);
  for (const character of text) {
    const next: number[] = [];
    for (const at of now) {
      const state = states[at];
      if (typeof state === 'object' && 'fits' in state && state.fits(character)) {
        next.push(state.next);
      }
    }
    if (next.length === 0) return false;
    now = closure(states, next);
  }
  return [...now].some((at) => states[at] === 'end');
}

/** All states that are reached without another character. */
function closure(states: readonly State[], from: readonly number[]): Set<number> {
  const found = new Set<number>();
  const open = [...from];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    if (found.has(at)) continue;
    found.add(at);
    const state = states[at];
    if (typeof state === 'object' && 'to' in state) open.push(...state.to);
  }
  return found;
}

class Parser {
  readonly #text: string;
  #at = 0;

  /** It fits whole texts in any case, so anchors at its ends say nothing. */
  constructor(pattern: string) {
    const inner = pattern.replace(/^\^/, '');
    this.#text = /(?<!\\)(?:\\\\)*\$$/.test(inner) ? inner.slice(0, -1) : inner;
  }

  parse(): Node {
    const node = this.#alternatives();
    if (this.#at < this.#text.length) throw this.#wrong('an unexpected )');
    return node;
  }

  #alternatives(): Node {
    const parts = [this.#sequence()];
    while (this.#take('|')) parts.push(this.#sequence());
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : { kind: 'any', parts };
  }

  #sequence(): Node {
    const parts: Node[] = [];
    for (let c = this.#peek(); c !== '' && c !== '|' && c !== ')'; c = this.#peek()) {
      parts.push(this.#repeated(this.#atom()));
    }
    return { kind: 'all', parts };
  }

  #repeated(atom: Node): Node {
    let node = atom;
    const repeat = (min: number, max: number): void => {
      if (node !== atom) throw this.#wrong('a repetition of a repetition');
      node = { kind: 'repeat', part: atom, min, max };
    };
    for (;;) {
      if (this.#take('*')) repeat(0, Number.POSITIVE_INFINITY);
      else if (this.#take('+')) repeat(1, Number.POSITIVE_INFINITY);
      else if (this.#take('?')) repeat(0, 1);
      else if (this.#take('{')) repeat(...this.#bounds());
      else return node;
    }
  }

  #bounds(): [number, number] {
    const match = /^(\d{1,3})(,(\d{1,3})?)?\}/.exec(this.#text.slice(this.#at));
    if (match === null) throw this.#wrong('a { that is no repetition');
    this.#at += match[0].length;
    const min = Number(match[1]);
    const open = match[2] !== undefined && match[3] === undefined;
    const max = open ? Number.POSITIVE_INFINITY : Number(match[3] ?? min);
    if (min > REPEAT_MAX || (max > REPEAT_MAX && !open) || max < min) {
      throw this.#wrong(`a repetition that is not within 0 to ${REPEAT_MAX}`);
    }
    return [min, max];
  }

  #atom(): Node {
    const c = this.#next();
    if (c === '(') {
      if (this.#take('?') && !this.#take(':')) throw this.#wrong('look-around or a named group');
      const node = this.#alternatives();
      if (!this.#take(')')) throw this.#wrong('a ( without )');
      return node;
    }
    if (c === '[') return this.#set();
    if (c === '.') return one(() => true);
    if (c === '\\') return this.#escape();
    if (SPECIAL.test(c)) throw this.#wrong(`a ${c} that stands for nothing; write \\${c}`);
    return one((other) => other === c);
  }

  #escape(): Node {
    const c = this.#next();
    const known = Object.hasOwn(CLASSES, c) ? CLASSES[c] : undefined;
    if (known !== undefined) return one((other) => known.test(other));
    if (c === '' || /[a-z0-9]/i.test(c)) throw this.#wrong(`\\${c}, which is not known here`);
    return one((other) => other === c);
  }

  #set(): Node {
    const negative = this.#take('^');
    const parts: Fits[] = [];
    while (!this.#take(']')) {
      const first = this.#member();
      if (typeof first !== 'string') {
        parts.push(first);
        continue;
      }
      if (this.#peek() !== '-' || this.#text[this.#at + 1] === ']') {
        parts.push((c) => c === first);
        continue;
      }
      this.#next();
      const last = this.#member();
      if (typeof last !== 'string' || last < first) throw this.#wrong('a range that is none');
      parts.push((c) => c >= first && c <= last);
    }
    if (parts.length === 0) throw this.#wrong('an empty []');
    return one((c) => parts.some((fits) => fits(c)) !== negative);
  }

  #member(): string | Fits {
    const c = this.#next();
    if (c === '') throw this.#wrong('a [ without ]');
    if (c !== '\\') return c;
    const escaped = this.#next();
    const known = Object.hasOwn(CLASSES, escaped) ? CLASSES[escaped] : undefined;
    if (known !== undefined) return (other) => known.test(other);
    if (escaped === '' || /[a-z0-9]/i.test(escaped)) throw this.#wrong(`\\${escaped} in []`);
    return escaped;
  }

  #peek(): string {
    return this.#text[this.#at] ?? '';
  }

  #next(): string {
    const c = this.#peek();
    this.#at += 1;
    return c;
  }

  #take(wanted: string): boolean {
    if (this.#peek() !== wanted) return false;
    this.#at += 1;
    return true;
  }

  #wrong(what: string): Error {
    return invalidRule(`the regular expression has ${what}`);
  }
}

function one(fits: Fits): Node {
  return { kind: 'one', fits };
}
