import type { TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { parse as parseYaml } from 'yaml';
import { messageOf } from '../std/errors.ts';
import { formatByteSize, parseByteSize } from '../std/byte-size.ts';
import { formatDuration, parseDuration } from '../std/duration.ts';
import { choicesOf } from './config-schema.ts';
import type { SchemaView } from './config-schema.ts';
import { parseListen } from './listen.ts';
import { nearest } from './nearest.ts';

/** A value that fits, or the sentence that says why it does not. */
export type Decoded = { value: unknown } | { problem: string };

/** Turns one written value into the value the program uses, checking it against its schema. */
export function decodeLeaf(schema: SchemaView, value: unknown): Decoded {
  switch (schema.flotilla) {
    case 'byte-size':
      return decodeSized(schema, value, 'a size such as 512MiB', parseByteSize, formatByteSize);
    case 'duration':
      return decodeSized(schema, value, 'a duration such as 30s', parseDuration, formatDuration);
    case 'listen':
      return decodeListen(value);
    default:
      return decodePlain(schema, value);
  }
}

/** Reads the text of an environment variable as the schema's type wants it. */
export function readEnvText(schema: SchemaView, text: string): Decoded {
  if (schema.type === 'string') return { value: text };
  const choices = choicesOf(schema);
  if (choices !== undefined && choices.every((choice) => typeof choice === 'string')) {
    return { value: text };
  }
  if (schema.type === 'array' && schema.items?.type === 'string' && !/^\s*\[/.test(text)) {
    const items = text.split(',').map((item) => item.trim());
    return { value: items.filter((item) => item !== '') };
  }
  try {
    return { value: parseYaml(text) as unknown };
  } catch (err) {
    return { problem: `cannot be read: ${messageOf(err)}` };
  }
}

function decodeSized(
  schema: SchemaView,
  value: unknown,
  wanted: string,
  parse: (text: string) => number,
  format: (n: number) => string,
): Decoded {
  if (typeof value !== 'string' && typeof value !== 'number') {
    return { problem: `must be ${wanted}, not ${describe(value)}` };
  }
  let decoded: number;
  try {
    decoded = parse(String(value));
  } catch {
    return { problem: `must be ${wanted}, not ${describe(value)}` };
  }
  if (schema.minimum !== undefined && decoded < schema.minimum) {
    return { problem: `must be at least ${format(schema.minimum)}, not ${describe(value)}` };
  }
  if (schema.maximum !== undefined && decoded > schema.maximum) {
    return { problem: `must be at most ${format(schema.maximum)}, not ${describe(value)}` };
  }
  return { value: decoded };
}

function decodeListen(value: unknown): Decoded {
  if (typeof value !== 'string') {
    return { problem: `must be an address such as 127.0.0.1:7410, not ${describe(value)}` };
  }
  try {
    parseListen(value);
    return { value };
  } catch (err) {
    return { problem: messageOf(err) };
  }
}

function decodePlain(schema: SchemaView, value: unknown): Decoded {
  const choices = choicesOf(schema);
  if (choices !== undefined) {
    if (choices.includes(value)) return { value };
    const meant = typeof value === 'string' ? nearest(value, choices.map(String)) : undefined;
    const hint = meant === undefined ? '' : `; did you mean ${meant}?`;
    return { problem: `must be one of ${choices.join(', ')}, not ${describe(value)}${hint}` };
  }
  if (schema.flotilla === 'secret' && typeof value !== 'string') {
    return { problem: 'must be a text; put it in quotes' };
  }
  if (schema.type === 'string' && typeof value !== 'string') {
    const quote = typeof value === 'number' || typeof value === 'boolean';
    return {
      problem: `must be a text, not ${describe(value)}${quote ? '; put it in quotes' : ''}`,
    };
  }
  const faults = Value.Errors<TSchema>(schema, value);
  const fault = faults[0];
  if (fault === undefined) return { value };
  const shown = schema.flotilla === 'secret' ? '' : `, not ${describe(value)}`;
  return { problem: `${fault.message}${shown}` };
}

function describe(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a section';
  return JSON.stringify(value);
}
