import type { ColumnType, Selectable } from 'kysely';
import type {
  AccountRow,
  MemberRow,
  ProjectRow,
  RefreshRow,
  RobotPermission,
  RobotRow,
} from '../access/store.ts';
import { ROLES, VISIBILITIES } from '../access/project.ts';
import { ACTIONS } from '../access/scope.ts';
import type { Big } from './schema.ts';

type OptionalBig = ColumnType<
  number | string | null,
  number | null | undefined,
  number | null | undefined
>;

/** Tables of migration 0006. */
export type AccessTables = {
  project: { name: string; visibility: string; created_at_ms: Big };
  account: {
    name: string;
    password_hash: string;
    /** 0 or 1. */
    disabled: number;
    epoch: Big;
    created_at_ms: Big;
  };
  project_member: { project: string; account: string; role: string };
  robot: {
    project: string;
    name: string;
    description: string;
    secret_hash: string;
    /** JSON list. */
    permissions: string;
    expires_at_ms: OptionalBig;
    /** 0 or 1. */
    disabled: number;
    epoch: Big;
    created_at_ms: Big;
  };
  refresh_token: {
    hash: string;
    family: string;
    subject: string;
    service: string;
    epoch: string;
    expires_at_ms: Big;
    replaced_at_ms: OptionalBig;
  };
};

/** Whatever else is stored means private: nobody gets more than was given. */
export function projectRowOf(row: Selectable<AccessTables['project']>): ProjectRow {
  const visibility = VISIBILITIES.find((known) => known === row.visibility) ?? 'private';
  return { name: row.name, visibility, createdAtMs: Number(row.created_at_ms) };
}

export function accountRowOf(row: Selectable<AccessTables['account']>): AccountRow {
  return {
    name: row.name,
    passwordHash: row.password_hash,
    disabled: row.disabled !== 0,
    epoch: Number(row.epoch),
    createdAtMs: Number(row.created_at_ms),
  };
}

export function memberRowOf(row: { account: string; role: string }): MemberRow {
  return { account: row.account, role: ROLES.find((known) => known === row.role) ?? 'guest' };
}

export function robotRowOf(row: Selectable<AccessTables['robot']>): RobotRow {
  return {
    project: row.project,
    name: row.name,
    description: row.description,
    secretHash: row.secret_hash,
    permissions: permissionsOf(row.permissions),
    expiresAtMs: row.expires_at_ms === null ? undefined : Number(row.expires_at_ms),
    disabled: row.disabled !== 0,
    epoch: Number(row.epoch),
    createdAtMs: Number(row.created_at_ms),
  };
}

export function refreshRowOf(row: Selectable<AccessTables['refresh_token']>): RefreshRow {
  return {
    hash: row.hash,
    family: row.family,
    subject: row.subject,
    service: row.service,
    epoch: row.epoch,
    expiresAtMs: Number(row.expires_at_ms),
    replacedAtMs: row.replaced_at_ms === null ? undefined : Number(row.replaced_at_ms),
  };
}

function permissionsOf(json: string): RobotPermission[] {
  const list: unknown = JSON.parse(json);
  if (!Array.isArray(list)) return [];
  return list.flatMap((entry: unknown) => {
    if (typeof entry !== 'object' || entry === null) return [];
    if (!('repository' in entry) || typeof entry.repository !== 'string') return [];
    const given: unknown[] =
      'actions' in entry && Array.isArray(entry.actions) ? entry.actions : [];
    const actions = ACTIONS.filter((action) => given.includes(action));
    return [{ repository: entry.repository, actions }];
  });
}
