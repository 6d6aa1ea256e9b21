import { CodedError } from '../../proto/std/errors.ts';

/** The refusal of a blob that another hub goes on with. */
export function heldElsewhere(holder: string): Error {
  return new CodedError('another hub goes on with the blob', { code: 'HELD_ELSEWHERE', holder });
}

/** The hub that goes on with it. */
export function holderOf(err: unknown): string | undefined {
  if (!(err instanceof CodedError) || err.code !== 'HELD_ELSEWHERE') return undefined;
  const data: { holder?: unknown } = err.data;
  return typeof data.holder === 'string' && data.holder !== '' ? data.holder : undefined;
}
