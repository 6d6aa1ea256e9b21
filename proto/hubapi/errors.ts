import { CodedError } from '../std/errors.ts';

/** Thrown when a body of the fleet API is not what its schema says. */
export class HubApiError extends CodedError<{ code: 'INVALID_BODY' }> {
  override readonly name = 'HubApiError';
}
