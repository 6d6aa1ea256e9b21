import type { TestContext } from 'node:test';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import { KyselyAccessStore } from '../catalog/access-store.ts';
import type { AccessTables } from '../catalog/access-tables.ts';
import { openSqliteCatalog } from '../catalog/sqlite-catalog.ts';
import { openAccess, type Access, type Identity } from './access.ts';
import { createAccessMetrics } from './metrics.ts';
import type { AccessConfig } from './options.ts';
import { secretHash } from './passwords.ts';
import type { Role, Visibility } from './project.ts';
import { Rights } from './rights.ts';
import type { RobotPermission } from './store.ts';
import type { TokenKeys } from './tokens.ts';

export const START_MS = 1_700_000_000_000;
export const ADMIN_OPTIONS: AccessConfig = {
  adminUsername: 'admin',
  adminPassword: 'pass:word',
  defaultVisibility: 'public',
};
const MAX = { max: 1000 };
const FROM = { address: '10.0.0.1' };

export function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

export function keysOf(ring: KeyRing): TokenKeys {
  return {
    current: () => ring.signingKey('token'),
    find: (keyId) => ring.verificationKey('token', keyId),
    sealed: (tag, bytes) => ring.sealed(tag, bytes),
  };
}

/** The access room over a database in memory, with a clock of its own. */
export class TestAccess {
  readonly clock = { nowMs: START_MS };
  readonly ring: KeyRing;
  readonly lines: string[] = [];
  readonly metrics = new MetricsRegistry({ prefix: 'flotilla_hub_' });
  readonly store: KyselyAccessStore;
  readonly rights: Rights;
  #access: Access | undefined;

  private constructor(store: KyselyAccessStore, ring: KeyRing) {
    this.store = store;
    this.ring = ring;
    this.rights = new Rights({ now: () => this.clock.nowMs }, { store });
  }

  static async open(
    t: TestContext,
    fields: { options?: AccessConfig; dataDir?: string; ring?: KeyRing } = {},
  ): Promise<TestAccess> {
    const catalog = await openSqliteCatalog({ path: ':memory:' });
    t.after(() => catalog.close());
    const own = new TestAccess(
      new KyselyAccessStore({ db: catalog.db.withTables<AccessTables>() }),
      fields.ring ?? KeyRing.create(START_MS),
    );
    const write = (line: string): void => void own.lines.push(line);
    const { options = ADMIN_OPTIONS, dataDir = '/nowhere' } = fields;
    own.#access = await openAccess(options, {
      dataDir,
      tokenKeys: keysOf(own.ring),
      rights: own.rights,
      store: own.store,
      metrics: createAccessMetrics(own.metrics),
      logger: createLogger({ level: 'warn', name: 'test' }, { write }),
      now: () => own.clock.nowMs,
    });
    return own;
  }

  get access(): Access {
    if (this.#access === undefined) throw new Error('not open');
    return this.#access;
  }

  identify(authorization: string | undefined, address = FROM.address): Promise<Identity> {
    return this.access.identify(authorization, { address });
  }

  async project(name: string, visibility: Visibility = 'private'): Promise<void> {
    await this.store.addProject({ name, visibility, createdAtMs: START_MS }, MAX);
    this.rights.changed();
  }

  /** An account with its name and "-password" for a password. */
  async account(name: string, roles: Record<string, Role> = {}): Promise<string> {
    const password = `${name}-password`;
    const passwordHash = await this.access.passwords.hash(password);
    const row = { name, passwordHash, disabled: false, epoch: START_MS, createdAtMs: START_MS };
    await this.store.addAccount(row, MAX);
    for (const [project, role] of Object.entries(roles)) {
      await this.store.putMember(project, { account: name, role });
    }
    this.rights.changed();
    return basic(name, password);
  }

  async robot(
    project: string,
    name: string,
    permissions: RobotPermission[],
    expiresAtMs?: number,
  ): Promise<string> {
    const secret = `secret of ${name}`;
    const row = { project, name, description: '', permissions, expiresAtMs, disabled: false };
    const times = { epoch: START_MS, createdAtMs: START_MS };
    await this.store.addRobot({ ...row, ...times, secretHash: secretHash(secret) }, MAX);
    this.rights.changed();
    return basic(`robot$${project}+${name}`, secret);
  }

  /** Who a token of this scope says its bearer is. */
  async bearer(authorization: string | undefined, ...scopes: string[]): Promise<Identity> {
    const { token } = await this.token(authorization, ...scopes);
    return this.identify(`Bearer ${token}`);
  }

  async token(authorization: string | undefined, ...scopes: string[]) {
    const identity = await this.identify(authorization);
    return this.access.issueToken(identity, { scopes, service: 'flotilla', offline: false });
  }

  async may(identity: Identity, repository: string): Promise<string> {
    return (await this.access.actions(identity, repository)).join();
  }
}
