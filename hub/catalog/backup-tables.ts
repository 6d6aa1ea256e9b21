/** A table as it goes into a backup. */
export type BackupTable = {
  name: string;
  /** Primary key, by which it is read. */
  key: readonly string[];
  /** Its rows may have megabytes: few of them are held at a time. */
  large?: true;
  /** Only rows in which this column is null. */
  onlyWithout?: string;
  /** Columns that begin anew. */
  fresh?: readonly string[];
};

/**
 * What a backup holds of the catalog, in an order in which rows can be put back: whatever a row
 * names comes before it. Blobs in quarantine are left out: their bytes are about to go.
 */
export const BACKUP_TABLES: readonly BackupTable[] = [
  { name: 'fleet_meta', key: ['key'] },
  { name: 'fleet_key_ring', key: ['name'] },
  { name: 'fleet_member', key: ['serial'] },
  { name: 'project', key: ['name'] },
  { name: 'account', key: ['name'] },
  { name: 'project_member', key: ['project', 'account'] },
  { name: 'robot', key: ['project', 'name'] },
  { name: 'purged_digest', key: ['digest'] },
  { name: 'prefetch_policy', key: ['name'], fresh: ['next_at_ms', 'note'] },
  { name: 'blob_object', key: ['digest'] },
  {
    name: 'blob',
    key: ['digest'],
    large: true,
    onlyWithout: 'quarantined_at_ms',
    fresh: ['quarantined_at_ms', 'deleting', 'pinned_until_ms'],
  },
  { name: 'repository', key: ['name'] },
  { name: 'repository_blob', key: ['repository', 'digest'] },
  { name: 'manifest', key: ['repository', 'digest'], large: true },
  { name: 'manifest_reference', key: ['repository', 'manifest_digest', 'digest', 'kind'] },
  { name: 'tag', key: ['repository', 'name'] },
  { name: 'upstream_tag', key: ['repository', 'name'] },
  { name: 'referrer', key: ['repository', 'digest'], large: true },
  // Rules come back switched off: the hub may be older than what they have copied since.
  { name: 'replication_rule', key: ['name'], fresh: ['enabled'] },
];

/** Who may do what, and what of it was ended: tables that belong together. */
export const RIGHTS_TABLES: ReadonlySet<string> = new Set([
  'fleet_meta',
  'fleet_key_ring',
  'fleet_member',
  'project',
  'account',
  'project_member',
  'robot',
  'purged_digest',
]);

/** What a backup leaves out on purpose, and why. */
export const TABLES_LEFT_OUT: Readonly<Record<string, string>> = {
  schema_version: 'said in the first line of the backup',
  fleet_join_token: 'may be used up or unwanted by the time it came back',
  refresh_token: 'may have been ended by the time it came back',
  upload_session: 'the bytes of blobs in the making are not in the backup',
  upload_leaves: 'the bytes of blobs in the making are not in the backup',
  upstream_ingest: 'the bytes of blobs in the making are not in the backup',
  loose_object: 'names objects that are no blobs',
  removed_link: 'is about blobs in quarantine',
  purge_acted: 'is about nodes that say it again',
  collector: 'is about the collection that goes on now',
  gc_run: 'tells what collections did on blobs that may be back',
  replica: 'is about hubs that run now',
  replica_epoch: 'is about hubs that run now',
  named_lease: 'is about works that go on now',
  job: 'is about works that go on now',
  job_schedule: 'follows from rules, which come back switched off',
  replication_result: 'tells what replication did with content that may be another now',
  prefetch_order: 'is about works that go on now',
  prefetch_node: 'is about works that go on now',
  replication_transfer: 'is about blobs that are there in part',
  fleet_last_call: 'is about calls that are too old to be made again',
  login_failure: 'is about logins of the last minutes',
  login_success: 'is about logins of the last minutes',
  upstream_budget: 'is told again by upstreams',
};
