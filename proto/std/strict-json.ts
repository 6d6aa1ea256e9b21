import { CodedError } from './errors.ts';

const DEPTH_MAX = 64;
const TOKENS_MAX = 500_000;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const SPACE = /[ \t\n\r]*/y;
const WORDS = new Map<string, unknown>([
  ['true', true],
  ['false', false],
  ['null', null],
]);

/**
 * Reads JSON (RFC 8259) and refuses what parsers disagree about: duplicate keys, a byte order mark,
 * invalid UTF-8, deep nesting. Objects have no prototype surprises: `__proto__` is a plain key.
 *
 * @throws CodedError JSON_INVALID
 */
export function parseStrictJson(
  bytes: Uint8Array,
  options: { depthMax?: number; tokensMax?: number } = {},
): unknown {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new CodedError('not UTF-8', { code: 'JSON_INVALID' }, { cause });
  }
  const reader = new Reader(text, options.depthMax ?? DEPTH_MAX, options.tokensMax ?? TOKENS_MAX);
  return reader.document();
}

class Reader {
  readonly #text: string;
  readonly #depthMax: number;
  #tokensLeft: number;
  #at = 0;

  constructor(text: string, depthMax: number, tokensMax: number) {
    this.#text = text;
    this.#depthMax = depthMax;
    this.#tokensLeft = tokensMax;
  }

  document(): unknown {
    this.#space();
    const value = this.#value(0);
    this.#space();
    if (this.#at !== this.#text.length) throw this.#fault('text after the value');
    return value;
  }

  #value(depth: number): unknown {
    this.#tokensLeft -= 1;
    if (this.#tokensLeft < 0) throw this.#fault('too many values');
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
    return Number(this.#match(NUMBER, 'not a value'));
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
    return JSON.parse(this.#match(STRING, 'not a string')) as string;
  }

  #match(pattern: RegExp, complaint: string): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found === undefined) throw this.#fault(complaint);
    this.#at += found.length;
    return found;
  }

  #take(char: string): void {
    if (this.#text[this.#at] !== char) throw this.#fault(`no "${char}" where one belongs`);
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
