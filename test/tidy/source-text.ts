/**
 * A TypeScript source with the contents of comments, texts and regular expressions blanked out,
 * so that a search finds code only. Line numbers and columns stay. `comments` is the reverse.
 */
export type MaskedSource = { code: string; comments: string };

type Span = 'code' | 'comment' | 'literal';

/** Words after which a slash begins a regular expression, not a division. */
const BEFORE_REGEX = /(?:^|[=(,:;!&|?{}[+\-*%<>~^]|=>|\b(?:return|typeof|case|in|of|do|else))\s*$/;
const LOOK_BACK_CHARS = 24;

/** Separates code from comments and literals in one pass. */
export function maskSource(text: string): MaskedSource {
  const scanner = new Scanner(text);
  return scanner.run();
}

class Scanner {
  readonly #text: string;
  #position = 0;
  #code = '';
  #comments = '';
  /** Depth of braces inside each open template placeholder. */
  readonly #placeholders: number[] = [];

  constructor(text: string) {
    this.#text = text;
  }

  run(): MaskedSource {
    while (this.#position < this.#text.length) this.#step();
    return { code: this.#code, comments: this.#comments };
  }

  #step(): void {
    const two = this.#text.slice(this.#position, this.#position + 2);
    const one = two[0] ?? '';
    const depth = this.#placeholders.at(-1);
    if (two === '//') this.#take(this.#lineEnd(), 'comment');
    else if (two === '/*') this.#take(this.#after('*/'), 'comment');
    else if (one === "'" || one === '"') this.#quoted(one);
    else if (one === '`') this.#template();
    else if (one === '/' && this.#regexAllowed()) this.#regex();
    else if (one === '}' && depth === 0) {
      this.#placeholders.pop();
      this.#template();
    } else {
      if (depth !== undefined && one === '{')
        this.#placeholders.push(this.#placeholders.pop()! + 1);
      if (depth !== undefined && one === '}')
        this.#placeholders.push(this.#placeholders.pop()! - 1);
      this.#take(this.#position + 1, 'code');
    }
  }

  #regexAllowed(): boolean {
    return BEFORE_REGEX.test(this.#code.slice(-LOOK_BACK_CHARS));
  }

  #quoted(quote: string): void {
    let end = this.#position + 1;
    while (end < this.#text.length && this.#text[end] !== quote && this.#text[end] !== '\n') {
      end += this.#text[end] === '\\' ? 2 : 1;
    }
    this.#literal(end + 1);
  }

  /** From a backtick, or from the brace that ends a placeholder, to the next of either. */
  #template(): void {
    let end = this.#position + 1;
    for (; end < this.#text.length; end += 1) {
      if (this.#text[end] === '\\') end += 1;
      else if (this.#text[end] === '`') break;
      else if (this.#text.startsWith('${', end)) {
        this.#placeholders.push(0);
        end += 1;
        break;
      }
    }
    this.#literal(end + 1);
  }

  #regex(): void {
    let end = this.#position + 1;
    let inClass = false;
    for (; end < this.#text.length && this.#text[end] !== '\n'; end += 1) {
      const char = this.#text[end];
      if (char === '\\') end += 1;
      else if (char === '[') inClass = true;
      else if (char === ']') inClass = false;
      else if (char === '/' && !inClass) break;
    }
    this.#literal(end + 1);
  }

  /** Keeps the first and last character, so that a blanked text is still seen as a text. */
  #literal(end: number): void {
    const stop = Math.min(end, this.#text.length);
    this.#take(this.#position + 1, 'code');
    if (stop - 1 > this.#position) this.#take(stop - 1, 'literal');
    if (stop > this.#position) this.#take(stop, 'code');
  }

  #take(end: number, span: Span): void {
    const part = this.#text.slice(this.#position, end);
    const blank = part.replaceAll(/[^\n]/g, ' ');
    this.#code += span === 'code' ? part : blank;
    this.#comments += span === 'comment' ? part : blank;
    this.#position = Math.max(end, this.#position + 1);
  }

  #lineEnd(): number {
    const end = this.#text.indexOf('\n', this.#position);
    return end === -1 ? this.#text.length : end;
  }

  #after(mark: string): number {
    const end = this.#text.indexOf(mark, this.#position + 2);
    return end === -1 ? this.#text.length : end + mark.length;
  }
}
