import type { Kysely, Transaction } from 'kysely';
import { DEFAULT_PROJECT, type Visibility } from '../access/project.ts';
import type {
  AccessStore,
  AccountRow,
  MemberRow,
  NamePage,
  ProjectRow,
  RobotRow,
} from '../access/store.ts';
import {
  accountRowOf,
  memberRowOf,
  projectRowOf,
  robotRowOf,
  type AccessTables,
} from './access-tables.ts';
import { KyselyRefreshStore } from './refresh-store.ts';
import type { RegistryTables } from './schema.ts';
import { transact } from './transact.ts';

type Tables = AccessTables & Pick<RegistryTables, 'repository'>;

/** Accounts, projects and robots in the tables of migration 0006. */
export class KyselyAccessStore extends KyselyRefreshStore implements AccessStore {
  readonly #db: Kysely<Tables>;

  constructor(modules: { db: Kysely<Tables> }) {
    super({ db: modules.db.withTables<AccessTables>() });
    this.#db = modules.db;
  }

  async project(name: string): Promise<ProjectRow | undefined> {
    const found = this.#db.selectFrom('project').selectAll().where('name', '=', name);
    const row = await found.executeTakeFirst();
    return row && projectRowOf(row);
  }

  async projects({ n, last }: NamePage): Promise<ProjectRow[]> {
    const all = this.#db.selectFrom('project').selectAll().orderBy('name').limit(n);
    const rows = await (last === undefined ? all : all.where('name', '>', last)).execute();
    return rows.map(projectRowOf);
  }

  async projectsOf(account: string | undefined, { n, last }: NamePage): Promise<ProjectRow[]> {
    const all = this.#db.selectFrom('project').selectAll('project').orderBy('name').limit(n);
    const visible = all.where((where) => {
      const isPublic = where('visibility', '=', 'public');
      if (account === undefined) return isPublic;
      const membership = where
        .selectFrom('project_member')
        .select('role')
        .whereRef('project_member.project', '=', 'project.name')
        .where('project_member.account', '=', account);
      return where.or([isPublic, where.exists(membership)]);
    });
    const rows = await (last === undefined ? visible : visible.where('name', '>', last)).execute();
    return rows.map(projectRowOf);
  }

  addProject(row: ProjectRow, { max }: { max: number }): Promise<'ok' | 'exists' | 'full'> {
    return transact(
      this.#db,
      async (db) => {
        if (await hasProject(db, row.name)) return 'exists';
        const count = db.selectFrom('project').select(({ fn }) => fn.countAll().as('count'));
        if (Number((await count.executeTakeFirstOrThrow()).count) >= max) return 'full';
        const inserted = await db
          .insertInto('project')
          .values({ name: row.name, visibility: row.visibility, created_at_ms: row.createdAtMs })
          .onConflict((conflict) => conflict.column('name').doNothing())
          .executeTakeFirst();
        return Number(inserted.numInsertedOrUpdatedRows) > 0 ? 'ok' : 'exists';
      },
      { lock: 'access' },
    );
  }

  async setVisibility(project: string, visibility: Visibility): Promise<boolean> {
    const update = this.#db.updateTable('project').set({ visibility }).where('name', '=', project);
    return (await update.executeTakeFirst()).numUpdatedRows > 0n;
  }

  deleteProject(name: string): Promise<'ok' | 'unknown' | 'in-use'> {
    return transact(
      this.#db,
      async (db) => {
        const inside = db
          .selectFrom('repository')
          .select('name')
          // "0" is the character after the slash.
          .where((eb) => eb.and([eb('name', '>', `${name}/`), eb('name', '<', `${name}0`)]))
          .limit(1);
        if ((await inside.executeTakeFirst()) !== undefined) return 'in-use';
        if (name === DEFAULT_PROJECT) {
          const short = db.selectFrom('repository').select('name').where('name', 'not like', '%/%');
          if ((await short.limit(1).executeTakeFirst()) !== undefined) return 'in-use';
        }
        const result = await db.deleteFrom('project').where('name', '=', name).executeTakeFirst();
        return result.numDeletedRows > 0n ? 'ok' : 'unknown';
      },
      { lock: 'access' },
    );
  }

  async account(name: string): Promise<AccountRow | undefined> {
    const found = this.#db.selectFrom('account').selectAll().where('name', '=', name);
    const row = await found.executeTakeFirst();
    return row && accountRowOf(row);
  }

  async accounts({ n, last }: NamePage): Promise<AccountRow[]> {
    const all = this.#db.selectFrom('account').selectAll().orderBy('name').limit(n);
    const rows = await (last === undefined ? all : all.where('name', '>', last)).execute();
    return rows.map(accountRowOf);
  }

  addAccount(row: AccountRow, { max }: { max: number }): Promise<'ok' | 'exists' | 'full'> {
    return transact(
      this.#db,
      async (db) => {
        const count = db.selectFrom('account').select(({ fn }) => fn.countAll().as('count'));
        const { count: taken } = await count.executeTakeFirstOrThrow();
        const inserted = await db
          .insertInto('account')
          .values({
            name: row.name,
            password_hash: row.passwordHash,
            disabled: row.disabled ? 1 : 0,
            epoch: row.epoch,
            created_at_ms: row.createdAtMs,
          })
          .onConflict((conflict) => conflict.column('name').doNothing())
          .returning('name')
          .executeTakeFirst();
        if (inserted === undefined) return 'exists';
        if (Number(taken) < max) return 'ok';
        await db.deleteFrom('account').where('name', '=', row.name).execute();
        return 'full';
      },
      { lock: 'access' },
    );
  }

  async changeAccount(
    name: string,
    change: { passwordHash?: string | undefined; disabled?: boolean | undefined; nowMs: number },
  ): Promise<boolean> {
    return transact(
      this.#db,
      async (db) => {
        const found = db.selectFrom('account').select('epoch').where('name', '=', name);
        const row = await found.executeTakeFirst();
        if (row === undefined) return false;
        await db
          .updateTable('account')
          .set({
            epoch: Math.max(Number(row.epoch) + 1, change.nowMs),
            ...(change.passwordHash === undefined ? {} : { password_hash: change.passwordHash }),
            ...(change.disabled === undefined ? {} : { disabled: change.disabled ? 1 : 0 }),
          })
          .where('name', '=', name)
          .execute();
        return true;
      },
      { lock: 'access' },
    );
  }

  async deleteAccount(name: string): Promise<boolean> {
    const removal = this.#db.deleteFrom('account').where('name', '=', name);
    return (await removal.executeTakeFirst()).numDeletedRows > 0n;
  }

  async member(project: string, account: string): Promise<MemberRow | undefined> {
    const row = await this.#db
      .selectFrom('project_member')
      .select(['account', 'role'])
      .where('project', '=', project)
      .where('account', '=', account)
      .executeTakeFirst();
    return row && memberRowOf(row);
  }

  async members(project: string, { n, last }: NamePage): Promise<MemberRow[]> {
    const all = this.#db
      .selectFrom('project_member')
      .select(['account', 'role'])
      .where('project', '=', project)
      .orderBy('account')
      .limit(n);
    const rows = await (last === undefined ? all : all.where('account', '>', last)).execute();
    return rows.map(memberRowOf);
  }

  putMember(project: string, { account, role }: MemberRow): Promise<boolean> {
    return transact(
      this.#db,
      async (db) => {
        if (!(await hasProject(db, project))) return false;
        const known = db.selectFrom('account').select('name').where('name', '=', account);
        if ((await known.executeTakeFirst()) === undefined) return false;
        await db
          .insertInto('project_member')
          .values({ project, account, role })
          .onConflict((conflict) => conflict.columns(['project', 'account']).doUpdateSet({ role }))
          .execute();
        return true;
      },
      { lock: 'access' },
    );
  }

  async deleteMember(project: string, account: string): Promise<boolean> {
    const result = await this.#db
      .deleteFrom('project_member')
      .where('project', '=', project)
      .where('account', '=', account)
      .executeTakeFirst();
    return result.numDeletedRows > 0n;
  }

  async robot(project: string, name: string): Promise<RobotRow | undefined> {
    const row = await this.#db
      .selectFrom('robot')
      .selectAll()
      .where('project', '=', project)
      .where('name', '=', name)
      .executeTakeFirst();
    return row && robotRowOf(row);
  }

  async robots(project: string, { n, last }: NamePage): Promise<RobotRow[]> {
    const all = this.#db
      .selectFrom('robot')
      .selectAll()
      .where('project', '=', project)
      .orderBy('name')
      .limit(n);
    const rows = await (last === undefined ? all : all.where('name', '>', last)).execute();
    return rows.map(robotRowOf);
  }

  addRobot(row: RobotRow, { max }: { max: number }): Promise<'ok' | 'exists' | 'full' | 'unknown'> {
    return transact(
      this.#db,
      async (db) => {
        if (!(await hasProject(db, row.project))) return 'unknown';
        const { count } = await db
          .selectFrom('robot')
          .select(({ fn }) => fn.countAll().as('count'))
          .where('project', '=', row.project)
          .executeTakeFirstOrThrow();
        const inserted = await db
          .insertInto('robot')
          .values({
            project: row.project,
            name: row.name,
            description: row.description,
            secret_hash: row.secretHash,
            permissions: JSON.stringify(row.permissions),
            expires_at_ms: row.expiresAtMs ?? null,
            disabled: row.disabled ? 1 : 0,
            epoch: row.epoch,
            created_at_ms: row.createdAtMs,
          })
          .onConflict((conflict) => conflict.columns(['project', 'name']).doNothing())
          .returning('name')
          .executeTakeFirst();
        if (inserted === undefined) return 'exists';
        if (Number(count) < max) return 'ok';
        const robots = db.deleteFrom('robot').where('project', '=', row.project);
        await robots.where('name', '=', row.name).execute();
        return 'full';
      },
      { lock: 'access' },
    );
  }

  changeRobot(
    project: string,
    name: string,
    change: {
      secretHash?: string | undefined;
      disabled?: boolean | undefined;
      expiresAtMs?: number | null | undefined;
      nowMs: number;
    },
  ): Promise<boolean> {
    return transact(
      this.#db,
      async (db) => {
        const row = await db
          .selectFrom('robot')
          .select('epoch')
          .where('project', '=', project)
          .where('name', '=', name)
          .executeTakeFirst();
        if (row === undefined) return false;
        const { secretHash, disabled, expiresAtMs } = change;
        await db
          .updateTable('robot')
          .set({
            epoch: Math.max(Number(row.epoch) + 1, change.nowMs),
            ...(secretHash === undefined ? {} : { secret_hash: secretHash }),
            ...(disabled === undefined ? {} : { disabled: disabled ? 1 : 0 }),
            ...(expiresAtMs === undefined ? {} : { expires_at_ms: expiresAtMs }),
          })
          .where('project', '=', project)
          .where('name', '=', name)
          .execute();
        return true;
      },
      { lock: 'access' },
    );
  }

  async deleteRobot(project: string, name: string): Promise<boolean> {
    const robots = this.#db.deleteFrom('robot').where('project', '=', project);
    return (await robots.where('name', '=', name).executeTakeFirst()).numDeletedRows > 0n;
  }
}

async function hasProject(db: Transaction<Tables>, name: string): Promise<boolean> {
  const found = db.selectFrom('project').select('name').where('name', '=', name);
  return (await found.executeTakeFirst()) !== undefined;
}
