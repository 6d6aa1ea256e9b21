import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { PullLimit } from './pull-counts.ts';

const TOKEN_SECONDS = 300;
const FORM_MAX_BYTES = 64 * 1024;

/** `limit` undefined: a plan without one, and then no answer names any. */
export type Account = { password: string; id: string; limit: PullLimit | undefined };

/** Who asks, as the token says it. */
export type Caller = { account: string | undefined; repositories: ReadonlySet<string> };

type Login = { username: string; password: string };

/** Where clients get a token for the registry; it is a host of its own. */
export class TokenService {
  readonly #now: () => number;
  readonly #accounts: ReadonlyMap<string, Account>;
  readonly #mayPull: (account: string | undefined, repository: string) => boolean;
  readonly #tokens = new Map<string, Caller & { endsAt: number }>();
  issued = 0;

  constructor(
    options: { now: () => number; accounts: ReadonlyMap<string, Account> },
    modules: { mayPull: (account: string | undefined, repository: string) => boolean },
  ) {
    this.#now = options.now;
    this.#accounts = options.accounts;
    this.#mayPull = modules.mayPull;
  }

  /** undefined for a token that is unknown or has ended. */
  callerOf(authorization: string | undefined): Caller | undefined {
    const token = /^Bearer (.+)$/i.exec(authorization ?? '')?.[1] ?? '';
    const found = this.#tokens.get(token);
    return found !== undefined && this.#now() < found.endsAt ? found : undefined;
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<number> {
    const url = new URL(request.url ?? '/', 'http://token');
    const form = request.method === 'POST' ? new URLSearchParams(await textOf(request)) : undefined;
    if (url.pathname !== '/token') return reply(response, 404, { details: 'not found' });
    const asked = form ?? url.searchParams;
    const login = form === undefined ? basicOf(request.headers.authorization) : formLogin(form);
    const account = login === undefined ? undefined : this.#accounts.get(login.username);
    if (login !== undefined && account?.password !== login.password) {
      return reply(response, 401, { details: 'incorrect username or password' });
    }
    const scopes = asked.getAll('scope').flatMap((scope) => scope.split(' '));
    const wanted = scopes.flatMap((scope) => repositoryOf(scope) ?? []);
    const who = login?.username;
    const repositories = new Set(wanted.filter((name) => this.#mayPull(who, name)));
    const token = randomBytes(24).toString('base64url');
    const now = this.#now();
    this.#tokens.set(token, { account: who, repositories, endsAt: now + TOKEN_SECONDS * 1000 });
    this.issued += 1;
    return reply(response, 200, {
      token,
      access_token: token,
      expires_in: TOKEN_SECONDS,
      issued_at: new Date(now).toISOString(),
    });
  }
}

function repositoryOf(scope: string): string | undefined {
  const actions = scope.slice(scope.lastIndexOf(':') + 1).split(',');
  if (!scope.startsWith('repository:') || !actions.includes('pull')) return undefined;
  return scope.slice('repository:'.length, scope.lastIndexOf(':'));
}

function basicOf(authorization: string | undefined): Login | undefined {
  const encoded = /^Basic (.+)$/i.exec(authorization ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const [username = '', ...rest] = Buffer.from(encoded, 'base64').toString().split(':');
  return { username, password: rest.join(':') };
}

function formLogin(form: URLSearchParams): Login | undefined {
  const username = form.get('username');
  return username === null ? undefined : { username, password: form.get('password') ?? '' };
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const part of request.setEncoding('utf8')) {
    text += String(part);
    if (text.length > FORM_MAX_BYTES) break;
  }
  return text;
}

function reply(response: ServerResponse, status: number, body: object): number {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
  return status;
}
