import { CodedError } from '../../proto/std/errors.ts';

type PrefetchProblem =
  /** The order or policy cannot be meant so. */
  | { code: 'INVALID' }
  /** There is no such image, order or policy, or not for who asks. */
  | { code: 'UNKNOWN' }
  | { code: 'FORBIDDEN' }
  /** It has ended already. */
  | { code: 'IN_USE' }
  | { code: 'FULL'; max: number };

/** Why an order or a policy is refused; the message is for who asked. */
export class PrefetchError extends CodedError<PrefetchProblem> {
  override readonly name = 'PrefetchError';
}

export function invalidOrder(message: string): PrefetchError {
  return new PrefetchError(message, { code: 'INVALID' });
}

export function unknown(message: string): PrefetchError {
  return new PrefetchError(message, { code: 'UNKNOWN' });
}
