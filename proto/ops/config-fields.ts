import type { TUnsafe } from 'typebox';
import { Type } from 'typebox';

/** How a text in the file becomes the value the program uses. */
export type FieldKind = 'byte-size' | 'duration' | 'listen' | 'secret';

type FieldOptions<D> = {
  description: string;
  /** As written in the file, such as `512MiB`. Without it the key is required. */
  default?: D;
};

type SizedOptions = FieldOptions<string> & {
  /** Bounds in the decoded unit: bytes or milliseconds, both inclusive. */
  minimum?: number;
  maximum?: number;
};

/** A size written as `512MiB`, `10GB` or plain bytes; decoded to bytes. */
export function ByteSize(options: SizedOptions): TUnsafe<number> {
  return Type.Unsafe<number>({ ...options, type: 'string', flotilla: 'byte-size' });
}

/** A time span written as `250ms`, `30s`, `5m`, `24h`, `7d`; decoded to milliseconds. */
export function Duration(options: SizedOptions): TUnsafe<number> {
  return Type.Unsafe<number>({ ...options, type: 'string', flotilla: 'duration' });
}

/** A port number; 0 asks the system for a free one. */
export function Port(options: FieldOptions<number>): TUnsafe<number> {
  return Type.Unsafe<number>({ ...options, type: 'integer', minimum: 0, maximum: 65_535 });
}

/** A listen address such as `127.0.0.1:7410`, `[::1]:7410` or `:7400`; stays text. */
export function Listen(options: FieldOptions<string>): TUnsafe<string> {
  return Type.Unsafe<string>({ ...options, type: 'string', flotilla: 'listen' });
}

/** A text that is never shown: passwords, tokens. Prefer a key that names a file. */
export function Secret(options: FieldOptions<string>): TUnsafe<string> {
  return Type.Unsafe<string>({ ...options, type: 'string', flotilla: 'secret' });
}
