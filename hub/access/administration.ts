import type { Logger } from '../../proto/ops/logger.ts';
import { CodedError } from '../../proto/std/errors.ts';
import { ACCOUNTS_MAX, PROJECTS_MAX, ROBOT_PERMISSIONS_MAX, ROBOTS_MAX } from './constants.ts';
import { isGlob } from './glob.ts';
import { newSecret, secretHash, type Passwords } from './passwords.ts';
import {
  DEFAULT_PROJECT,
  isAccountName,
  isProjectName,
  robotLogin,
  type Role,
  type Visibility,
} from './project.ts';
import type { Rights } from './rights.ts';
import type {
  AccessStore,
  AccountRow,
  MemberRow,
  NamePage,
  ProjectRow,
  RobotPermission,
  RobotRow,
} from './store.ts';

export type AdministrationCode = 'UNKNOWN' | 'EXISTS' | 'FULL' | 'IN_USE' | 'INVALID';

/** What an administrator asked for cannot be done. */
export class AdministrationError extends CodedError<{ code: AdministrationCode }> {
  override readonly name = 'AdministrationError';
}

export type NewRobot = {
  project: string;
  name: string;
  description: string;
  permissions: RobotPermission[];
  expiresInMs: number | undefined;
};

type Modules = {
  store: AccessStore;
  rights: Rights;
  passwords: Passwords;
  logger: Logger;
};

/** Changes accounts, projects, members and robots; each change counts here at once. */
export class Administration {
  readonly #options: { adminUsername: string; now: () => number };
  readonly #modules: Modules;

  constructor(options: { adminUsername: string; now: () => number }, modules: Modules) {
    this.#options = options;
    this.#modules = modules;
  }

  accounts(page: NamePage): Promise<AccountRow[]> {
    return this.#modules.store.accounts(page);
  }

  async account(name: string): Promise<AccountRow> {
    return found(await this.#modules.store.account(name), `no account ${name}`);
  }

  /** @throws AdministrationError INVALID, EXISTS, FULL; AccessError BUSY */
  async createAccount(name: string, password: string): Promise<void> {
    const { adminUsername, now } = this.#options;
    if (!isAccountName(name)) throw problem('INVALID', `"${name}" is no name for an account`);
    if (name === adminUsername) throw problem('EXISTS', 'that is the name of the admin');
    const { store, passwords } = this.#modules;
    const nowMs = now();
    const passwordHash = await passwords.hash(password);
    const row = { name, passwordHash, disabled: false, epoch: nowMs, createdAtMs: nowMs };
    check(await store.addAccount(row, { max: ACCOUNTS_MAX }), `account ${name}`);
    this.#changed({ account: name }, 'account made');
  }

  /** What was issued to the account before has ended. @throws AdministrationError UNKNOWN */
  async changeAccount(
    name: string,
    change: { password?: string | undefined; disabled?: boolean | undefined },
  ): Promise<void> {
    const { store, passwords } = this.#modules;
    const { password, disabled } = change;
    await this.account(name);
    const passwordHash = password === undefined ? undefined : await passwords.hash(password);
    const nowMs = this.#options.now();
    const done = await store.changeAccount(name, { passwordHash, disabled, nowMs });
    if (!done) throw problem('UNKNOWN', `no account ${name}`);
    await store.deleteRefreshOf(`account:${name}`);
    this.#changed({ account: name, disabled }, 'account changed');
  }

  async deleteAccount(name: string): Promise<void> {
    const { store } = this.#modules;
    if (!(await store.deleteAccount(name))) throw problem('UNKNOWN', `no account ${name}`);
    await store.deleteRefreshOf(`account:${name}`);
    this.#changed({ account: name }, 'account deleted');
  }

  /** Ends the refresh tokens of an account; how many there were. */
  async endSessions(name: string): Promise<number> {
    await this.account(name);
    return this.#modules.store.deleteRefreshOf(`account:${name}`);
  }

  projects(page: NamePage): Promise<ProjectRow[]> {
    return this.#modules.store.projects(page);
  }

  projectsOf(account: string, page: NamePage): Promise<ProjectRow[]> {
    return this.#modules.store.projectsOf(account, page);
  }

  async project(name: string): Promise<ProjectRow> {
    return found(await this.#modules.store.project(name), `no project ${name}`);
  }

  /** @throws AdministrationError INVALID, EXISTS, FULL */
  async createProject(name: string, visibility: Visibility): Promise<void> {
    if (!isProjectName(name)) throw problem('INVALID', `"${name}" is no name for a project`);
    const row = { name, visibility, createdAtMs: this.#options.now() };
    check(await this.#modules.store.addProject(row, { max: PROJECTS_MAX }), `project ${name}`);
    this.#changed({ project: name, visibility }, 'project made');
  }

  async setVisibility(project: string, visibility: Visibility): Promise<void> {
    const done = await this.#modules.store.setVisibility(project, visibility);
    if (!done) throw problem('UNKNOWN', `no project ${project}`);
    this.#changed({ project, visibility }, 'project changed');
  }

  /** @throws AdministrationError UNKNOWN, IN_USE while it has repositories */
  async deleteProject(name: string): Promise<void> {
    const verdict = await this.#modules.store.deleteProject(name);
    if (verdict === 'unknown') throw problem('UNKNOWN', `no project ${name}`);
    if (verdict === 'in-use') throw problem('IN_USE', `project ${name} has repositories`);
    this.#changed({ project: name }, 'project deleted');
  }

  members(project: string, page: NamePage): Promise<MemberRow[]> {
    return this.#modules.store.members(project, page);
  }

  async putMember(project: string, account: string, role: Role): Promise<void> {
    const done = await this.#modules.store.putMember(project, { account, role });
    if (!done) throw problem('UNKNOWN', `no project ${project} or no account ${account}`);
    this.#changed({ project, account, role }, 'member of a project');
  }

  async deleteMember(project: string, account: string): Promise<void> {
    const done = await this.#modules.store.deleteMember(project, account);
    if (!done) throw problem('UNKNOWN', `${account} is no member of ${project}`);
    this.#changed({ project, account }, 'member removed');
  }

  robots(project: string, page: NamePage): Promise<RobotRow[]> {
    return this.#modules.store.robots(project, page);
  }

  async robot(project: string, name: string): Promise<RobotRow> {
    const row = await this.#modules.store.robot(project, name);
    return found(row, `no robot ${name} in ${project}`);
  }

  /**
   * Its secret, the only time that it is seen.
   * @throws AdministrationError INVALID, EXISTS, FULL, UNKNOWN
   */
  async createRobot(wish: NewRobot): Promise<{ login: string; secret: string }> {
    const { project, name, description, permissions, expiresInMs } = wish;
    if (!isAccountName(name)) throw problem('INVALID', `"${name}" is no name for a robot`);
    if (permissions.length > ROBOT_PERMISSIONS_MAX)
      throw problem('INVALID', 'too many permissions');
    for (const { repository } of permissions) checkPattern(project, repository);
    const secret = newSecret();
    const nowMs = this.#options.now();
    const expiresAtMs = expiresInMs === undefined ? undefined : nowMs + expiresInMs;
    const own = { project, name, description, permissions, expiresAtMs, disabled: false };
    const row = { ...own, secretHash: secretHash(secret), epoch: nowMs, createdAtMs: nowMs };
    check(await this.#modules.store.addRobot(row, { max: ROBOTS_MAX }), `robot ${name}`);
    this.#changed({ project, robot: name }, 'robot made');
    return { login: robotLogin({ project, name }), secret };
  }

  async changeRobot(
    project: string,
    name: string,
    change: { disabled?: boolean | undefined; expiresInMs?: number | null | undefined },
  ): Promise<void> {
    const { disabled, expiresInMs } = change;
    const nowMs = this.#options.now();
    const expiresAtMs = typeof expiresInMs === 'number' ? nowMs + expiresInMs : expiresInMs;
    await this.#changeRobot(project, name, { disabled, expiresAtMs });
    this.#changed({ project, robot: name, disabled }, 'robot changed');
  }

  /** A new secret in the place of the old one, the only time that it is seen. */
  async refreshRobot(project: string, name: string): Promise<{ login: string; secret: string }> {
    const secret = newSecret();
    await this.#changeRobot(project, name, { secretHash: secretHash(secret) });
    this.#changed({ project, robot: name }, 'robot has a new secret');
    return { login: robotLogin({ project, name }), secret };
  }

  async deleteRobot(project: string, name: string): Promise<void> {
    const { store } = this.#modules;
    const done = await store.deleteRobot(project, name);
    if (!done) throw problem('UNKNOWN', `no robot ${name} in ${project}`);
    await store.deleteRefreshOf(`robot:${project}+${name}`);
    this.#changed({ project, robot: name }, 'robot deleted');
  }

  async #changeRobot(
    project: string,
    name: string,
    change: {
      secretHash?: string;
      disabled?: boolean | undefined;
      expiresAtMs?: number | null | undefined;
    },
  ): Promise<void> {
    const { store } = this.#modules;
    const nowMs = this.#options.now();
    const done = await store.changeRobot(project, name, { ...change, nowMs });
    if (!done) throw problem('UNKNOWN', `no robot ${name} in ${project}`);
    await store.deleteRefreshOf(`robot:${project}+${name}`);
  }

  #changed(fields: object, message: string): void {
    this.#modules.rights.changed();
    this.#modules.logger.info(fields, message);
  }
}

/** A pattern stands for repositories of the robot's own project. */
function checkPattern(project: string, pattern: string): void {
  const inside =
    pattern.startsWith(`${project}/`) || (project === DEFAULT_PROJECT && !pattern.includes('/'));
  if (isGlob(pattern) && inside) return;
  throw problem('INVALID', `"${pattern}" is no pattern for repositories of ${project}`);
}

function found<Row>(row: Row | undefined, message: string): Row {
  if (row === undefined) throw problem('UNKNOWN', message);
  return row;
}

function check(verdict: 'ok' | 'exists' | 'full' | 'unknown', what: string): void {
  if (verdict === 'exists') throw problem('EXISTS', `${what} is there already`);
  if (verdict === 'full') throw problem('FULL', `no room for ${what}; delete others`);
  if (verdict === 'unknown') throw problem('UNKNOWN', `no project for ${what}`);
}

function problem(code: AdministrationCode, message: string): AdministrationError {
  return new AdministrationError(message, { code });
}
