import type { Action } from './scope.ts';

/** The project of repositories whose name has one segment only. */
export const DEFAULT_PROJECT = 'library';
/** Longest name of a project, characters. */
export const PROJECT_NAME_MAX_CHARS = 128;
/** Longest name of an account or a robot, characters. */
export const ACCOUNT_NAME_MAX_CHARS = 64;

export const VISIBILITIES = ['public', 'private'] as const;
/** Whether everybody may read what is in a project, or its members alone. */
export type Visibility = (typeof VISIBILITIES)[number];

export const ROLES = ['guest', 'developer', 'maintainer', 'admin'] as const;
/** What an account is in a project; each role may do all that those before it may. */
export type Role = (typeof ROLES)[number];

/** As the first segment of a repository: no dot, since that would be the host of an upstream. */
const PROJECT = /^[a-z0-9]+(?:(?:_|__|-+)[a-z0-9]+)*$/;
const ACCOUNT = /^[a-z0-9]+(?:[._-][a-z0-9]+)*$/;

/** The project a repository belongs to: its first segment, or `library` when that is all of it. */
export function projectOf(repository: string): string {
  const slash = repository.indexOf('/');
  return slash < 0 ? DEFAULT_PROJECT : repository.slice(0, slash);
}

export function isProjectName(text: string): boolean {
  return text.length <= PROJECT_NAME_MAX_CHARS && PROJECT.test(text);
}

/** Also the rule for the own name of a robot. */
export function isAccountName(text: string): boolean {
  return text.length <= ACCOUNT_NAME_MAX_CHARS && ACCOUNT.test(text);
}

const ROLE_ACTIONS: Record<Role, readonly Action[]> = {
  guest: ['pull'],
  developer: ['pull', 'push'],
  maintainer: ['pull', 'push', 'delete'],
  admin: ['pull', 'push', 'delete'],
};

/** What a role may do with the repositories of its project. */
export function actionsOf(role: Role): readonly Action[] {
  return ROLE_ACTIONS[role];
}

/** Whether `role` is `wanted` or more. */
export function isAtLeast(role: Role | undefined, wanted: Role): boolean {
  return role !== undefined && ROLES.indexOf(role) >= ROLES.indexOf(wanted);
}

const ROBOT_PREFIX = 'robot$';

/** The user name a robot logs in with. */
export function robotLogin(robot: { project: string; name: string }): string {
  return `${ROBOT_PREFIX}${robot.project}+${robot.name}`;
}

/** The robot that a user name means; undefined for one of an account. */
export function parseRobotLogin(user: string): { project: string; name: string } | undefined {
  if (!user.startsWith(ROBOT_PREFIX)) return undefined;
  const plus = user.indexOf('+');
  const project = user.slice(ROBOT_PREFIX.length, Math.max(plus, 0));
  const name = user.slice(plus + 1);
  return isProject(project) && isAccountName(name) ? { project, name } : undefined;
}

/** Also the host of an upstream, which has a project of its own. */
function isProject(text: string): boolean {
  return (
    text.length <= PROJECT_NAME_MAX_CHARS && text.split('.').every((part) => PROJECT.test(part))
  );
}
