import type { TSchema } from 'typebox';
import type { TLocalizedValidationError } from 'typebox/error';

const UNKNOWN_TOLD_MAX = 5;
const UNKNOWN_TOLD_CHARS = 64;

/**
 * What is wrong with a body, for whoever wrote it: an unknown field before what is lacking, since
 * it often is that one misspelt; else the first that was found. `what`: the body as a whole.
 */
export function problemOf(
  schema: TSchema,
  errors: readonly TLocalizedValidationError[],
  what: string,
): string {
  const [first] = errors;
  for (const error of errors) {
    if (error.keyword !== 'additionalProperties') continue;
    const { instancePath, schemaPath, params } = error;
    return `${instancePath || what}: ${unknownText(params.additionalProperties, {
      known: fieldsAt(schema, schemaPath),
    })}`;
  }
  if (first === undefined) return `${what}: invalid`;
  return `${first.instancePath || what}: ${constantsText(errors) ?? first.message}`;
}

function unknownText(unknown: readonly string[], { known }: { known: readonly string[] }): string {
  const told = unknown.slice(0, UNKNOWN_TOLD_MAX).map((name) => {
    return JSON.stringify(name.slice(0, UNKNOWN_TOLD_CHARS));
  });
  const more = unknown.length - told.length;
  const names = `${told.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
  const fields = known.length === 0 ? 'there are none' : `there are ${known.join(', ')}`;
  return `unknown field${unknown.length > 1 ? 's' : ''} ${names}; ${fields}`;
}

/** Where a value has to be one of a few. */
function constantsText(errors: readonly TLocalizedValidationError[]): string | undefined {
  const values = [];
  for (const { instancePath, keyword, params } of errors) {
    if (instancePath !== errors[0]?.instancePath || keyword === 'anyOf') continue;
    if (keyword !== 'const') return undefined;
    values.push(JSON.stringify(params.allowedValue));
  }
  return values.length === 0 ? undefined : `must be ${values.join(' or ')}`;
}

/** Names of the fields of an object somewhere in a schema; `path` as in `#/properties/settings`. */
function fieldsAt(schema: TSchema, path: string): string[] {
  let at: unknown = schema;
  for (const step of path.split('/').slice(1)) {
    at = memberOf(at, step.replaceAll('~1', '/').replaceAll('~0', '~'));
  }
  return Object.keys(Object(memberOf(at, 'properties')));
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? Reflect.get(value, name)
    : undefined;
}
