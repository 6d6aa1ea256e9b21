import { parseArgs } from 'node:util';
import type { ParseArgsConfig } from 'node:util';
import type { TObject } from 'typebox';
import { isDigest } from '../oci/digest.ts';
import { parseDuration } from '../std/duration.ts';
import { hasCode, messageOf } from '../std/errors.ts';
import { adminHelp, adminWords, isAdminCommand, runAdminCommand } from './admin-cli.ts';
import type { AdminCliModules, AdminPlace } from './admin-cli.ts';
import { AdminUsage, checkHubUrl } from './admin-commands.ts';
import type { AdminRequest } from './admin-commands.ts';
import { BACKUP_OPTIONS, type BackupCliModules, type BackupOutcome } from './backup-cli.ts';
import { runBundleCommand, type BundleCliModules } from './bundle-cli.ts';
import { readBuildInfo } from './build-info.ts';
import {
  AGENT_HELP,
  CHECK_HELP,
  CONFIG_HELP,
  HUB_HELP,
  JOIN_TOKEN_HELP,
  MAIN_HELP,
} from './cli-help.ts';
import { BACKUP_HELP, BUNDLE_HELP, GC_HELP, PREFETCH_HELP, PURGE_HELP } from './cli-help.ts';
import { REPLICATION_HELP, VERSION_HELP } from './cli-help.ts';
import { parseDocumentText } from './config-document.ts';
import { readConfigFile } from './config-file.ts';
import { formatReference } from './config-reference.ts';
import { EXIT } from './exit-codes.ts';
import { runGcCommand } from './gc-cli.ts';
import { nearest } from './nearest.ts';
import { PREFETCH_OPTIONS, runPrefetchCommand } from './prefetch-cli.ts';
import { runReplicationCommand } from './replication-cli.ts';

export type ProgramKind = 'hub' | 'agent';

/** A program the command line can start; its code is loaded when it is asked for. */
export type ProgramEntry = {
  /** The schema of its configuration. */
  schema(): Promise<TObject>;
  /** Reads a configuration as `run` would. @throws ConfigError */
  check(input: ProgramInput): Promise<void>;
  /** Runs until it is told to stop; resolves with the exit code. */
  run(input: ProgramInput): Promise<number>;
};

/** The text and the name of the configuration file, when there is one. */
export type ProgramInput = { text?: string; source?: string };

/** What `hub join-token create` was asked for; `expires` as written, such as 24h, if at all. */
export type JoinTokenWish = ProgramInput & {
  uses: number;
  expires: string | undefined;
  url: string | undefined;
};

/** Which hub is asked. */
export type AdminWish = ProgramInput & { url: string | undefined };

/** What `hub check` was asked for. */
export type CheckWish = ProgramInput & Record<'hash' | 'repair' | 'adopt' | 'json', boolean>;

/** What `purge` was asked for. */
export type PurgeWish = ProgramInput & {
  digest: string;
  lift: boolean;
  url: string | undefined;
  /** How long to wait for the nodes, if not as usual. */
  waitMs: number | undefined;
};

/** Nodes that have not acted on it, by name, and whether the hub had what was taken down. */
export type PurgeOutcome = { unreached: string[]; known: boolean };

export type CliModules = {
  out(text: string): void;
  err(text: string): void;
  env: Record<string, string | undefined>;
  programs: Record<ProgramKind, ProgramEntry>;
  /** Checks the data of a hub that does not run. */
  checkHub(wish: CheckWish): Promise<{ text: string; clean: boolean }>;
  /** Takes content down at a running hub. */
  purge(wish: PurgeWish): Promise<PurgeOutcome>;
  backup: BackupCliModules;
  bundle: BundleCliModules;
  /** Asks a running hub for a join token. */
  createJoinToken(wish: JoinTokenWish): Promise<string>;
  /** Commands that change what is in a running hub. */
  admin: {
    ask(wish: AdminWish, request: AdminRequest): Promise<unknown>;
    readPassword: AdminCliModules['readPassword'];
    newPassword: AdminCliModules['newPassword'];
  };
};

/** A command line that cannot be understood; `help` is the page that says how. */
class UsageError extends Error {
  readonly help: string;

  constructor(message: string, help: string) {
    super(message);
    this.help = help;
  }
}

const FILE_OPTIONS = {
  config: { type: 'string', short: 'c' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** Commands besides those of adminWords. */
const OWN_WORDS = 'hub agent version config purge backup bundle gc replication prefetch help'.split(
  ' ',
);
const UNAVAILABLE = ['HUB_UNREACHABLE', 'FOLDER_IN_USE', 'CATALOG_IN_USE'];

/** Runs one command line and resolves with the exit code; never throws. */
export async function runCli(argv: readonly string[], modules: CliModules): Promise<number> {
  try {
    return await dispatch(argv, modules);
  } catch (err) {
    if (err instanceof UsageError) {
      modules.err(`flotilla: ${err.message}\n\n${err.help}`);
      return EXIT.usage;
    }
    modules.err(`flotilla: ${messageOf(err)}\n`);
    if (hasCode(err, 'CONFIG_INVALID')) return EXIT.config;
    return hasCode(err, ...UNAVAILABLE) ? EXIT.unavailable : EXIT.failure;
  }
}

function dispatch(argv: readonly string[], modules: CliModules): number | Promise<number> {
  const [command, ...rest] = argv;
  switch (command) {
    case undefined:
      throw new UsageError('no command given', MAIN_HELP);
    case '--help':
    case '-h':
    case 'help':
      return show(MAIN_HELP, modules);
    case '--version':
      return version([], modules);
    case 'version':
      return version(rest, modules);
    case 'hub':
      if (rest[0] === 'join-token') return joinToken(rest.slice(1), modules);
      if (rest[0] === 'check') return checkHub(rest.slice(1), modules);
      return runProgram('hub', rest, HUB_HELP, modules);
    case 'agent':
      return runProgram('agent', rest, AGENT_HELP, modules);
    case 'purge':
      return purge(rest, modules);
    case 'backup':
      return backup(rest, modules);
    case 'bundle':
      return bundleCommand(rest, modules);
    case 'gc':
      return collect(rest, modules);
    case 'replication':
      return replicate(rest, modules);
    case 'prefetch':
      return prefetch(rest, modules);
    case 'config':
      return config(rest, modules);
    default: {
      if (isAdminCommand(command)) return admin(command, rest, modules);
      const known = [...OWN_WORDS, ...adminWords()];
      const meant = nearest(command, known);
      const hint = meant === undefined ? '' : `; did you mean ${meant}?`;
      throw new UsageError(`unknown command "${command}"${hint}`, MAIN_HELP);
    }
  }
}

async function runProgram(
  kind: ProgramKind,
  args: readonly string[],
  help: string,
  modules: CliModules,
): Promise<number> {
  const { values } = parse(args, FILE_OPTIONS, 0, help);
  if (values.help === true) return show(help, modules);
  return modules.programs[kind].run(await configInput(values.config));
}

async function joinToken(args: readonly string[], modules: CliModules): Promise<number> {
  const options = {
    ...FILE_OPTIONS,
    uses: { type: 'string', default: '1' },
    expires: { type: 'string' },
    url: { type: 'string' },
  } as const;
  const { values, positionals } = parse(args, options, 1, JOIN_TOKEN_HELP);
  if (values.help === true) return show(JOIN_TOKEN_HELP, modules);
  if (positionals[0] !== 'create') {
    throw new UsageError('join-token needs the word create', JOIN_TOKEN_HELP);
  }
  if (!/^[1-9]\d{0,5}$/.test(values.uses)) {
    throw new UsageError('--uses takes a whole number from 1', JOIN_TOKEN_HELP);
  }
  const { uses, expires, url } = values;
  if (expires !== undefined && !isDuration(expires)) {
    throw new UsageError('--expires takes a time such as 30m, 24h or 7d', JOIN_TOKEN_HELP);
  }
  const request = { ...(await configInput(values.config)), uses: Number(uses), expires, url };
  modules.out(`${await modules.createJoinToken(request)}\n`);
  return EXIT.ok;
}

async function admin(word: string, args: readonly string[], modules: CliModules): Promise<number> {
  const { readPassword, newPassword } = modules.admin;
  const ask = async ({ config: file, url }: AdminPlace, request: AdminRequest) =>
    modules.admin.ask({ ...(await configInput(file)), url }, request);
  try {
    const out = (text: string): void => modules.out(text);
    await runAdminCommand(word, args, { out, ask, readPassword, newPassword });
    return EXIT.ok;
  } catch (err) {
    if (err instanceof AdminUsage) throw new UsageError(err.message, adminHelp(word));
    throw err;
  }
}

async function collect(args: readonly string[], modules: CliModules): Promise<number> {
  const options = {
    ...FILE_OPTIONS,
    url: { type: 'string' },
    json: { type: 'boolean', default: false },
    wait: { type: 'boolean', default: false },
    'dry-run': { type: 'boolean', default: false },
  } as const;
  const { values, positionals } = parse(args, options, 2, GC_HELP);
  if (values.help === true) return show(GC_HELP, modules);
  const place = { ...(await configInput(values.config)), url: values.url };
  const ask = (request: AdminRequest) => modules.admin.ask(place, request);
  const { json, wait, 'dry-run': dryRun } = values;
  const out = (text: string): void => modules.out(text);
  try {
    const done = await runGcCommand(positionals, { json, wait, dryRun }, { out, ask });
    return done ? EXIT.ok : EXIT.failure;
  } catch (err) {
    if (err instanceof AdminUsage) throw new UsageError(err.message, GC_HELP);
    throw err;
  }
}

async function replicate(args: readonly string[], modules: CliModules): Promise<number> {
  const options = {
    ...FILE_OPTIONS,
    url: { type: 'string' },
    json: { type: 'boolean', default: false },
    wait: { type: 'boolean', default: false },
    rule: { type: 'string' },
    state: { type: 'string' },
  } as const;
  const { values, positionals } = parse(args, options, 2, REPLICATION_HELP);
  if (values.help === true) return show(REPLICATION_HELP, modules);
  const place = { ...(await configInput(values.config)), url: values.url };
  const { json, wait, rule, state } = values;
  const wish = { json, wait, rule, state };
  try {
    const done = await runReplicationCommand(positionals, wish, {
      out: (text) => modules.out(text),
      err: (text) => modules.err(text),
      ask: (request) => modules.admin.ask(place, request),
      readDocument,
    });
    return done ? EXIT.ok : EXIT.failure;
  } catch (err) {
    if (err instanceof AdminUsage) throw new UsageError(err.message, REPLICATION_HELP);
    throw err;
  }
}

async function readDocument(file: string): Promise<unknown> {
  return parseDocumentText(await readConfigFile(file), file).value;
}

async function prefetch(args: readonly string[], modules: CliModules): Promise<number> {
  const options = { ...FILE_OPTIONS, url: { type: 'string' }, ...PREFETCH_OPTIONS } as const;
  const { values, positionals } = parse(args, options, 2, PREFETCH_HELP);
  const { config: file, help, url, ...wish } = values;
  if (help === true) return show(PREFETCH_HELP, modules);
  const place = { ...(await configInput(file)), url };
  const ask = (request: AdminRequest) => modules.admin.ask(place, request);
  const out = (text: string): void => modules.out(text);
  try {
    const done = await runPrefetchCommand(positionals, wish, { out, ask, readDocument });
    return done ? EXIT.ok : EXIT.failure;
  } catch (err) {
    if (err instanceof AdminUsage) throw new UsageError(err.message, PREFETCH_HELP);
    throw err;
  }
}

async function checkHub(args: readonly string[], modules: CliModules): Promise<number> {
  const options = {
    ...FILE_OPTIONS,
    hash: { type: 'boolean', default: false },
    repair: { type: 'boolean', default: false },
    adopt: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  } as const;
  const { values } = parse(args, options, 0, CHECK_HELP);
  if (values.help === true) return show(CHECK_HELP, modules);
  const { hash, repair, adopt, json } = values;
  const wish = { ...(await configInput(values.config)), hash, repair, adopt, json };
  const { text, clean } = await modules.checkHub(wish);
  modules.out(text);
  return clean ? EXIT.ok : EXIT.failure;
}

async function purge(args: readonly string[], modules: CliModules): Promise<number> {
  const options = {
    ...FILE_OPTIONS,
    lift: { type: 'boolean', default: false },
    wait: { type: 'string' },
    url: { type: 'string' },
  } as const;
  const { values, positionals } = parse(args, options, 1, PURGE_HELP);
  if (values.help === true) return show(PURGE_HELP, modules);
  const [digest = ''] = positionals;
  if (!isDigest(digest)) {
    throw new UsageError('purge needs a digest, sha256:... or sha512:...', PURGE_HELP);
  }
  const { lift, url, wait } = values;
  if (wait !== undefined && wait !== '0s' && !isDuration(wait)) {
    throw new UsageError('--wait takes a time such as 0s, 30s or 10m', PURGE_HELP);
  }
  const waitMs = wait === undefined ? undefined : parseDuration(wait);
  const input = await configInput(values.config);
  const { unreached, known } = await modules.purge({ ...input, digest, lift, url, waitMs });
  for (const node of unreached) modules.out(`not reached: ${node}\n`);
  const down = known ? 'taken down' : 'the hub did not have it; it is refused from now on';
  modules.out(`${digest}: ${lift ? 'may be pushed again' : down}\n`);
  return unreached.length === 0 ? EXIT.ok : EXIT.failure;
}

async function backup([word, ...args]: readonly string[], modules: CliModules): Promise<number> {
  const work = word === undefined ? undefined : BACKUPS[word];
  if (work !== undefined) {
    const outcome = await work(args, modules);
    if (outcome === undefined) return show(BACKUP_HELP, modules);
    modules.out(outcome.text);
    return outcome.clean ? EXIT.ok : EXIT.failure;
  }
  if (word === '--help' || word === '-h') return show(BACKUP_HELP, modules);
  throw new UsageError('backup needs create, verify or restore', BACKUP_HELP);
}

async function bundleCommand(args: readonly string[], modules: CliModules): Promise<number> {
  const { bundle } = modules;
  try {
    const own = { bundle, input: configInput, out: (text: string): void => modules.out(text) };
    if (await runBundleCommand(args, own)) return EXIT.ok;
    return show(BUNDLE_HELP, modules);
  } catch (err) {
    if (err instanceof AdminUsage) throw new UsageError(err.message, BUNDLE_HELP);
    throw err;
  }
}

/** undefined: asked for help. */
type BackupWork = (
  args: readonly string[],
  modules: CliModules,
) => Promise<BackupOutcome | undefined>;

const BACKUPS: Readonly<Record<string, BackupWork>> = {
  create: async (args, { backup: { create } }) => {
    const { values } = parse(args, BACKUP_OPTIONS.create, 0, BACKUP_HELP);
    if (values.help === true) return undefined;
    const { to, incremental, url } = values;
    if (to === undefined) throw new UsageError('backup create needs --to FOLDER', BACKUP_HELP);
    const { 'catalog-only': catalogOnly, 'include-keys': includeKeys } = values;
    const input = await configInput(values.config);
    return create({ ...input, to, incremental, catalogOnly, includeKeys, url });
  },
  verify: async (args, { backup: { verify } }) => {
    const { values, positionals } = parse(args, BACKUP_OPTIONS.verify, 1, BACKUP_HELP);
    if (values.help === true) return undefined;
    const [folder] = positionals;
    if (folder === undefined) throw new UsageError('backup verify needs a FOLDER', BACKUP_HELP);
    return verify({ folder, quick: values.quick, json: values.json });
  },
  restore: async (args, { backup: { restore } }) => {
    const { values, positionals } = parse(args, BACKUP_OPTIONS.restore, 1, BACKUP_HELP);
    if (values.help === true) return undefined;
    const [folder] = positionals;
    if (folder === undefined) throw new UsageError('backup restore needs a FOLDER', BACKUP_HELP);
    const { purged, keys, replace } = values;
    const { 'keep-rights': keepRights, 'rights-from': rightsFrom, 'new-keys': newKeys } = values;
    for (const [one, other] of [
      [keepRights && '--keep-rights', rightsFrom !== undefined && '--rights-from'],
      [keys !== undefined && '--keys', newKeys && '--new-keys'],
    ]) {
      if (one !== false && other !== false) {
        throw new UsageError(`${one} and ${other} exclude each other`, BACKUP_HELP);
      }
    }
    const wish = { folder, keepRights, rightsFrom, purged, keys, newKeys, replace };
    const input = await configInput(values.config);
    return restore({ ...input, ...wish, dataDir: values['data-dir'] });
  },
};

function isDuration(text: string): boolean {
  try {
    return parseDuration(text) > 0;
  } catch {
    return false;
  }
}

function version(args: readonly string[], modules: CliModules): number {
  const options = { json: { type: 'boolean' }, help: FILE_OPTIONS.help } as const;
  const { values } = parse(args, options, 0, VERSION_HELP);
  if (values.help === true) return show(VERSION_HELP, modules);
  const build = readBuildInfo();
  const text = `flotilla ${build.version} (${build.revision}), node ${build.node}`;
  modules.out(`${values.json === true ? JSON.stringify(build) : text}\n`);
  return EXIT.ok;
}

async function config(args: readonly string[], modules: CliModules): Promise<number> {
  const options = { kind: { type: 'string' }, help: FILE_OPTIONS.help } as const;
  const { values, positionals } = parse(args, options, 2, CONFIG_HELP);
  if (values.help === true) return show(CONFIG_HELP, modules);
  const [action, file] = positionals;
  const kind = values.kind === undefined ? undefined : kindOf(values.kind);
  if (action === 'show' && file === undefined) {
    if (kind === undefined) throw new UsageError('show needs --kind hub or agent', CONFIG_HELP);
    return show(formatReference(await modules.programs[kind].schema()), modules);
  }
  if (action === 'check' && file !== undefined) return check(file, kind, modules);
  throw new UsageError('config needs check FILE, or show --kind hub|agent', CONFIG_HELP);
}

async function check(
  file: string,
  given: ProgramKind | undefined,
  modules: CliModules,
): Promise<number> {
  const text = await readConfigFile(file);
  const kind = given ?? kindInside(text, file);
  await modules.programs[kind].check({ text, source: file });
  modules.out(`${file}: valid for the ${kind}\n`);
  return EXIT.ok;
}

/** The kind a file names itself. */
function kindInside(text: string, file: string): ProgramKind {
  const value = parseDocumentText(text, file).value;
  const kind = typeof value === 'object' && value !== null && 'kind' in value ? value.kind : '';
  if (kind === 'hub' || kind === 'agent') return kind;
  throw new UsageError(
    `${file} does not say "kind: hub" or "kind: agent"; give --kind`,
    CONFIG_HELP,
  );
}

function kindOf(text: string): ProgramKind {
  if (text === 'hub' || text === 'agent') return text;
  throw new UsageError(`--kind takes hub or agent, not "${text}"`, CONFIG_HELP);
}

async function configInput(file: string | undefined): Promise<ProgramInput> {
  return file === undefined ? {} : { text: await readConfigFile(file), source: file };
}

function parse<T extends NonNullable<ParseArgsConfig['options']>>(
  args: readonly string[],
  options: T,
  positionalsMax: number,
  help: string,
): ReturnType<typeof parseArgs<{ options: T; args: string[]; allowPositionals: true }>> {
  try {
    const parsed = parseArgs({ args: [...args], options, allowPositionals: true });
    const extra = parsed.positionals[positionalsMax];
    if (extra !== undefined) throw new UsageError(`"${extra}" is not expected here`, help);
    const { url }: { url?: unknown } = parsed.values;
    checkHubUrl(url);
    return parsed;
  } catch (err) {
    throw err instanceof UsageError ? err : new UsageError(refusalOf(err, options), help);
  }
}

/** One sentence; node:util goes on about positional arguments. */
function refusalOf(err: unknown, options: object): string {
  const text = messageOf(err);
  const [, given] = /^Unknown option '--([^']*)'/.exec(text) ?? [];
  if (given === undefined) return text;
  const meant = nearest(given, Object.keys(options));
  return `unknown option --${given}${meant === undefined ? '' : `; did you mean --${meant}?`}`;
}

function show(text: string, modules: CliModules): number {
  modules.out(text);
  return EXIT.ok;
}
