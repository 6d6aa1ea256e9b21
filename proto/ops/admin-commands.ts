import { API_BASE } from '../hubapi/admin.ts';
import { parseDuration } from '../std/duration.ts';

/** One request to the administration of a hub. */
export type AdminRequest = {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  path: string;
  body?: object;
};

/** What stands in options of a command line, by their names. */
export type AdminOptions = Readonly<Record<string, string | string[] | boolean | undefined>>;

/** Reads what one operation needs; throws AdminUsage when it is not there. */
export type AdminCommand = {
  /** Names of the words behind the command. */
  operands: readonly string[];
  /** Options that this command takes beside those of all. */
  options: readonly ('private' | 'role' | 'allow' | 'expires' | 'password-file' | 'public')[];
  summary: string;
  request(
    operands: readonly string[],
    options: AdminOptions,
    password: () => Promise<string>,
  ): AdminRequest | Promise<AdminRequest>;
};

/** An operand or option that cannot be meant. */
export class AdminUsage extends Error {
  override readonly name = 'AdminUsage';
}

/** @throws AdminUsage for a value of --url that is no address of a hub, as without its scheme */
export function checkHubUrl(url: unknown): void {
  if (typeof url !== 'string' || (/^https?:\/\//i.test(url) && URL.canParse(url))) return;
  throw new AdminUsage(
    `--url takes http:// or https:// with a host, such as https://hub.example:7400, not "${url}"`,
  );
}

const ROLES = ['guest', 'developer', 'maintainer', 'admin'];
const ACTIONS = ['pull', 'push', 'delete'];

function at(...parts: string[]): string {
  return `${API_BASE}/${parts.map(encodeURIComponent).join('/')}`;
}

function listing(summary: string, pathOf: (...operands: string[]) => string, operands: string[]) {
  const request = (given: readonly string[]): AdminRequest => ({
    method: 'GET',
    path: pathOf(...given),
  });
  return { operands, options: [], summary, request } satisfies AdminCommand;
}

function removal(summary: string, pathOf: (...operands: string[]) => string, operands: string[]) {
  const request = (given: readonly string[]): AdminRequest => ({
    method: 'DELETE',
    path: pathOf(...given),
  });
  return { operands, options: [], summary, request } satisfies AdminCommand;
}

function change(
  summary: string,
  pathOf: (...operands: string[]) => string,
  operands: string[],
  body: object,
) {
  const request = (given: readonly string[]): AdminRequest => ({
    method: 'PATCH',
    path: pathOf(...given),
    body,
  });
  return { operands, options: [], summary, request } satisfies AdminCommand;
}

const accountPath = (name = '') => at('accounts', name);
const projectPath = (name = '') => at('projects', name);
const robotPath = (project = '', name = '') => at('projects', project, 'robots', name);
const memberPath = (project = '', name = '') => at('projects', project, 'members', name);

/** The commands that ask a running hub, by their two words. */
export const ADMIN_COMMANDS: Readonly<Record<string, Readonly<Record<string, AdminCommand>>>> = {
  project: {
    list: listing('list the projects', () => at('projects'), []),
    create: {
      operands: ['NAME'],
      options: ['private'],
      summary: 'make a project; public unless --private',
      request: ([name = ''], options) => ({
        method: 'POST',
        path: at('projects'),
        body: { name, visibility: options['private'] === true ? 'private' : 'public' },
      }),
    },
    publish: change('let everybody read a project', projectPath, ['NAME'], {
      visibility: 'public',
    }),
    hide: change('let only members read a project', projectPath, ['NAME'], {
      visibility: 'private',
    }),
    delete: removal('delete a project without repositories', projectPath, ['NAME']),
  },
  account: {
    list: listing('list the accounts', () => at('accounts'), []),
    create: {
      operands: ['NAME'],
      options: ['password-file'],
      summary: 'make an account',
      request: async ([name = ''], _options, password) => ({
        method: 'POST',
        path: at('accounts'),
        body: { name, password: await password() },
      }),
    },
    password: {
      operands: ['NAME'],
      options: ['password-file'],
      summary: 'give an account another password',
      request: async ([name = ''], _options, password) => ({
        method: 'PATCH',
        path: accountPath(name),
        body: { password: await password() },
      }),
    },
    disable: change('keep an account out', accountPath, ['NAME'], { disabled: true }),
    enable: change('let an account in again', accountPath, ['NAME'], { disabled: false }),
    logout: removal(
      'end the refresh tokens of an account',
      (name) => `${accountPath(name)}/sessions`,
      ['NAME'],
    ),
    delete: removal('delete an account', accountPath, ['NAME']),
  },
  member: {
    list: listing('list the members of a project', (name = '') => `${projectPath(name)}/members`, [
      'PROJECT',
    ]),
    add: {
      operands: ['PROJECT', 'ACCOUNT'],
      options: ['role'],
      summary: 'add a member, or change its --role (guest)',
      request: ([project = '', account = ''], options) => ({
        method: 'PUT',
        path: memberPath(project, account),
        body: { role: roleOf(options['role'] ?? 'guest') },
      }),
    },
    remove: removal('remove a member', memberPath, ['PROJECT', 'ACCOUNT']),
  },
  robot: {
    list: listing('list the robots of a project', (name = '') => `${projectPath(name)}/robots`, [
      'PROJECT',
    ]),
    create: {
      operands: ['PROJECT', 'NAME'],
      options: ['allow', 'expires'],
      summary: 'make a robot and print its secret',
      request: ([project = '', name = ''], options) => ({
        method: 'POST',
        path: `${projectPath(project)}/robots`,
        body: {
          name,
          permissions: permissionsOf(project, options['allow']),
          ...expiryOf(options['expires']),
        },
      }),
    },
    refresh: {
      operands: ['PROJECT', 'NAME'],
      options: [],
      summary: 'give a robot a new secret and print it',
      request: ([project = '', name = '']) => ({
        method: 'POST',
        path: `${robotPath(project, name)}/secret`,
      }),
    },
    disable: change('keep a robot out', robotPath, ['PROJECT', 'NAME'], { disabled: true }),
    enable: change('let a robot in again', robotPath, ['PROJECT', 'NAME'], { disabled: false }),
    delete: removal('delete a robot', robotPath, ['PROJECT', 'NAME']),
  },
  node: {
    list: listing('list the nodes of the fleet', () => at('nodes'), []),
    revoke: removal('end the membership of a node', (name = '') => at('nodes', name), ['NODE']),
  },
  keys: {
    rotate: {
      operands: [],
      options: [],
      summary: 'sign tokens with a new key',
      request: () => ({ method: 'POST', path: at('keys', 'token', 'rotate') }),
    },
  },
};

function roleOf(value: AdminOptions[string]): string {
  const role = ROLES.find((known) => known === value);
  if (role !== undefined) return role;
  throw new AdminUsage(`--role takes ${ROLES.join(', ')}`);
}

/** `pattern=pull,push`, or actions alone for every repository of the project. */
function permissionsOf(project: string, value: AdminOptions[string]): object[] {
  const texts = Array.isArray(value) ? value : ['pull'];
  return texts.map((text) => {
    const equals = text.lastIndexOf('=');
    const repository = equals < 0 ? `${project}/**` : text.slice(0, equals);
    const actions = text.slice(equals + 1).split(',');
    if (actions.every((action) => ACTIONS.includes(action))) return { repository, actions };
    throw new AdminUsage(`--allow takes such as ${project}/app=pull,push, not "${text}"`);
  });
}

function expiryOf(value: AdminOptions[string]): { expiresInMs?: number } {
  if (typeof value !== 'string') return {};
  try {
    return { expiresInMs: parseDuration(value) };
  } catch {
    throw new AdminUsage('--expires takes a time such as 12h, 30d or 365d');
  }
}
