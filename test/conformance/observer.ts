import { isJson, messageOfErrorBody, requestOf, type Answer } from './answer.ts';

/** Different violations kept of one kind; one is enough to tell. */
const VIOLATIONS_MAX = 8;
const WARNINGS_MAX_BYTES = 4096;
const WARNING = /^299 - "(?:[^"\\]|\\.)*"$/;
const WARNING_IN_LIST = /\s*(\d{3} \S+ "(?:[^"\\]|\\.)*"(?: "[^"]*")?|[^,]+?)\s*(?:,|$)/gy;

/** Looks at every answer of a run for rules that hold everywhere. */
export class Observer {
  readonly #errors = new Set<string>();
  readonly #warnings = new Set<string>();
  #errorBodies = 0;
  #warned = 0;

  see(answer: Answer): void {
    this.#seeError(answer);
    this.#seeWarnings(answer);
  }

  /** JSON bodies of 4xx answers seen, and what was wrong with some. */
  get errors(): { seen: number; violations: readonly string[] } {
    return { seen: this.#errorBodies, violations: [...this.#errors] };
  }

  /** Answers with Warning seen, and what was wrong with some. */
  get warnings(): { seen: number; violations: readonly string[] } {
    return { seen: this.#warned, violations: [...this.#warnings] };
  }

  #seeError(answer: Answer): void {
    if (answer.status < 400 || answer.status > 499 || answer.method === 'HEAD') return;
    if (!isJson(answer) || answer.body.length === 0) return;
    this.#errorBodies += 1;
    const wrong = messageOfErrorBody(answer.body);
    if (wrong !== undefined) note(this.#errors, `${requestOf(answer)}: ${wrong}`);
  }

  #seeWarnings(answer: Answer): void {
    const values = answer.all('warning');
    if (values.length === 0) return;
    this.#warned += 1;
    const bytes = values.reduce((sum, value) => sum + Buffer.byteLength(value), 0);
    if (bytes > WARNINGS_MAX_BYTES) {
      note(this.#warnings, `${requestOf(answer)}: ${bytes} bytes of warnings`);
    }
    for (const value of values) {
      for (const [, one = ''] of value.matchAll(WARNING_IN_LIST)) {
        if (WARNING.test(one)) continue;
        note(this.#warnings, `${requestOf(answer)}: Warning: ${one}`);
      }
    }
  }
}

function note(set: Set<string>, text: string): void {
  if (set.size < VIOLATIONS_MAX) set.add(text);
}
