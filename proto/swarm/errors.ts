import { CodedError } from '../std/errors.ts';

/** What a peer did wrong on the wire. */
export type SwarmCode =
  /** A frame claims more bytes than its limit. */
  | 'FRAME_TOO_LARGE'
  /** A length that is no canonical unsigned varint. */
  | 'FRAME_MALFORMED'
  /** More unread bytes than the reader may hold. */
  | 'FRAME_OVERFLOW'
  /** A message that does not decode or has a field out of range. */
  | 'BAD_MESSAGE'
  /** A bitmap of the wrong length, or with bits beyond its end. */
  | 'BAD_BITMAP';

/** Thrown by the decoders of this room. */
export class SwarmError extends CodedError<{ code: SwarmCode }> {
  override readonly name = 'SwarmError';
}
