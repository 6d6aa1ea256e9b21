import { RIGHTS_CACHE_MAX, RIGHTS_CACHE_MS } from './constants.ts';
import { fitsGlob } from './glob.ts';
import { actionsOf, projectOf, type Role, type Visibility } from './project.ts';
import { Remembered } from './remembered.ts';
import { ACTIONS, type Action } from './scope.ts';
import type { AccessStore, AccountRow, MemberRow, ProjectRow, RobotRow } from './store.ts';

/** Who somebody is, apart from how that was shown. */
export type Subject =
  | { kind: 'admin' }
  | { kind: 'anonymous' }
  | { kind: 'account'; name: string }
  | { kind: 'robot'; project: string; name: string };

type RightsModules = {
  store: Pick<AccessStore, 'project' | 'account' | 'member' | 'robot'>;
};

const NONE: readonly Action[] = [];

/** How a subject is written in tokens. */
export function subjectText(subject: Subject): string {
  switch (subject.kind) {
    case 'admin':
      return 'admin';
    case 'anonymous':
      return '';
    case 'account':
      return `account:${subject.name}`;
    case 'robot':
      return `robot:${subject.project}+${subject.name}`;
    default:
      return unreachable(subject);
  }
}

/** What subjectText wrote; undefined for anything else. */
export function parseSubject(text: string): Subject | undefined {
  if (text === '') return { kind: 'anonymous' };
  if (text === 'admin') return { kind: 'admin' };
  const [, kind, rest = ''] = /^(account|robot):(.+)$/.exec(text) ?? [];
  if (kind === 'account') return { kind, name: rest };
  const plus = rest.indexOf('+');
  if (kind !== 'robot' || plus < 0) return undefined;
  return { kind, project: rest.slice(0, plus), name: rest.slice(plus + 1) };
}

/**
 * What each subject may do, read out of the catalog and remembered for RIGHTS_CACHE_MS; what this
 * program changes itself counts at once.
 */
export class Rights {
  readonly #now: () => number;
  readonly #projects: Remembered<ProjectRow>;
  readonly #accounts: Remembered<AccountRow>;
  readonly #members: Remembered<MemberRow>;
  readonly #robots: Remembered<RobotRow>;

  constructor({ now }: { now: () => number }, { store }: RightsModules) {
    const options = { max: RIGHTS_CACHE_MAX, ttlMs: RIGHTS_CACHE_MS, now };
    this.#now = now;
    this.#projects = new Remembered(options, { load: (name = '') => store.project(name) });
    this.#accounts = new Remembered(options, { load: (name = '') => store.account(name) });
    this.#members = new Remembered(options, {
      load: (project = '', account = '') => store.member(project, account),
    });
    this.#robots = new Remembered(options, {
      load: (project = '', name = '') => store.robot(project, name),
    });
  }

  /** Something was changed: everything is read anew. */
  changed(): void {
    for (const rows of [this.#projects, this.#accounts, this.#members, this.#robots]) rows.clear();
  }

  /** undefined: there is no such project. */
  async visibilityOf(project: string): Promise<Visibility | undefined> {
    return (await this.#projects.get(project))?.visibility;
  }

  async isPublic(repository: string): Promise<boolean> {
    return (await this.visibilityOf(projectOf(repository))) === 'public';
  }

  account(name: string): Promise<AccountRow | undefined> {
    return this.#accounts.get(name);
  }

  robot(project: string, name: string): Promise<RobotRow | undefined> {
    return this.#robots.get(project, name);
  }

  async roleIn(project: string, account: string): Promise<Role | undefined> {
    return (await this.#members.get(project, account))?.role;
  }

  /**
   * Grows when all that was issued to the subject is to end; undefined when it may not log in: it
   * is not there, disabled or expired. `admin` is what that of the admin is.
   */
  async epochOf(subject: Subject, admin: string): Promise<string | undefined> {
    switch (subject.kind) {
      case 'admin':
        return admin;
      case 'anonymous':
        return '';
      case 'account': {
        const row = await this.account(subject.name);
        return row === undefined || row.disabled ? undefined : String(row.epoch);
      }
      case 'robot': {
        const row = await this.robot(subject.project, subject.name);
        return row === undefined || !this.isActive(row) ? undefined : String(row.epoch);
      }
      default:
        return unreachable(subject);
    }
  }

  isActive(robot: RobotRow): boolean {
    if (robot.disabled) return false;
    return robot.expiresAtMs === undefined || this.#now() < robot.expiresAtMs;
  }

  /** What the subject may do with a repository now. */
  async actions(subject: Subject, repository: string): Promise<readonly Action[]> {
    if (subject.kind === 'admin') return ACTIONS;
    const project = projectOf(repository);
    const visibility = await this.visibilityOf(project);
    if (visibility === undefined) return NONE;
    const own = await this.#own(subject, project, repository);
    if (visibility !== 'public' || own.includes('pull')) return own;
    return ['pull', ...own];
  }

  async #own(
    subject: Exclude<Subject, { kind: 'admin' }>,
    project: string,
    repository: string,
  ): Promise<readonly Action[]> {
    switch (subject.kind) {
      case 'anonymous':
        return NONE;
      case 'account': {
        const role = await this.roleIn(project, subject.name);
        return role === undefined ? NONE : actionsOf(role);
      }
      case 'robot': {
        if (subject.project !== project) return NONE;
        const permissions = (await this.robot(project, subject.name))?.permissions ?? [];
        const fitting = permissions.filter((one) => fitsGlob(one.repository, repository));
        return ACTIONS.filter((action) => fitting.some(({ actions }) => actions.includes(action)));
      }
      default:
        return unreachable(subject);
    }
  }
}

function unreachable(subject: never): never {
  throw new TypeError(`no such subject: ${JSON.stringify(subject)}`);
}
