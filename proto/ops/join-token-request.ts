import { request } from 'undici';
import type { Dispatcher } from 'undici';
import { parseBody } from '../hubapi/body.ts';
import {
  JOIN_TOKENS_PATH,
  JOIN_TOKEN_BODY_MAX_BYTES,
  JoinTokenResponse,
} from '../hubapi/join-tokens.ts';
import { deadline } from '../std/abort.ts';
import { boundedBytes } from '../std/bounded-bytes.ts';
import { CodedError } from '../std/errors.ts';
import { JOIN_TOKEN_REQUEST_TIMEOUT_MS } from './constants.ts';

type AdminErrorData =
  | { code: 'HUB_UNREACHABLE'; url: string }
  | { code: 'HUB_REFUSED'; url: string; status: number };

/** The hub did not give what its administrator asked for. */
export class AdminError extends CodedError<AdminErrorData> {}

/** Whether the same request may be answered a little later. */
export function isPassing(err: unknown): boolean {
  if (!(err instanceof AdminError)) return false;
  return err.data.code === 'HUB_UNREACHABLE' || err.data.status >= 500;
}

export type AdminTarget = {
  /** Address of the hub, https://host[:port]. */
  url: string;
  username: string;
  password: string;
  /** Trust of its own, for a hub with a private certificate. */
  dispatcher?: Dispatcher;
};

/**
 * A new join token from a running hub.
 * @throws AdminError HUB_UNREACHABLE, HUB_REFUSED
 */
export async function requestJoinToken(
  target: AdminTarget,
  wanted: { uses: number; expiresInMs: number },
): Promise<string> {
  const { url, username, password } = target;
  const basic = Buffer.from(`${username}:${password}`).toString('base64');
  using limit = deadline(JOIN_TOKEN_REQUEST_TIMEOUT_MS);
  let status: number;
  let bytes: Buffer;
  try {
    const response = await request(new URL(JOIN_TOKENS_PATH, url), {
      method: 'POST',
      headers: { authorization: `Basic ${basic}`, 'content-type': 'application/json' },
      body: JSON.stringify(wanted),
      signal: limit.signal,
      ...(target.dispatcher === undefined ? {} : { dispatcher: target.dispatcher }),
    });
    status = response.statusCode;
    bytes = await boundedBytes(response.body, JOIN_TOKEN_BODY_MAX_BYTES);
  } catch (cause) {
    const message = `no answer from the hub at ${url}; see that it runs and is trusted here`;
    throw new AdminError(message, { code: 'HUB_UNREACHABLE', url }, { cause });
  }
  if (status === 201) return parseBody(JoinTokenResponse, bytes).token;
  const data = { code: 'HUB_REFUSED', url, status } as const;
  if (status === 401) {
    throw new AdminError(
      `the hub at ${url} does not accept the administrator's credentials; see the section access`,
      data,
    );
  }
  throw new AdminError(`the hub at ${url} answered ${status}: ${bytes.toString('utf8')}`, data);
}
