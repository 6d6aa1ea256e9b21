import { API_BASE } from '../hubapi/admin.ts';
import { checkBody } from '../hubapi/body.ts';
import {
  ArtifactList,
  ExecutionAnswer,
  ExecutionList,
  ExecutionStarted,
  ExecutionStopped,
  RegistryList,
  RuleAnswer,
  RuleList,
  type ReplicationCounts,
} from '../hubapi/replication.ts';
import { sleep } from '../std/abort.ts';
import { formatByteSize } from '../std/byte-size.ts';
import { AdminUsage, type AdminRequest } from './admin-commands.ts';
import { REPLICATION_POLL_MS } from './constants.ts';
import { patientAsk } from './patient-ask.ts';

type Options = {
  json: boolean;
  wait: boolean;
  /** Only executions of this rule. */
  rule: string | undefined;
  /** Only artifacts of this state. */
  state: string | undefined;
};
type Modules = {
  out: (text: string) => void;
  /** For who waits, beside what is asked for. */
  err: (text: string) => void;
  ask: (request: AdminRequest) => Promise<unknown>;
  /** The document in a file, YAML or JSON. */
  readDocument: (file: string) => Promise<unknown>;
};
type Call = { operand: string; options: Options; modules: Modules };
type Verb = { operand: string | undefined; takes: readonly string[]; run: (call: Call) => Ended };
/** False when what was waited for did not end well. */
type Ended = Promise<boolean>;

const BASE = `${API_BASE}/replication`;

const VERBS: Readonly<Record<string, Verb>> = {
  registries: { operand: undefined, takes: [], run: listRegistries },
  rules: { operand: undefined, takes: [], run: listRules },
  show: { operand: 'RULE', takes: [], run: showRule },
  create: { operand: 'FILE', takes: [], run: createRule },
  change: { operand: 'FILE', takes: [], run: changeRule },
  enable: { operand: 'RULE', takes: [], run: (call) => switchRule(call, true) },
  disable: { operand: 'RULE', takes: [], run: (call) => switchRule(call, false) },
  delete: { operand: 'RULE', takes: [], run: deleteRule },
  run: { operand: 'RULE', takes: ['wait'], run: runRule },
  list: { operand: undefined, takes: ['rule'], run: listExecutions },
  status: { operand: 'EXECUTION', takes: ['wait'], run: status },
  artifacts: { operand: 'EXECUTION', takes: ['state'], run: listArtifacts },
  stop: { operand: 'EXECUTION', takes: [], run: stop },
};

/**
 * Runs `replication` with these words behind it; false when an execution did not end well.
 * @throws AdminUsage; AdminError and whatever asking the hub throws
 */
export async function runReplicationCommand(
  words: readonly string[],
  options: Options,
  modules: Modules,
): Ended {
  const [verb = '', operand = ''] = words;
  const command = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
  if (command === undefined) {
    throw new AdminUsage(
      verb === '' ? 'replication needs a command behind it' : `unknown command "${verb}"`,
    );
  }
  if ((command.operand === undefined) !== (operand === '')) {
    throw new AdminUsage(`${verb} takes ${command.operand ?? 'nothing'} behind it`);
  }
  const given = { wait: options.wait, rule: options.rule, state: options.state };
  for (const [name, value] of Object.entries(given)) {
    const isGiven = value !== undefined && value !== false;
    if (isGiven && !command.takes.includes(name)) {
      throw new AdminUsage(`${verb} takes no --${name}`);
    }
  }
  return command.run({ operand, options, modules });
}

async function listRegistries({ options, modules: { out, ask } }: Call): Ended {
  const answer = await ask({ method: 'GET', path: `${BASE}/registries` });
  for (const one of checkBody(RegistryList, answer).registries) {
    out(options.json ? lineOf(one) : `${one.name}\t${one.url}\n`);
  }
  return true;
}

async function listRules({ options, modules: { out, ask } }: Call): Ended {
  const answer = await ask({ method: 'GET', path: `${BASE}/rules` });
  for (const rule of checkBody(RuleList, answer).rules) {
    if (options.json) out(lineOf(rule));
    else {
      const { name, enabled, settings, next } = rule;
      const { direction, registry, repositories } = settings;
      const state = enabled ? 'on' : 'off';
      out(tabs(name, state, direction, registry, repositories.join(','), next ?? '-'));
    }
  }
  return true;
}

async function showRule({ operand, modules: { out, ask } }: Call): Ended {
  const answer = checkBody(RuleAnswer, await ask({ method: 'GET', path: rulePath(operand) }));
  out(`${JSON.stringify(answer, undefined, 2)}\n`);
  return true;
}

async function createRule(call: Call): Ended {
  const body = await documentOf(call);
  await call.modules.ask({ method: 'POST', path: `${BASE}/rules`, body });
  return true;
}

async function changeRule(call: Call): Ended {
  const { name, ...body } = await documentOf(call);
  if (typeof name !== 'string') throw new AdminUsage(`${call.operand} names no rule`);
  await call.modules.ask({ method: 'PATCH', path: rulePath(name), body });
  return true;
}

async function switchRule({ operand, modules: { ask } }: Call, enabled: boolean): Ended {
  await ask({ method: 'PATCH', path: rulePath(operand), body: { enabled } });
  return true;
}

async function deleteRule({ operand, modules: { ask } }: Call): Ended {
  await ask({ method: 'DELETE', path: rulePath(operand) });
  return true;
}

async function runRule({ operand, options, modules }: Call): Ended {
  const path = `${rulePath(operand)}/executions`;
  const { id } = checkBody(ExecutionStarted, await modules.ask({ method: 'POST', path }));
  if (options.wait) return awaitEnd(id, options, modules);
  modules.out(options.json ? lineOf({ id }) : `execution ${id} has begun\n`);
  return true;
}

async function listExecutions({ options, modules: { out, ask } }: Call): Ended {
  const rule = options.rule === undefined ? '' : `rule=${encodeURIComponent(options.rule)}&`;
  for (let last = ''; ;) {
    const answer = await ask({ method: 'GET', path: `${BASE}/executions?${rule}${last}` });
    const { executions, next } = checkBody(ExecutionList, answer);
    for (const one of executions) {
      if (options.json) out(lineOf(one));
      else out(tabs(one.id, one.rule, one.trigger, one.state, one.made, countsText(one.counts)));
    }
    if (next === undefined) return true;
    last = `last=${encodeURIComponent(next)}`;
  }
}

async function status({ operand, options, modules }: Call): Ended {
  if (options.wait) return awaitEnd(operand, options, modules);
  const found = await executionOf(operand, modules);
  tell(found, options, modules);
  return true;
}

async function listArtifacts({ operand, options, modules: { out, ask } }: Call): Ended {
  const state = options.state === undefined ? '' : `state=${encodeURIComponent(options.state)}&`;
  for (let last = ''; ;) {
    const path = `${executionPath(operand)}/artifacts?${state}${last}`;
    const { artifacts, next } = checkBody(ArtifactList, await ask({ method: 'GET', path }));
    for (const one of artifacts) {
      if (options.json) out(lineOf(one));
      else {
        const { repository, reference, destination, counts, message } = one;
        const sent = formatByteSize(counts.bytes);
        out(tabs(repository, reference, destination, one.state, sent, message));
      }
    }
    if (next === undefined) return true;
    last = `last=${encodeURIComponent(next)}`;
  }
}

async function stop({ operand, options, modules: { out, ask } }: Call): Ended {
  const answer = await ask({ method: 'POST', path: `${executionPath(operand)}/stop` });
  const { state } = checkBody(ExecutionStopped, answer);
  out(options.json ? lineOf({ state }) : `${state}\n`);
  return true;
}

async function awaitEnd(id: string, options: Options, modules: Modules): Ended {
  const ask = patientAsk(modules.ask);
  let told = '';
  for (;;) {
    // oxlint-disable-next-line no-await-in-loop -- asks until it has ended
    const found = await executionOf(id, { ask });
    if (found.ended !== null) {
      tell(found, options, modules);
      return found.state === 'done';
    }
    if (found.attempt > 0 && found.message !== told) modules.err(failureText(found));
    told = found.message;
    // oxlint-disable-next-line no-await-in-loop -- the pause comes before the next question
    await sleep(REPLICATION_POLL_MS);
  }
}

/** Why an execution goes on though it failed. */
function failureText({ id, attempt, message, state, due }: ExecutionAnswer): string {
  const next = state === 'queued' ? `comes at ${due}` : 'goes on now';
  return `execution ${id}: attempt ${attempt} failed: ${message}; the next ${next}\n`;
}

async function executionOf(id: string, { ask }: Pick<Modules, 'ask'>): Promise<ExecutionAnswer> {
  return checkBody(ExecutionAnswer, await ask({ method: 'GET', path: executionPath(id) }));
}

function tell(found: ExecutionAnswer, { json }: Options, { out }: Modules): void {
  const { id, rule, trigger, state, stopping, message, counts, made, begun, ended } = found;
  if (json) return out(lineOf(found));
  out(`execution ${id} of ${rule}: ${state}${stopping && ended === null ? ', stopping' : ''}
trigger: ${trigger}
made: ${made}
begun: ${begun ?? '-'}
ended: ${ended ?? '-'}
artifacts: ${countsText(counts)}
sent: ${formatByteSize(counts.bytes)}
${message === '' ? '' : `message: ${message}\n`}`);
}

async function documentOf({ operand, modules }: Call): Promise<Record<string, unknown>> {
  const value = await modules.readDocument(operand);
  if (typeof value === 'object' && value !== null) return { ...value };
  throw new AdminUsage(`${operand} holds no rule`);
}

function countsText(counts: ReplicationCounts): string {
  const { bytes: _, ...artifacts } = counts;
  const told = Object.entries(artifacts).filter(([, count]) => count > 0);
  return told.map(([what, count]) => `${count} ${what}`).join(', ') || 'none';
}

function rulePath(rule: string): string {
  return `${BASE}/rules/${encodeURIComponent(rule)}`;
}

function executionPath(id: string): string {
  return `${BASE}/executions/${encodeURIComponent(id)}`;
}

function tabs(...words: string[]): string {
  return `${words.join('\t')}\n`;
}

function lineOf(value: object): string {
  return `${JSON.stringify(value)}\n`;
}
