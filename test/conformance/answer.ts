import { fail } from './check.ts';

/** What a registry said to one request, after redirects. */
export type Answer = {
  method: string;
  /** Path and query that were asked for. */
  path: string;
  /** Where the answer came from in the end. */
  url: URL;
  status: number;
  /** All values of a header, lower-case name. */
  all(name: string): readonly string[];
  body: Buffer;
};

const BODY_SHOWN_CHARS = 200;
const PATH_SHOWN_CHARS = 160;
/** The list of distribution-spec "Error Codes", and the legacy ones that clients may meet. */
const CODES = new Set([
  'BLOB_UNKNOWN',
  'BLOB_UPLOAD_INVALID',
  'BLOB_UPLOAD_UNKNOWN',
  'DIGEST_INVALID',
  'MANIFEST_BLOB_UNKNOWN',
  'MANIFEST_INVALID',
  'MANIFEST_UNKNOWN',
  'NAME_INVALID',
  'NAME_UNKNOWN',
  'SIZE_INVALID',
  'UNAUTHORIZED',
  'DENIED',
  'UNSUPPORTED',
  'TOOMANYREQUESTS',
  'TAG_INVALID',
  'MANIFEST_UNVERIFIED',
]);

/** The value of a header; several are joined as RFC 9110 section 5.3 has it. */
export function headerOf(answer: Answer, name: string): string | undefined {
  const values = answer.all(name);
  return values.length === 0 ? undefined : values.join(', ');
}

export function isJson(answer: Answer): boolean {
  return /^application\/(?:[\w.-]+\+)?json\b/.test(headerOf(answer, 'content-type') ?? '');
}

/** One line about an answer, for messages. */
export function describeAnswer(answer: Answer): string {
  const text = answer.body.subarray(0, BODY_SHOWN_CHARS).toString().replaceAll(/\s+/g, ' ').trim();
  const body = /[^ -~]/.test(text) || text === '' ? '' : `: ${text}`;
  return `${requestOf(answer)} was answered ${answer.status}${body}`;
}

/** Method and path, the latter cut when it is long. */
export function requestOf({ method, path }: Answer): string {
  const cut = path.length > PATH_SHOWN_CHARS ? `${path.slice(0, PATH_SHOWN_CHARS)}...` : path;
  return `${method} ${cut}`;
}

/** Fails unless the status is one of these. */
export function expectStatus(answer: Answer, ...statuses: number[]): void {
  if (statuses.includes(answer.status)) return;
  fail(`${describeAnswer(answer)}; expected ${statuses.join(' or ')}`);
}

/** Fails unless the request was refused as the client's mistake. */
export function expectRefused(answer: Answer): void {
  if (answer.status >= 400 && answer.status <= 499) return;
  fail(`${describeAnswer(answer)}; expected a status of 400 to 499`);
}

/** Fails unless the header is there, and is what is wanted if something is. */
export function expectHeader(answer: Answer, name: string, wanted?: string | RegExp): string {
  const value = headerOf(answer, name);
  const asked = requestOf(answer);
  if (value === undefined) fail(`${asked}: no header ${name}`);
  const good = typeof wanted === 'string' ? value === wanted : (wanted?.test(value) ?? true);
  if (!good) fail(`${asked}: header ${name} is "${value}", not ${String(wanted)}`);
  return value;
}

/** Fails when the header is there and is not this. */
export function expectHeaderIfAny(answer: Answer, name: string, wanted: string): void {
  if (headerOf(answer, name) !== undefined) expectHeader(answer, name, wanted);
}

export function expectBody(answer: Answer, bytes: Buffer): void {
  if (answer.body.equals(bytes)) return;
  const { body } = answer;
  fail(`${requestOf(answer)}: ${body.length} bytes that are not the ${bytes.length} expected`);
}

/** The URL of the Location header, which may be relative; fails without one. */
export function locationOf(answer: Answer): URL {
  const text = expectHeader(answer, 'location');
  if (!URL.canParse(text, answer.url.href)) fail(`Location "${text}" is no URL`);
  return new URL(text, answer.url);
}

/** The same URL with one more parameter; what was there stays as it is. */
export function withParameter(url: URL, name: string, value: string): URL {
  const next = new URL(url);
  const mark = next.search === '' ? '?' : '&';
  next.search += `${mark}${name}=${encodeURIComponent(value)}`;
  return next;
}

/** The members of a JSON object; fails when it is none. */
export function objectOf(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    fail(`${what} is not a JSON object`);
  }
  return { ...value };
}

export function jsonOf(answer: Answer): Readonly<Record<string, unknown>> {
  const what = `the body of ${requestOf(answer)}`;
  return objectOf(parsed(answer.body) ?? fail(`${what} is not JSON`), what);
}

/** The codes of an error body; none when it is in another format. */
export function errorCodesOf(answer: Answer): string[] {
  const value = parsed(answer.body);
  if (typeof value !== 'object' || value === null || !('errors' in value)) return [];
  const errors: unknown[] = Array.isArray(value.errors) ? value.errors : [];
  return errors.map((error) => String(objectOf(error, 'an error')['code']));
}

/** What is wrong with a JSON error body (distribution-spec "Error Codes"), if anything is. */
export function messageOfErrorBody(bytes: Buffer): string | undefined {
  const value = parsed(bytes);
  if (typeof value !== 'object' || value === null || !('errors' in value)) {
    return 'an error in JSON without "errors"';
  }
  const { errors } = value;
  if (!Array.isArray(errors) || errors.length === 0) return '"errors" is not a list of errors';
  for (const error of errors) {
    const { code, message } = objectOf(error, 'an error');
    if (typeof code !== 'string' || !CODES.has(code)) {
      return `${JSON.stringify(code)} is not one of the codes of the specification`;
    }
    if (message !== undefined && typeof message !== 'string') return '"message" is not text';
  }
  return undefined;
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}
