import { request, type Dispatcher } from 'undici';
import { parseChallenges } from '../../proto/distribution/challenge.ts';
import { ConformanceError } from './errors.ts';

export type Credentials = { username: string; password: string };

/**
 * The Authorization header that answers a challenge: Basic, or the token of the service it names.
 * Undefined when it asks for neither, or for a password that we do not have.
 * @throws ConformanceError LOGIN_REFUSED for a service that refuses the password, or that is on
 * another host without TLS
 */
export async function answerChallenge(
  header: string,
  options: {
    origin: string;
    credentials: Credentials | undefined;
    dispatcher: Dispatcher;
    /** Rights needed beside those the challenge names. */
    scopes: readonly string[];
  },
): Promise<string | undefined> {
  const { credentials } = options;
  const basic = credentials && basicOf(credentials);
  for (const { scheme, parameters } of parseChallenges(header)) {
    if (scheme === 'basic' && basic !== undefined) return basic;
    const realm = parameters.get('realm');
    if (scheme !== 'bearer' || realm === undefined) continue;
    const url = tokenUrl(realm, parameters, options);
    // oxlint-disable-next-line no-await-in-loop -- the first challenge that can be answered is
    return `Bearer ${await fetchToken(url, basic, options.dispatcher)}`;
  }
  return undefined;
}

function tokenUrl(
  realm: string,
  parameters: ReadonlyMap<string, string>,
  { origin, scopes }: { origin: string; scopes: readonly string[] },
): URL {
  if (!URL.canParse(realm)) throw refused(`the token service "${realm}" has no URL`);
  const url = new URL(realm);
  if (url.origin !== origin && url.protocol !== 'https:') {
    throw refused(`the token service ${url.origin} is another host, and without TLS`);
  }
  const service = parameters.get('service');
  if (service !== undefined) url.searchParams.set('service', service);
  const asked = (parameters.get('scope') ?? '').split(' ').filter((scope) => scope !== '');
  for (const scope of [...asked, ...scopes]) url.searchParams.append('scope', scope);
  return url;
}

async function fetchToken(
  url: URL,
  basic: string | undefined,
  dispatcher: Dispatcher,
): Promise<string> {
  const headers: Record<string, string> = basic === undefined ? {} : { authorization: basic };
  const { statusCode, body } = await request(url, { headers, dispatcher });
  const text = await body.text();
  if (statusCode === 401 || statusCode === 403) {
    throw refused(`the token service ${url.origin} refuses this user name and password`);
  }
  const token = statusCode === 200 ? tokenIn(text) : undefined;
  if (token === undefined) {
    throw refused(`the token service ${url.origin} gave no token, it answered ${statusCode}`);
  }
  return token;
}

function tokenIn(text: string): string | undefined {
  try {
    const { token, access_token: other }: Record<string, unknown> = JSON.parse(text);
    const found = token ?? other;
    return typeof found === 'string' && /^[\x21-\x7e]+$/.test(found) ? found : undefined;
  } catch {
    return undefined;
  }
}

function basicOf({ username, password }: Credentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function refused(message: string): Error {
  return new ConformanceError(message, { code: 'LOGIN_REFUSED' });
}
