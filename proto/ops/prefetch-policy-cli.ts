import { API_BASE } from '../hubapi/admin.ts';
import { checkBody } from '../hubapi/body.ts';
import { PrefetchPolicyAnswer, PrefetchPolicyList, PrefetchPolicyRun } from '../hubapi/prefetch.ts';
import { AdminUsage, type AdminRequest } from './admin-commands.ts';

type Modules = {
  out: (text: string) => void;
  ask: (request: AdminRequest) => Promise<unknown>;
  /** The document in a file, YAML or JSON. */
  readDocument: (file: string) => Promise<unknown>;
};
type Call = { operand: string; json: boolean; modules: Modules };
type Verb = { operand: string | undefined; run: (call: Call) => Promise<boolean> };

const BASE = `${API_BASE}/prefetch-policies`;

const VERBS: Readonly<Record<string, Verb>> = {
  policies: { operand: undefined, run: list },
  policy: { operand: 'NAME', run: show },
  put: { operand: 'FILE', run: put },
  run: { operand: 'NAME', run },
  delete: { operand: 'NAME', run: remove },
};

/** Words behind `prefetch` that are about policies. */
export const POLICY_VERBS: readonly string[] = Object.keys(VERBS);

/**
 * Runs one of them; false when a policy that was run ordered nothing.
 * @throws AdminUsage; AdminError and whatever asking the hub throws
 */
export async function runPolicyCommand(
  verb: string,
  operand: string | undefined,
  options: { json: boolean },
  modules: Modules,
): Promise<boolean> {
  const command = VERBS[verb];
  if (command === undefined || (command.operand === undefined) !== (operand === undefined)) {
    throw new AdminUsage(`prefetch ${verb} takes ${command?.operand ?? 'nothing'} behind it`);
  }
  return command.run({ operand: operand ?? '', json: options.json, modules });
}

async function list({ json, modules: { out, ask } }: Call): Promise<boolean> {
  const { policies } = checkBody(PrefetchPolicyList, await ask({ method: 'GET', path: BASE }));
  for (const one of policies) {
    const { name, enabled, repository, tag, cron, next, note } = one;
    const state = enabled ? 'on' : 'off';
    const words = [name, state, `${repository}:${tag}`, cron ?? 'on push', next ?? '-', note];
    out(json ? `${JSON.stringify(one)}\n` : `${words.join('\t')}\n`);
  }
  return true;
}

async function show({ operand, modules }: Call): Promise<boolean> {
  modules.out(`${JSON.stringify(await policyOf(operand, modules), undefined, 2)}\n`);
  return true;
}

async function put({ operand, modules: { ask, readDocument } }: Call): Promise<boolean> {
  const value = await readDocument(operand);
  const { name, ...body }: Record<string, unknown> = { ...Object(value) };
  if (typeof name !== 'string') throw new AdminUsage(`${operand} names no policy`);
  await ask({ method: 'PUT', path: pathOf(name), body });
  return true;
}

async function run({ operand, json, modules }: Call): Promise<boolean> {
  const { out, ask } = modules;
  const path = `${pathOf(operand)}/runs`;
  const { ordered } = checkBody(PrefetchPolicyRun, await ask({ method: 'POST', path }));
  const { note } = await policyOf(operand, modules);
  if (json) out(`${JSON.stringify({ ordered, note })}\n`);
  else out([...ordered.map((id) => `order ${id}\n`), `${note}\n`].join(''));
  return ordered.length > 0;
}

async function remove({ operand, modules: { ask } }: Call): Promise<boolean> {
  await ask({ method: 'DELETE', path: pathOf(operand) });
  return true;
}

async function policyOf(name: string, { ask }: Modules): Promise<PrefetchPolicyAnswer> {
  return checkBody(PrefetchPolicyAnswer, await ask({ method: 'GET', path: pathOf(name) }));
}

function pathOf(name: string): string {
  return `${BASE}/${encodeURIComponent(name)}`;
}
