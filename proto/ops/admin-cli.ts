import { parseArgs } from 'node:util';
import { messageOf } from '../std/errors.ts';
import {
  ADMIN_COMMANDS,
  AdminUsage,
  checkHubUrl,
  type AdminCommand,
  type AdminRequest,
} from './admin-commands.ts';
import { nearest } from './nearest.ts';

/** Which hub, and how it is found: out of its configuration, unless an address is given. */
export type AdminPlace = { config: string | undefined; url: string | undefined };

export type AdminCliModules = {
  out: (text: string) => void;
  /** Asks the hub as its administrator; the answer is JSON, or nothing. */
  ask: (place: AdminPlace, request: AdminRequest) => Promise<unknown>;
  /** The first line of a file; of the standard input for "-". */
  readPassword: (file: string) => Promise<string>;
  newPassword: () => string;
};

const OPTIONS = {
  config: { type: 'string', short: 'c' },
  url: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  private: { type: 'boolean' },
  role: { type: 'string' },
  allow: { type: 'string', multiple: true },
  expires: { type: 'string' },
  'password-file': { type: 'string' },
} as const;
const COMMON = new Set(['config', 'url', 'json', 'help']);

export function isAdminCommand(word: string): boolean {
  return Object.hasOwn(ADMIN_COMMANDS, word);
}

/** The first words of these commands. */
export function adminWords(): string[] {
  return Object.keys(ADMIN_COMMANDS);
}

/** The page of a command such as `project`. */
export function adminHelp(word: string): string {
  const rows = Object.entries(ADMIN_COMMANDS[word] ?? {}).map(
    ([verb, { operands, summary }]) => `  ${[verb, ...operands].join(' ').padEnd(28)} ${summary}\n`,
  );
  return `usage: flotilla ${word} COMMAND [--config FILE] [--url URL] [--json]

${rows.join('')}
Asks the running hub as its administrator. Address and password are taken from the configuration of
the hub; --url names another address of the same hub.
${NOTES[word] ?? ''}`;
}

const NOTES: Readonly<Record<string, string>> = {
  account: `
  --password-file FILE  the password, "-" for the standard input; without it one is made and printed
`,
  member: `
  --role ROLE  guest pulls, developer pushes too, maintainer deletes too, admin manages the project
`,
  robot: `
  --allow PATTERN=ACTIONS  such as team/app=pull,push or team/**=pull; may be repeated
                           (default: pull of every repository of the project)
  --expires TIME           such as 12h or 30d (default: it does not expire)
`,
};

/**
 * Runs one command. @throws AdminUsage when it is not understood; whatever the modules throw
 */
export async function runAdminCommand(
  word: string,
  args: readonly string[],
  modules: AdminCliModules,
): Promise<void> {
  const { values, positionals } = parsed(args);
  if (values.help === true) return modules.out(adminHelp(word));
  const [verb = '', ...operands] = positionals;
  const command = commandOf(word, verb);
  checkUse(command, verb, operands, Object.keys(values));
  let made: string | undefined;
  const password = async (): Promise<string> => {
    const file = values['password-file'];
    if (file !== undefined) return modules.readPassword(file);
    made = modules.newPassword();
    return made;
  };
  const request = await command.request(operands, values, password);
  const answer = await modules.ask({ config: values.config, url: values.url }, request);
  const shown = made === undefined ? answer : { ...Object(answer), password: made };
  if (values.json === true) modules.out(`${JSON.stringify(shown ?? {})}\n`);
  else modules.out(textOf(shown));
}

function parsed(args: readonly string[]) {
  try {
    const given = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
    checkHubUrl(given.values.url);
    return given;
  } catch (err) {
    throw new AdminUsage(messageOf(err));
  }
}

function commandOf(word: string, verb: string): AdminCommand {
  const verbs = ADMIN_COMMANDS[word] ?? {};
  const command = Object.hasOwn(verbs, verb) ? verbs[verb] : undefined;
  if (command !== undefined) return command;
  if (verb === '') throw new AdminUsage(`${word} needs a command behind it`);
  const meant = nearest(verb, Object.keys(verbs));
  const hint = meant === undefined ? '' : `; did you mean ${meant}?`;
  throw new AdminUsage(`unknown command "${word} ${verb}"${hint}`);
}

function checkUse(
  { operands: wanted, options }: AdminCommand,
  verb: string,
  operands: readonly string[],
  given: readonly string[],
): void {
  if (operands.length !== wanted.length || operands.includes('')) {
    throw new AdminUsage(`${verb} takes ${wanted.join(' ') || 'nothing'} behind it`);
  }
  const known: readonly string[] = options;
  const stray = given.find((name) => !COMMON.has(name) && !known.includes(name));
  if (stray !== undefined) throw new AdminUsage(`${verb} takes no --${stray}`);
}

/** A list as one line for each entry, anything else as one line for each field. */
function textOf(answer: unknown): string {
  if (typeof answer !== 'object' || answer === null) return '';
  const [first, ...rest] = Object.values(answer);
  if (Array.isArray(first) && rest.length === 0) return first.map(lineOf).join('');
  const fields = Object.entries(answer).map(([name, value]) => `${name}: ${wordOf(value)}\n`);
  return fields.join('');
}

function lineOf(entry: unknown): string {
  return `${Object.values(Object(entry)).map(wordOf).join('\t')}\n`;
}

function wordOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
