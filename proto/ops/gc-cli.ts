import { API_BASE } from '../hubapi/admin.ts';
import { checkBody } from '../hubapi/body.ts';
import {
  GarbageAnswer,
  GcRunAnswer,
  GcStarted,
  GcStatusAnswer,
  QuarantineAnswer,
  Restored,
} from '../hubapi/gc.ts';
import { isDigest } from '../oci/digest.ts';
import { sleep } from '../std/abort.ts';
import { formatByteSize } from '../std/byte-size.ts';
import { AdminUsage, type AdminRequest } from './admin-commands.ts';
import { GC_POLL_MS } from './constants.ts';

type Options = { json: boolean; wait: boolean; dryRun: boolean };
type Modules = {
  out: (text: string) => void;
  ask: (request: AdminRequest) => Promise<unknown>;
};

const BASE = `${API_BASE}/gc`;

/**
 * Runs `gc` with these words behind it; false when a collection did not end well.
 * @throws AdminUsage; AdminError and whatever asking the hub throws
 */
export async function runGcCommand(
  words: readonly string[],
  options: Options,
  modules: Modules,
): Promise<boolean> {
  const [verb = '', operand] = words;
  const { wait, dryRun } = options;
  if (verb !== 'run' && (wait || dryRun)) throw new AdminUsage('only run takes such an option');
  if (wait && dryRun) throw new AdminUsage('--dry-run has nothing to wait for');
  if (verb === 'restore') return restore(operand, options, modules);
  if (operand !== undefined) throw new AdminUsage(`gc ${verb} takes nothing behind it`);
  switch (verb) {
    case 'run':
      return dryRun ? listGarbage(options, modules) : run(options, modules);
    case 'status':
      return status(options, modules);
    case 'list':
      return listQuarantine(options, modules);
    default:
      throw new AdminUsage(
        verb === '' ? 'gc needs a command behind it' : `unknown command "gc ${verb}"`,
      );
  }
}

async function run({ wait, json }: Options, { out, ask }: Modules): Promise<boolean> {
  const started = await ask({ method: 'POST', path: `${BASE}/runs` });
  const { id } = checkBody(GcStarted, started);
  if (!wait) {
    out(json ? lineOf({ id }) : `collection ${id} has begun\n`);
    return true;
  }
  for (;;) {
    const answer = await ask({ method: 'GET', path: `${BASE}/runs/${id}` });
    const found = checkBody(GcRunAnswer, answer);
    if (found.result !== 'running') {
      out(json ? lineOf(found) : textOf(found));
      return found.result === 'ok';
    }
    await sleep(GC_POLL_MS);
  }
}

async function status({ json }: Options, { out, ask }: Modules): Promise<boolean> {
  const answer = checkBody(GcStatusAnswer, await ask({ method: 'GET', path: BASE }));
  const { running, heldUntil, last } = answer;
  if (json) out(lineOf(answer));
  else {
    out(running ? 'a collection goes on\n' : 'no collection goes on\n');
    if (heldUntil !== null) out(`removals are held off until ${heldUntil}\n`);
    if (last !== null) out(textOf(last));
  }
  return true;
}

async function listGarbage({ json }: Options, { out, ask }: Modules): Promise<boolean> {
  let [count, bytes] = [0, 0];
  for (let from = ''; ;) {
    const answer = await ask({ method: 'GET', path: `${BASE}/garbage${from}` });
    const { garbage, next } = checkBody(GarbageAnswer, answer);
    for (const one of garbage) {
      count += 1;
      if (one.kind === 'blob') bytes += one.size;
      const { kind, repository = '-', digest, size, since } = one;
      out(json ? lineOf(one) : `${[kind, repository, digest, size, since].join('\t')}\n`);
    }
    if (next === undefined) break;
    from = `?last=${next}`;
  }
  const removed = formatByteSize(bytes);
  if (json) return true;
  out(`${count} would go; ${removed} removed for good, the rest into quarantine first\n`);
  return true;
}

async function listQuarantine({ json }: Options, { out, ask }: Modules): Promise<boolean> {
  let count = 0;
  for (let from = ''; ;) {
    const answer = await ask({ method: 'GET', path: `${BASE}/quarantine${from}` });
    const { quarantine, next } = checkBody(QuarantineAnswer, answer);
    for (const one of quarantine) {
      out(json ? lineOf(one) : `${[one.digest, one.size, one.since, one.until].join('\t')}\n`);
    }
    count += quarantine.length;
    if (next === undefined) break;
    from = `?last=${next}`;
  }
  if (count === 0 && !json) out('nothing is in quarantine\n');
  return true;
}

async function restore(
  digest: string | undefined,
  { json }: Options,
  { out, ask }: Modules,
): Promise<boolean> {
  if (digest === undefined || !isDigest(digest)) {
    throw new AdminUsage('gc restore needs a digest, sha256:... or sha512:...');
  }
  const path = `${BASE}/quarantine/${encodeURIComponent(digest)}/restore`;
  const answer = checkBody(Restored, await ask({ method: 'POST', path }));
  if (json) out(lineOf(answer));
  else for (const repository of answer.repositories) out(`${repository}\n`);
  return true;
}

function lineOf(value: object): string {
  return `${JSON.stringify(value)}\n`;
}

function textOf({ id, result, begun, ended, report }: GcRunAnswer): string {
  const { manifests, unlinked, quarantined, quarantinedBytes, deleted, deletedBytes } = report;
  return `collection ${id}: ${result}
begun: ${begun}
ended: ${ended ?? '-'}
manifests deleted: ${manifests}
taken from repositories: ${unlinked}
into quarantine: ${quarantined} blobs, ${formatByteSize(quarantinedBytes)}
removed: ${deleted} blobs, ${formatByteSize(deletedBytes)}
not removed for a fault: ${report.failed}
`;
}
