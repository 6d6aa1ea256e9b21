import type { Role, Visibility } from './project.ts';
import type { Action } from './scope.ts';

export type ProjectRow = { name: string; visibility: Visibility; createdAtMs: number };

export type AccountRow = {
  name: string;
  /** Hash of the password, see passwords.ts. */
  passwordHash: string;
  disabled: boolean;
  /** Time in ms, later with each change: what was issued under an earlier one has ended. */
  epoch: number;
  createdAtMs: number;
};

/** Actions on the repositories that fit a pattern. */
export type RobotPermission = { repository: string; actions: Action[] };

export type RobotRow = {
  project: string;
  name: string;
  description: string;
  /** SHA-256 of the secret, hex. */
  secretHash: string;
  permissions: RobotPermission[];
  /** undefined: it does not expire. */
  expiresAtMs: number | undefined;
  disabled: boolean;
  /** As that of an account. */
  epoch: number;
  createdAtMs: number;
};

/** What changes of a robot; `expiresAtMs` null: it does not expire. */
export type RobotChange = {
  secretHash?: string | undefined;
  disabled?: boolean | undefined;
  expiresAtMs?: number | null | undefined;
  nowMs: number;
};

export type MemberRow = { account: string; role: Role };

export type RefreshRow = {
  /** SHA-256 of the token, hex. */
  hash: string;
  /** The same for every token that came out of one login. */
  family: string;
  /** Who it is for, as in the tokens of the token service. */
  subject: string;
  service: string;
  /** Of the subject when it was made. */
  epoch: string;
  expiresAtMs: number;
  /** When another took its place; undefined while it is in force. */
  replacedAtMs: number | undefined;
};

/** Names after `last` in the order of their bytes, `n` at most. */
export type NamePage = { n: number; last?: string | undefined };

/**
 * Who exists and who may do what. Every method is one transaction, durable when its promise
 * resolves. `false`: there is no such row, or, for `add`, there is one already.
 */
export interface AccessStore {
  project(name: string): Promise<ProjectRow | undefined>;
  projects(page: NamePage): Promise<ProjectRow[]>;
  /** Those that are public or have this member. */
  projectsOf(account: string | undefined, page: NamePage): Promise<ProjectRow[]>;
  addProject(row: ProjectRow, limits: { max: number }): Promise<'ok' | 'exists' | 'full'>;
  setVisibility(project: string, visibility: Visibility): Promise<boolean>;
  /** Only one without repositories; its members and robots go with it. */
  deleteProject(name: string): Promise<'ok' | 'unknown' | 'in-use'>;

  account(name: string): Promise<AccountRow | undefined>;
  accounts(page: NamePage): Promise<AccountRow[]>;
  addAccount(row: AccountRow, limits: { max: number }): Promise<'ok' | 'exists' | 'full'>;
  /** Changes what is given, and lets the epoch grow to `nowMs` or more. */
  changeAccount(
    name: string,
    change: { passwordHash?: string | undefined; disabled?: boolean | undefined; nowMs: number },
  ): Promise<boolean>;
  /** Its memberships go with it. */
  deleteAccount(name: string): Promise<boolean>;

  member(project: string, account: string): Promise<MemberRow | undefined>;
  members(project: string, page: NamePage): Promise<MemberRow[]>;
  /** Adds a member or changes its role; false when there is no such project or account. */
  putMember(project: string, member: MemberRow): Promise<boolean>;
  deleteMember(project: string, account: string): Promise<boolean>;

  robot(project: string, name: string): Promise<RobotRow | undefined>;
  robots(project: string, page: NamePage): Promise<RobotRow[]>;
  addRobot(row: RobotRow, limits: { max: number }): Promise<'ok' | 'exists' | 'full' | 'unknown'>;
  /** Changes what is given, and lets the epoch grow to `nowMs` or more. */
  changeRobot(project: string, name: string, change: RobotChange): Promise<boolean>;
  deleteRobot(project: string, name: string): Promise<boolean>;

  refresh(hash: string): Promise<RefreshRow | undefined>;
  /**
   * Stores one, after the expired ones of everybody and the oldest of the subject beyond `max` are
   * deleted. With `replaces`, that one is marked; false when it was marked already.
   */
  addRefresh(
    row: RefreshRow,
    limits: { nowMs: number; max: number; replaces?: string },
  ): Promise<boolean>;
  deleteFamily(family: string): Promise<void>;
  /** How many there were. */
  deleteRefreshOf(subject: string): Promise<number>;
}
