import { ociError } from './errors.ts';

const KEY_SHOWN_CHARS = 64;

/** Keys a client knows, found again in any case. */
export type KnownKeys = ReadonlyMap<string, string>;

export function knownKeys(...keys: string[]): KnownKeys {
  return new Map(keys.map((key) => [fold(key), key]));
}

/**
 * The members of one JSON object of a manifest, each read with its type or refused. An absent
 * member and null are the same, as they are to Go's decoder, which most clients use. That decoder
 * also ignores the case of keys, so a known key in another case is refused: the client would read
 * what we did not.
 */
export class JsonFields {
  readonly #fields: ReadonlyMap<string, unknown>;
  readonly #where: string;

  /** @throws OciError MANIFEST_INVALID unless `value` is an object; so do the methods */
  constructor(value: unknown, where: string, known?: KnownKeys) {
    this.#where = where;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw invalid(`${where === '' ? 'manifest' : where} is not an object`);
    }
    this.#fields = new Map(Object.entries(value));
    for (const key of this.#fields.keys()) {
      const meant = known?.get(fold(key)) ?? key;
      if (meant !== key) throw invalid(`${this.#path(key)} is another spelling of ${meant}`);
    }
  }

  has(key: string): boolean {
    return this.#fields.has(key);
  }

  /** What the member is, null as undefined. */
  value(key: string): unknown {
    return this.#fields.get(key) ?? undefined;
  }

  text(key: string): string | undefined {
    const value = this.value(key);
    if (value === undefined || typeof value === 'string') return value;
    throw invalid(`${this.#path(key)} is not text`);
  }

  list(key: string): readonly unknown[] | undefined {
    const value = this.value(key);
    if (value === undefined || isList(value)) return value;
    throw invalid(`${this.#path(key)} is not a list`);
  }

  texts(key: string): string[] | undefined {
    const values = this.list(key);
    if (values === undefined) return undefined;
    if (values.every((value) => typeof value === 'string')) return [...values];
    throw invalid(`${this.#path(key)} holds something that is not text`);
  }

  /** An object all of whose members are text. */
  textMap(key: string): Record<string, string> | undefined {
    const value = this.value(key);
    if (value === undefined) return undefined;
    const inner = new JsonFields(value, this.#path(key));
    const entries = Array.from(inner.#fields.keys(), (name) => [name, inner.text(name) ?? '']);
    const map: Record<string, string> = Object.fromEntries(entries);
    return map;
  }

  /** A whole number from 0. */
  size(key: string): number {
    const value = this.value(key);
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
    throw invalid(`${this.#path(key)} is not a whole number of bytes`);
  }

  #path(key: string): string {
    const shown = key.slice(0, KEY_SHOWN_CHARS);
    return this.#where === '' ? shown : `${this.#where}.${shown}`;
  }
}

export function invalid(message: string): Error {
  return ociError('MANIFEST_INVALID', message);
}

/**
 * The numbers of a manifest are sizes. One written 1.0 or 1e3 is refused by strict decoders of
 * integers, so it is none here either.
 */
export function integerOrNaN(literal: string): number {
  return /^(?:0|[1-9]\d*)$/.test(literal) ? Number(literal) : Number.NaN;
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

/** Equal for texts that differ in case, the long s and the Kelvin sign included. */
function fold(text: string): string {
  return text.toUpperCase().toLowerCase();
}
