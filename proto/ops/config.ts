import type { Static, TObject } from 'typebox';
import type { KeyPath, SchemaView } from './config-schema.ts';
import { envName, isSection, leavesOf, pathText, viewOf } from './config-schema.ts';
import { decodeLeaf, readEnvText } from './config-values.ts';
import { parseDocumentText } from './config-document.ts';
import type { ConfigDocument } from './config-document.ts';
import { CONFIG_PROBLEMS_MAX } from './constants.ts';
import { ConfigError } from './errors.ts';
import type { ConfigProblem } from './errors.ts';
import { nearest } from './nearest.ts';

export { ByteSize, Duration, Listen, Port, Secret } from './config-fields.ts';
export { ConfigError } from './errors.ts';

export type ConfigInput = {
  /** The YAML text; absent or empty means defaults and environment alone. */
  text?: string;
  /** Name of the text in messages, usually the path of the file. */
  source?: string;
  env: Record<string, string | undefined>;
  /** Which program reads it; a top-level `kind` in the file must then say the same. */
  kind?: 'hub' | 'agent';
};

/**
 * Reads a configuration: YAML text, then environment variables `FLOTILLA_<SECTION>_<KEY>` over
 * it, then defaults of the schema. Sizes and durations come out as numbers (bytes, ms).
 * @throws ConfigError with all problems: unknown keys and variables, missing and unfit values
 */
export function loadConfig<S extends TObject>(schema: S, input: ConfigInput): Static<S> {
  const source = input.source ?? 'configuration';
  const root = viewOf(schema);
  const document = parseDocumentText(input.text ?? '', source);
  const reader = new Reader(root, document, input);
  const value = reader.read();
  if (reader.problems.length > 0) throw new ConfigError(source, reader.problems);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- checked key by key above
  return value as Static<S>;
}

class Reader {
  readonly problems: ConfigProblem[] = [];
  readonly #root: SchemaView;
  readonly #document: ConfigDocument;
  readonly #input: ConfigInput;

  constructor(root: SchemaView, document: ConfigDocument, input: ConfigInput) {
    this.#root = root;
    this.#document = document;
    this.#input = input;
  }

  read(): unknown {
    const value = this.#takeKind(this.#document.value);
    const result = this.#section(this.#root, value, []);
    this.#checkEnvironment();
    return result;
  }

  #takeKind(value: unknown): unknown {
    if (!isPlainObject(value) || this.#root.properties?.['kind'] !== undefined) return value;
    const { kind, ...rest } = value;
    if (kind === undefined) return value;
    const wanted = this.#input.kind;
    if (kind !== 'hub' && kind !== 'agent') {
      this.#report(['kind'], 'must be hub or agent');
    } else if (wanted !== undefined && kind !== wanted) {
      this.#report(['kind'], `this is a configuration for the ${kind}, not for the ${wanted}`);
    }
    return rest;
  }

  #section(schema: SchemaView, given: unknown, path: KeyPath): unknown {
    if (given !== undefined && given !== null && !isPlainObject(given)) {
      this.#report(path, 'must be a section with keys below it');
      return undefined;
    }
    const value = isPlainObject(given) ? given : {};
    const properties = schema.properties ?? {};
    for (const key of Object.keys(value)) {
      if (!Object.hasOwn(properties, key)) this.#reportUnknown(schema, path, key);
    }
    const result: Record<string, unknown> = {};
    for (const [key, child] of Object.entries(properties)) {
      const childPath = [...path, key];
      const required = schema.required?.includes(key) === true;
      const own = Object.hasOwn(value, key) ? value[key] : undefined;
      const read = this.#value(child, own, childPath, required);
      if (read !== undefined) result[key] = read;
    }
    return result;
  }

  #value(schema: SchemaView, given: unknown, path: KeyPath, required: boolean): unknown {
    if (isSection(schema)) {
      const wanted = required || schema.default !== undefined;
      const absent = given === undefined && !this.#hasEnvironment(schema, path);
      if (absent && !wanted) return undefined;
      return this.#section(schema, given ?? schema.default, path);
    }
    const fromEnv = this.#environment(schema, path);
    const written = fromEnv === undefined ? given : fromEnv;
    const value = written === undefined || written === null ? schema.default : written;
    if (value === undefined) {
      const hint = schema.description === undefined ? '' : `: ${schema.description}`;
      if (required) this.#report(path, `is required${hint}`);
      return undefined;
    }
    return this.#leaf(schema, value, path);
  }

  #leaf(schema: SchemaView, value: unknown, path: KeyPath): unknown {
    if (schema.type === 'array' && schema.items !== undefined) {
      return this.#list(schema, schema.items, value, path);
    }
    if (schema.patternProperties !== undefined) return this.#record(schema, value, path);
    const decoded = decodeLeaf(schema, value);
    if ('value' in decoded) return decoded.value;
    this.#report(path, decoded.problem);
    return undefined;
  }

  #list(schema: SchemaView, items: SchemaView, value: unknown, path: KeyPath): unknown {
    if (!Array.isArray(value)) {
      this.#report(path, 'must be a list');
      return undefined;
    }
    const { minItems = 0, maxItems = Number.POSITIVE_INFINITY } = schema;
    if (value.length < minItems) this.#report(path, `needs at least ${minItems} entries`);
    if (value.length > maxItems) {
      this.#report(path, `takes at most ${maxItems} entries, not ${value.length}`);
      return undefined;
    }
    return value.map((item: unknown, index) => this.#value(items, item, [...path, index], true));
  }

  #record(schema: SchemaView, value: unknown, path: KeyPath): unknown {
    if (!isPlainObject(value)) {
      this.#report(path, 'must be a section with keys below it');
      return undefined;
    }
    const patterns = Object.entries(schema.patternProperties ?? {});
    const result: Record<string, unknown> = Object.create(null);
    for (const [key, item] of Object.entries(value)) {
      const match = patterns.find(([pattern]) => new RegExp(pattern, 'u').test(key));
      if (match === undefined) this.#report([...path, key], 'is not a valid name here');
      else result[key] = this.#value(match[1], item, [...path, key], true);
    }
    return result;
  }

  /** The variable's value, undefined when unset or empty. Lists and records count as a whole. */
  #environment(schema: SchemaView, path: KeyPath): unknown {
    if (path.some((key) => typeof key === 'number')) return undefined;
    const text = this.#input.env[envName(path)];
    if (text === undefined || text === '') return undefined;
    const read = readEnvText(schema, text);
    if ('value' in read) return read.value;
    this.#report(path, read.problem);
    return undefined;
  }

  #hasEnvironment(schema: SchemaView, path: KeyPath): boolean {
    if (path.some((key) => typeof key === 'number')) return false;
    for (const leaf of leavesOf(schema)) {
      const text = this.#input.env[envName([...path, ...leaf.path])];
      if (text !== undefined && text !== '') return true;
    }
    return false;
  }

  /** Refuses variables of our sections, or close to one of our names, that name no key. */
  #checkEnvironment(): void {
    const known = new Set([...leavesOf(this.#root)].map((leaf) => envName(leaf.path)));
    const sections = Object.keys(this.#root.properties ?? {}).map((key) => `${envName([key])}_`);
    for (const [name, text = ''] of Object.entries(this.#input.env)) {
      if (!name.startsWith('FLOTILLA_') || known.has(name)) continue;
      if (isServiceLink(name, text)) continue;
      const meant = nearest(name, known);
      const ours = sections.some((section) => name.startsWith(section));
      if (!ours && meant === undefined) continue;
      const hint = meant === undefined ? '' : `; did you mean ${meant}?`;
      this.#push({ path: '', message: `unknown variable${hint}`, origin: { env: name } });
    }
  }

  #reportUnknown(schema: SchemaView, path: KeyPath, key: string): void {
    const siblings = Object.keys(schema.properties ?? {});
    const sibling = nearest(key, siblings);
    const elsewhere = [...leavesOf(this.#root)].find((leaf) => leaf.path.at(-1) === key);
    const meant =
      sibling !== undefined ? pathText([...path, sibling]) : elsewhere && pathText(elsewhere.path);
    const hint = meant === undefined ? `; known here: ${siblings.join(', ')}` : undefined;
    this.#report([...path, key], `unknown key${hint ?? `; did you mean ${meant}?`}`);
  }

  #report(path: KeyPath, message: string): void {
    const keys = path.filter((key) => typeof key === 'string');
    const name = envName(keys);
    const fromEnv = keys.length === path.length && (this.#input.env[name] ?? '') !== '';
    const line = this.#document.lineOf(path);
    const origin = fromEnv ? { env: name } : line === undefined ? undefined : { line };
    this.#push({ path: pathText(path), message, origin });
  }

  #push(problem: ConfigProblem): void {
    if (this.problems.length < CONFIG_PROBLEMS_MAX) this.problems.push(problem);
  }
}

/** Kubernetes sets such variables for a Service named flotilla-hub in the same namespace. */
function isServiceLink(name: string, text: string): boolean {
  if (/^(tcp|udp):\/\//.test(text)) return true;
  return /_SERVICE_(HOST|PORT)(_|$)|_PORT_\d+_(TCP|UDP)(_|$)/.test(name);
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
