import { digestOf } from '../../proto/oci/digest.ts';

/** The one big repository of a filled catalog. */
export const REPOSITORY = 'team/app';
/** What every manifest of it refers to. */
export const SUBJECT = digestOf(Buffer.from('subject'));
/** One in so many manifests is an SBOM; the others are signatures. */
export const SBOM_EVERY = 10;
export const SBOM = 'text/sbom';
const SIGNATURE = 'text/signature';
/** One in so many manifests gives a repository of its own. */
const REPOSITORY_EVERY = 10;

/** The tag of manifest number `i`. */
export function tagOf(i: number): string {
  return `v${String(i).padStart(9, '0')}`;
}

/** How one kind of database writes what is needed here. */
type Words = {
  /** Rows i = 1..n. */
  numbers(n: number): string;
  digest: string;
  tag: string;
  bytes: string;
  before: string;
  after: string;
};

const SQLITE: Words = {
  numbers: (n) =>
    `(with recursive up(i) as (select 1 union all select i + 1 from up where i < ${n})
      select i from up) as rows`,
  digest: `printf('sha256:%064x', i)`,
  tag: `printf('v%09d', i)`,
  bytes: `x'7b7d'`,
  before: 'pragma foreign_keys = off; begin',
  after: 'commit; pragma foreign_keys = on; analyze',
};

const POSTGRES: Words = {
  numbers: (n) => `generate_series(1, ${n}) as rows(i)`,
  digest: `'sha256:' || lpad(to_hex(i), 64, '0')`,
  tag: `'v' || lpad(i::text, 9, '0')`,
  bytes: `'\\x7b7d'::bytea`,
  before: 'set session_replication_role = replica; begin',
  after: 'commit; set session_replication_role = default; vacuum analyze',
};

/**
 * Statements that fill an empty catalog with `count` manifests in one repository, each with a tag
 * of its own and all with the same subject, and with a tenth as many other repositories.
 */
export function fillStatements(kind: 'sqlite' | 'postgres', count: number): string[] {
  const words = kind === 'sqlite' ? SQLITE : POSTGRES;
  const rows = words.numbers(count);
  const type = `case when i % ${SBOM_EVERY} = 0 then '${SBOM}' else '${SIGNATURE}' end`;
  const media = `'application/vnd.oci.image.manifest.v1+json'`;
  const others = words.numbers(Math.ceil(count / REPOSITORY_EVERY));
  return [
    ...words.before.split('; '),
    `insert into repository (name) values ('${REPOSITORY}')`,
    `insert into repository (name) select 'many/' || ${words.tag} from ${others}`,
    `insert into manifest (repository, digest, media_type, bytes, subject, artifact_type)
     select '${REPOSITORY}', ${words.digest}, ${media}, ${words.bytes}, '${SUBJECT}', ${type}
     from ${rows}`,
    `insert into tag (repository, name, digest)
     select '${REPOSITORY}', ${words.tag}, ${words.digest} from ${rows}`,
    `insert into referrer (repository, digest, subject, media_type, size, artifact_type,
       annotations, entry_bytes)
     select '${REPOSITORY}', ${words.digest}, '${SUBJECT}', ${media}, 2, ${type}, null, 300
     from ${rows}`,
    ...words.after.split('; '),
  ];
}
