import type { TObject } from 'typebox';
import type { FieldKind } from './config-fields.ts';

/** The part of a JSON schema the configuration reader looks at. */
export type SchemaView = {
  type?: string;
  description?: string;
  default?: unknown;
  flotilla?: FieldKind;
  properties?: Record<string, SchemaView>;
  required?: readonly string[];
  patternProperties?: Record<string, SchemaView>;
  items?: SchemaView;
  minItems?: number;
  maxItems?: number;
  minimum?: number;
  maximum?: number;
  anyOf?: readonly SchemaView[];
  enum?: readonly unknown[];
  const?: unknown;
};

export type KeyPath = readonly (string | number)[];

/** The schema as the reader sees it; TypeBox schemas are plain JSON schema objects. */
export function viewOf(schema: TObject): SchemaView {
  return schema;
}

/** True for a section: an object with named keys. */
export function isSection(schema: SchemaView): boolean {
  return schema.properties !== undefined;
}

/** The values a key may have when it is a choice, else undefined. */
export function choicesOf(schema: SchemaView): readonly unknown[] | undefined {
  if (schema.enum !== undefined) return schema.enum;
  if (schema.const !== undefined) return [schema.const];
  const consts = schema.anyOf?.map((part) => part.const);
  return consts !== undefined && consts.every((value) => value !== undefined) ? consts : undefined;
}

/** `hub`, `externalUrl` -> `FLOTILLA_HUB_EXTERNAL_URL`. */
export function envName(path: KeyPath): string {
  const words = path.map((key) => String(key).replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2'));
  return `FLOTILLA_${words.join('_').replaceAll('-', '_').toUpperCase()}`;
}

/** `upstreams`, 0, `url` -> `upstreams[0].url`. */
export function pathText(path: KeyPath): string {
  let text = '';
  for (const key of path) {
    if (typeof key === 'number') text += `[${key}]`;
    else text += text === '' ? key : `.${key}`;
  }
  return text;
}

/** Every key that is not a section, in the order of the schema. Lists count as one key. */
export function* leavesOf(
  schema: SchemaView,
  path: readonly string[] = [],
): Generator<{ path: readonly string[]; schema: SchemaView; required: boolean }> {
  for (const [key, child] of Object.entries(schema.properties ?? {})) {
    const childPath = [...path, key];
    if (isSection(child)) yield* leavesOf(child, childPath);
    else {
      const required = schema.required?.includes(key) === true && child.default === undefined;
      yield { path: childPath, schema: child, required };
    }
  }
}
