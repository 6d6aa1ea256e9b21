import { request } from 'undici';
import { API_ANSWER_MAX_BYTES, ApiProblem } from '../hubapi/admin.ts';
import { checkBody } from '../hubapi/body.ts';
import { deadline } from '../std/abort.ts';
import { boundedBytes } from '../std/bounded-bytes.ts';
import type { AdminRequest } from './admin-commands.ts';
import { JOIN_TOKEN_REQUEST_TIMEOUT_MS } from './constants.ts';
import { AdminError, type AdminTarget } from './join-token-request.ts';

/**
 * One operation of the administration of a running hub; its JSON, undefined when there is none.
 * @throws AdminError HUB_UNREACHABLE, HUB_REFUSED
 */
export async function askAdministration(
  target: AdminTarget,
  wanted: AdminRequest,
): Promise<unknown> {
  const { url, username, password, dispatcher } = target;
  const basic = Buffer.from(`${username}:${password}`).toString('base64');
  using limit = deadline(JOIN_TOKEN_REQUEST_TIMEOUT_MS);
  let status: number;
  let text: string;
  try {
    const body = wanted.body === undefined ? null : JSON.stringify(wanted.body);
    const response = await request(new URL(wanted.path, url), {
      method: wanted.method,
      headers: {
        authorization: `Basic ${basic}`,
        ...(body === null ? {} : { 'content-type': 'application/json' }),
      },
      body,
      signal: limit.signal,
      ...(dispatcher === undefined ? {} : { dispatcher }),
    });
    status = response.statusCode;
    text = (await boundedBytes(response.body, API_ANSWER_MAX_BYTES)).toString('utf8');
  } catch (cause) {
    const message = `no answer from the hub at ${url}; see that it runs and is trusted here`;
    throw new AdminError(message, { code: 'HUB_UNREACHABLE', url }, { cause });
  }
  const data = { code: 'HUB_REFUSED', url, status } as const;
  if (status < 200 || status >= 300) throw new AdminError(refusalOf(text, status), data);
  try {
    return text === '' ? undefined : JSON.parse(text);
  } catch (cause) {
    const message = `what answers at ${url} is no hub; see that this is its address`;
    throw new AdminError(message, data, { cause });
  }
}

function refusalOf(text: string, status: number): string {
  try {
    const { error } = checkBody(ApiProblem, JSON.parse(text));
    return `the hub refused: ${error.message}`;
  } catch {
    return `the hub answered ${status}`;
  }
}
