import type { TObject } from 'typebox';
import type { SchemaView } from './config-schema.ts';
import { choicesOf, envName, isSection, leavesOf, pathText, viewOf } from './config-schema.ts';

/** One key of the configuration, as `flotilla config show` prints it. */
export type ConfigKey = {
  key: string;
  env: string;
  type: string;
  /** As written in the file; undefined when the key has none. */
  default: string | undefined;
  required: boolean;
  description: string;
};

/** Every key of a schema, in its order; the entries of lists are listed below their list. */
export function configKeys(schema: TObject): ConfigKey[] {
  return [...keysBelow(viewOf(schema), '')];
}

/** `list`: the list whose entries these are, empty for none. Entries have no variables. */
function* keysBelow(schema: SchemaView, list: string): Generator<ConfigKey> {
  for (const leaf of leavesOf(schema)) {
    const key = `${list}${pathText(leaf.path)}`;
    const env = list === '' ? envName(leaf.path) : '';
    yield { key, env, ...describeKey(leaf.schema, leaf.required) };
    const { items } = leaf.schema;
    if (items !== undefined && isSection(items)) yield* keysBelow(items, `${key}[].`);
  }
}

/** The reference of all keys as text for a terminal. */
export function formatReference(schema: TObject): string {
  const blocks = configKeys(schema).map((key) => {
    const fallback = key.required
      ? 'required'
      : key.default === undefined
        ? 'not set'
        : `default ${key.default}`;
    const lines = [key.key, `    ${key.type}, ${fallback}`];
    if (key.env !== '') lines.push(`    ${key.env}`);
    if (key.description !== '') lines.push(`    ${key.description}`);
    return lines.join('\n');
  });
  return `${blocks.join('\n\n')}\n`;
}

function describeKey(
  schema: SchemaView,
  required: boolean,
): Pick<ConfigKey, 'type' | 'default' | 'required' | 'description'> {
  const fallback = schema.default;
  return {
    type: typeText(schema),
    default: fallback === undefined ? undefined : defaultText(fallback),
    required,
    description: schema.description ?? '',
  };
}

function typeText(schema: SchemaView): string {
  const choices = choicesOf(schema);
  if (choices !== undefined) return `one of ${choices.join(', ')}`;
  if (schema.type === 'array') {
    return `list of ${schema.items === undefined ? 'values' : typeText(schema.items)}`;
  }
  if (schema.patternProperties !== undefined) return 'names with values';
  if (isSection(schema)) return 'sections';
  switch (schema.flotilla) {
    case 'byte-size':
      return 'size';
    case 'duration':
      return 'duration';
    case 'listen':
      return 'listen address';
    case 'secret':
      return 'secret text';
    default:
      return schema.type === 'string' ? 'text' : (schema.type ?? 'value');
  }
}

function defaultText(value: unknown): string {
  return typeof value === 'string' && value !== '' ? value : JSON.stringify(value);
}
