import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { AUTHORIZATION, startHubProcess } from '../durability/hub-process.ts';
import { TEST_CERTIFICATE, TEST_KEY } from '../../proto/distribution/test-certificate.ts';
import { DockerHub, type DockerHubOptions } from './docker-hub.ts';

/** What came of a request: `whole` is false when the connection ended before the body did. */
export type Answer = {
  status: number;
  headers: IncomingMessage['headers'];
  body: Buffer;
  sha256: string;
  whole: boolean;
};

export type HubInFront = { url: string; get: (path: string) => Promise<Answer> };

const TLS = { cert: TEST_CERTIFICATE, key: TEST_KEY };

/** Over TLS unless the options say otherwise. */
export async function standIn(t: TestContext, options: DockerHubOptions = {}): Promise<DockerHub> {
  const made = await DockerHub.start({ tls: TLS, ...options });
  t.after(() => made[Symbol.asyncDispose]());
  return made;
}

/** The entry of a stand-in in the configuration of a hub. */
export function entryOf(name: string, upstream: DockerHub, settings: object = {}): object {
  const { url, tokenUrl, cdnUrl } = upstream;
  return {
    name,
    url,
    tokenHosts: [new URL(tokenUrl).host],
    redirectHosts: [new URL(cdnUrl).host],
    allowedNetworks: ['127.0.0.0/8', '::1/128'],
    ...settings,
  };
}

/**
 * A hub as a process of its own with these upstreams, which believes the certificate of stand-ins;
 * `get` asks it as its administrator.
 */
export async function hubInFront(t: TestContext, entries: readonly object[]): Promise<HubInFront> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-in-front-'));
  const caFile = path.join(folder, 'ca.crt');
  await writeFile(caFile, TEST_CERTIFICATE);
  const upstreams = entries.map((entry) => ({ caFile, ...entry }));
  const { running, url } = await startHubProcess(folder, path.join(folder, 'data'), { upstreams });
  t.after(async () => {
    await running.stop();
    await rm(folder, { recursive: true });
  });
  return { url, get: (asked) => ask(`${url}${asked}`) };
}

async function ask(url: string): Promise<Answer> {
  const headers = { authorization: AUTHORIZATION, accept: '*/*' };
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  get(url, { agent: false, headers }, resolve).on('error', reject);
  const answer = await promise;
  const parts: Buffer[] = [];
  answer.on('data', (part: Buffer) => parts.push(part));
  answer.on('error', () => {});
  await new Promise((closed) => answer.once('close', closed));
  const body = Buffer.concat(parts);
  const sha256 = `sha256:${createHash('sha256').update(body).digest('hex')}`;
  return {
    status: answer.statusCode ?? 0,
    headers: answer.headers,
    body,
    sha256,
    whole: answer.complete,
  };
}
