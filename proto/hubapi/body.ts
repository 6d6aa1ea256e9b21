import type { Static, TSchema } from 'typebox';
import { Compile, type Validator } from 'typebox/compile';
import { messageOf } from '../std/errors.ts';
import { problemOf } from './body-problem.ts';
import { HubApiError } from './errors.ts';

// One validator for each schema of this room: bounded by their number.
const VALIDATORS = new WeakMap<TSchema, Validator>();

function validatorOf(schema: TSchema): Validator {
  let validator = VALIDATORS.get(schema);
  if (validator === undefined) {
    validator = Compile(schema);
    VALIDATORS.set(schema, validator);
  }
  return validator;
}

function fits<S extends TSchema>(schema: S, value: unknown): value is Static<S> {
  return validatorOf(schema).Check(value);
}

/**
 * Reads a JSON body of the fleet API. The caller has bounded its length.
 * @throws HubApiError INVALID_BODY, naming the first field that is wrong
 */
export function parseBody<S extends TSchema>(schema: S, bytes: Uint8Array): Static<S> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new HubApiError(`body is not JSON: ${messageOf(cause)}`, { code: 'INVALID_BODY' });
  }
  return checkBody(schema, value);
}

/**
 * Checks a decoded body against its schema; `what`: what it is called as a whole.
 * @throws HubApiError INVALID_BODY
 */
export function checkBody<S extends TSchema>(schema: S, value: unknown, what = 'body'): Static<S> {
  if (fits(schema, value)) return value;
  const message = problemOf(schema, validatorOf(schema).Errors(value), what);
  throw new HubApiError(message, { code: 'INVALID_BODY' });
}
