import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { AUTHORIZATION, startHubProcess } from '../durability/hub-process.ts';
import { MetricsSnapshot } from '../rig/metrics.ts';
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

type Headers = Record<string, string>;

export type HubInFront = {
  url: string;
  get: (path: string, headers?: Headers) => Promise<Answer>;
  /** What it counts under a name of its metrics, of all labels. */
  metric: (name: string) => Promise<number>;
  /** What a power cut does to the process; what it prints until then is returned. */
  kill: () => Promise<string>;
};

export type InFrontOptions = {
  /** For its configuration and its data, and of the caller; else one that goes with it. */
  folder?: string;
  /** Of its configuration, beside the upstreams. */
  sections?: object;
};

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
export async function hubInFront(
  t: TestContext,
  entries: readonly object[],
  options: InFrontOptions = {},
): Promise<HubInFront> {
  const { sections, folder = await mkdtemp(path.join(tmpdir(), 'flotilla-in-front-')) } = options;
  const caFile = path.join(folder, 'ca.crt');
  await writeFile(caFile, TEST_CERTIFICATE);
  const upstreams = entries.map((entry) => ({ caFile, ...entry }));
  const data = path.join(folder, 'data');
  const started = await startHubProcess(folder, data, { upstreams, ...sections });
  const { running, url, opsUrl } = started;
  t.after(async () => {
    await running.stop();
    if (options.folder === undefined) await rm(folder, { recursive: true });
  });
  return {
    url,
    get: (asked, headers) => ask(`${url}${asked}`, headers),
    metric: async (name) => {
      const { body } = await ask(`${opsUrl}/metrics`);
      return new MetricsSnapshot(body.toString()).sum(name);
    },
    kill: async () => {
      running.kill('SIGKILL');
      await running.exited;
      return running.output();
    },
  };
}

async function ask(url: string, more: Headers = {}): Promise<Answer> {
  const headers = { authorization: AUTHORIZATION, accept: '*/*', ...more };
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
