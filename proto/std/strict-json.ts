import { JSON_DEPTH_MAX, JSON_VALUES_MAX } from './constants.ts';
import { CodedError } from './errors.ts';

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const SPACE = /[ \t\n\r]*/y;
const WORDS = new Map<string, unknown>([
  ['true', true],
  ['false', false],
  ['null', null],
]);
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const FIRST_PRINTABLE = 0x20;

export type StrictJsonOptions = {
  depthMax?: number;
  valuesMax?: number;
  /** What a number means, given as it was written; by default the nearest finite double. */
  numberOf?: (literal: string) => unknown;
};

/**
 * Reads JSON (RFC 8259) and refuses what parsers disagree about: duplicate keys, a byte order mark,
 * invalid UTF-8, lone surrogates, numbers beyond a double, deep nesting. Objects have no prototype
 * surprises: `__proto__` is a plain key.
 *
 * @throws CodedError JSON_INVALID
 */
export function parseStrictJson(bytes: Uint8Array, options: StrictJsonOptions = {}): unknown {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new CodedError('not UTF-8', { code: 'JSON_INVALID' }, { cause });
  }
  return new Reader(text, options).document();
}

class Reader {
  readonly #text: string;
  readonly #depthMax: number;
  readonly #numberOf: ((literal: string) => unknown) | undefined;
  #valuesLeft: number;
  #at = 0;

  constructor(text: string, options: StrictJsonOptions) {
    this.#text = text;
    this.#depthMax = options.depthMax ?? JSON_DEPTH_MAX;
    this.#valuesLeft = options.valuesMax ?? JSON_VALUES_MAX;
    this.#numberOf = options.numberOf;
  }

  document(): unknown {
    this.#space();
    const value = this.#value(0);
    this.#space();
    if (this.#at !== this.#text.length) throw this.#fault('text after the value');
    return value;
  }

  #value(depth: number): unknown {
    this.#valuesLeft -= 1;
    if (this.#valuesLeft < 0) throw this.#fault('too many values');
    if (depth > this.#depthMax) throw this.#fault('nested too deep');
    const char = this.#text[this.#at];
    if (char === '{') return this.#object(depth);
    if (char === '[') return this.#list(depth);
    if (char === '"') return this.#string();
    for (const [word, value] of WORDS) {
      if (this.#text.startsWith(word, this.#at)) {
        this.#at += word.length;
        return value;
      }
    }
    return this.#number();
  }

  #object(depth: number): Record<string, unknown> {
    const entries = new Map<string, unknown>();
    this.#items('}', () => {
      const key = this.#string();
      if (entries.has(key)) throw this.#fault('duplicate key');
      this.#space();
      this.#take(':');
      this.#space();
      entries.set(key, this.#value(depth + 1));
    });
    return Object.fromEntries(entries);
  }

  #list(depth: number): unknown[] {
    const items: unknown[] = [];
    this.#items(']', () => items.push(this.#value(depth + 1)));
    return items;
  }

  #items(close: string, one: () => void): void {
    this.#at += 1;
    this.#space();
    if (this.#text[this.#at] === close) {
      this.#at += 1;
      return;
    }
    for (;;) {
      this.#space();
      one();
      this.#space();
      if (this.#text[this.#at] === close) {
        this.#at += 1;
        return;
      }
      this.#take(',');
    }
  }

  #string(): string {
    const start = this.#at;
    this.#take('"');
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code === QUOTE) break;
      // Past the end the code is NaN.
      if (!(code >= FIRST_PRINTABLE)) throw this.#fault('text without its end');
      this.#at += code === BACKSLASH ? 2 : 1;
    }
    this.#at += 1;
    const value = this.#unescaped(this.#text.slice(start, this.#at));
    if (!value.isWellFormed()) throw this.#fault('half a surrogate pair');
    return value;
  }

  #unescaped(literal: string): string {
    try {
      const value: unknown = JSON.parse(literal);
      if (typeof value === 'string') return value;
    } catch {
      // An escape that is none: told below.
    }
    throw this.#fault('a wrong escape');
  }

  #number(): unknown {
    NUMBER.lastIndex = this.#at;
    const literal = NUMBER.exec(this.#text)?.[0];
    if (literal === undefined) throw this.#fault('not a value');
    this.#at += literal.length;
    if (this.#numberOf !== undefined) return this.#numberOf(literal);
    const value = Number(literal);
    if (!Number.isFinite(value)) throw this.#fault('a number too large');
    return value;
  }

  #take(char: string): void {
    if (this.#text[this.#at] !== char) throw this.#fault(`no ${char} where one belongs`);
    this.#at += 1;
  }

  #space(): void {
    SPACE.lastIndex = this.#at;
    this.#at += SPACE.exec(this.#text)?.[0].length ?? 0;
  }

  #fault(what: string): Error {
    return new CodedError(`${what} at character ${this.#at}`, { code: 'JSON_INVALID' });
  }
}
