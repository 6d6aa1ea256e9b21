import { randomBytes } from 'node:crypto';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { describeAnswer, headerOf, locationOf, type Answer } from './answer.ts';
import type { Check, Level, SpecVersion, Trial } from './check.ts';
import { baseChecks, finalChecks } from './checks/base.ts';
import { badChunkChecks, chunkChecks } from './checks/blob-chunks.ts';
import { mountChecks } from './checks/blob-mount.ts';
import { blobDeleteChecks, blobPullChecks } from './checks/blob-pull.ts';
import { blobPushChecks, uploadChecks, wrongDigestChecks } from './checks/blob-push.ts';
import { dataChecks } from './checks/data.ts';
import { deleteChecks, namespaceCheck } from './checks/deletes.ts';
import { badManifestChecks, manifestChecks, manifestSizeChecks } from './checks/manifests.ts';
import { emptyReferrersCheck, referrersChecks } from './checks/referrers.ts';
import { tagParameterChecks } from './checks/tag-parameters.ts';
import { emptyTagsCheck, tagChecks } from './checks/tags.ts';
import { ALGORITHMS } from './content.ts';
import { ConformanceError } from './errors.ts';
import type { Credentials } from './login.ts';
import { RegistryHttp } from './registry-http.ts';
import { Repository } from './repository.ts';

export type Result = {
  id: string;
  spec: string;
  level: Level;
  since: SpecVersion;
  outcome: 'passed' | 'failed' | 'skipped';
  /** Why it failed or was skipped. */
  reason?: string;
};

export type SuiteOptions = {
  /** Of the registry; only scheme, host and port count. */
  url: URL;
  spec: SpecVersion;
  credentials?: Credentials | undefined;
  /** What is pushed goes here and into a second repository beside it. Best one that is new. */
  repository?: string | undefined;
  /** Only checks whose id begins with one of these. */
  only?: readonly string[] | undefined;
};

/** Every check that the version of the specification asks for, in the order they run. */
export function checksFor(spec: SpecVersion): Check[] {
  const all = [
    emptyTagsCheck,
    emptyReferrersCheck,
    ...baseChecks,
    ...ALGORITHMS.flatMap((algorithm) => [
      ...blobPushChecks(algorithm),
      ...chunkChecks(algorithm),
      ...mountChecks(algorithm),
      ...wrongDigestChecks(algorithm),
      ...blobPullChecks(algorithm),
      ...blobDeleteChecks(algorithm),
    ]),
    ...uploadChecks,
    ...badChunkChecks,
    ...manifestChecks,
    ...manifestSizeChecks,
    ...badManifestChecks,
    ...tagChecks,
    ...tagParameterChecks,
    ...deleteChecks,
    namespaceCheck,
    ...referrersChecks,
    ...ALGORITHMS.flatMap(dataChecks),
    ...finalChecks,
  ];
  return all.filter(({ since }) => since === '1.1' || spec === 'dev');
}

/**
 * Runs the checks one after the other; `onResult` hears of each at once.
 * @throws ConformanceError when there is no registry, or none that lets us push
 */
export async function runSuite(
  options: SuiteOptions,
  onResult: (result: Result) => void = () => {},
): Promise<Result[]> {
  const { url, spec, credentials } = options;
  const name = options.repository ?? `conformance/run-${randomBytes(5).toString('hex')}`;
  await using http = new RegistryHttp({ url, credentials });
  const repo = new Repository(http, name);
  const other = new Repository(http, `${name}-other`);
  await expectUsable(http, other, credentials);
  const trial = { http, repo, other, spec };
  const results: Result[] = [];
  const { only = [''] } = options;
  const checks = checksFor(spec).filter(({ id }) => only.some((start) => id.startsWith(start)));
  if (checks.length === 0) {
    const message = `no check begins with "${only.join('" or "')}"`;
    throw new ConformanceError(message, { code: 'USAGE' });
  }
  for (const check of checks) {
    // oxlint-disable-next-line no-await-in-loop -- checks share the repository
    const result = await tried(check, trial);
    onResult(result);
    results.push(result);
  }
  return results;
}

async function tried(check: Check, trial: Trial): Promise<Result> {
  const { id, spec, level, since } = check;
  const head = { id, spec, level, since };
  try {
    await check.run(trial);
    return { ...head, outcome: 'passed' };
  } catch (err) {
    const outcome = hasCode(err, 'SKIPPED') ? 'skipped' : 'failed';
    return { ...head, outcome, reason: messageOf(err) };
  }
}

/** One clear reason instead of the same failure of every check. */
async function expectUsable(
  http: RegistryHttp,
  { name }: Repository,
  credentials: Credentials | undefined,
): Promise<void> {
  const base = await http.ask('/v2/');
  if (base.status === 401) throw loginProblem(base, credentials);
  if (base.status !== 200) {
    const message = `${describeAnswer(base)}; an OCI registry answers 200`;
    throw new ConformanceError(message, { code: 'NO_REGISTRY', status: base.status });
  }
  const upload = await http.ask(`/v2/${name}/blobs/uploads/`, { method: 'POST' });
  if (upload.status === 401) throw loginProblem(upload, credentials);
  if (upload.status === 403) {
    const message = `these credentials do not allow to push to ${name}; choose another repository`;
    throw new ConformanceError(message, { code: 'PUSH_REFUSED', status: 403 });
  }
  if (upload.status === 202 && headerOf(upload, 'location') !== undefined) {
    await http.ask(locationOf(upload), { method: 'DELETE' });
  }
}

function loginProblem(answer: Answer, credentials: Credentials | undefined): Error {
  if (credentials === undefined) {
    const message = `${describeAnswer(answer)}; give --username and --password`;
    return new ConformanceError(message, { code: 'LOGIN_MISSING' });
  }
  const message = `the registry refuses ${credentials.username} with this password`;
  return new ConformanceError(message, { code: 'LOGIN_REFUSED' });
}
