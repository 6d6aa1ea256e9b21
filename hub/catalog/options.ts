import { Type, type Static } from 'typebox';
import { Secret } from '../../proto/ops/config.ts';
import { POOL_SIZE, POOL_SIZE_MAX } from './constants.ts';
import type { PostgresPoolOptions } from './postgres-pool.ts';

const PORT = 5432;

/** Section `catalog` of the hub. */
export const CatalogOptions = Type.Object(
  {
    url: Type.Optional(
      Type.String({
        description:
          'postgres://user@host:5432/database, or postgres://user@/database?host=/folder for a ' +
          'Unix socket; if left out, SQLite in the data folder',
      }),
    ),
    password: Type.Optional(
      Secret({ description: 'password of the PostgreSQL user; better in passwordFile' }),
    ),
    passwordFile: Type.Optional(
      Type.String({
        description: 'file with the password, read again for every connection',
      }),
    ),
    tls: Type.Union([Type.Literal('verify'), Type.Literal('off')], {
      description: 'TLS to PostgreSQL with a checked certificate, or none; none on a Unix socket',
      default: 'verify',
    }),
    caFile: Type.Optional(
      Type.String({
        description: 'PEM certificates of those who may sign the one of PostgreSQL',
      }),
    ),
    connections: Type.Integer({
      description: 'most connections of this hub to PostgreSQL',
      default: POOL_SIZE,
      minimum: 2,
      maximum: POOL_SIZE_MAX,
    }),
  },
  { description: 'where blobs, manifests, tags and the fleet are recorded', default: {} },
);

export type CatalogConfig = Static<typeof CatalogOptions>;

/** Where PostgreSQL is and how to reach it, with the file of a certificate not read yet. */
export type PostgresSettings = Omit<PostgresPoolOptions, 'tls'> & {
  tls: boolean;
  caFile?: string;
};

/** The PostgreSQL of the section, undefined for SQLite; `refuse` hears what is wrong. */
export function postgresOf(
  config: CatalogConfig,
  refuse: (path: string, message: string) => void,
): PostgresSettings | undefined {
  const { url, password, passwordFile, caFile, connections } = config;
  if (password !== undefined && passwordFile !== undefined) {
    refuse('catalog.passwordFile', 'password is set too; keep one of them');
  }
  if (caFile !== undefined && config.tls === 'off') {
    refuse('catalog.caFile', 'is not used, because catalog.tls is off');
  }
  if (url === undefined) {
    for (const key of ['password', 'passwordFile', 'caFile'] as const) {
      if (config[key] !== undefined) refuse(`catalog.${key}`, 'is of no use without catalog.url');
    }
    return undefined;
  }
  const place = placeOf(url);
  if (typeof place === 'string') {
    refuse('catalog.url', place);
    return undefined;
  }
  return {
    ...place,
    tls: config.tls === 'verify' && !place.host.startsWith('/'),
    connections,
    ...(password === undefined ? {} : { password }),
    ...(passwordFile === undefined ? {} : { passwordFile }),
    ...(caFile === undefined ? {} : { caFile }),
  };
}

type Place = { host: string; port: number; user: string; database: string };

/** The parts of the URL, or what is wrong with it, without any of its secrets. */
function placeOf(text: string): Place | string {
  // A host may be left out before a Unix socket; URL wants one then.
  const url = URL.parse(text.replace(/^(postgres(?:ql)?:\/\/[^@/?#]*@)(?=[/?])/, '$1-'));
  if (url === null || !/^postgres(?:ql)?:$/.test(url.protocol)) return 'is no postgres:// URL';
  if (url.password !== '')
    return 'has a password; write it to a file and name that in passwordFile';
  for (const key of url.searchParams.keys()) {
    if (key !== 'host' && key !== 'port') return `"${key}" is not read; see the keys of catalog`;
  }
  const folder = url.searchParams.get('host');
  if (folder !== null && !folder.startsWith('/')) return 'host=, for a Unix socket, is no folder';
  const named = url.hostname === '-' ? '' : url.hostname.replace(/^\[(.*)\]$/, '$1');
  const host = folder ?? named;
  if (host === '') return 'names no host';
  const port = Number((url.searchParams.get('port') ?? url.port) || PORT);
  if (!(Number.isInteger(port) && port > 0 && port < 65_536)) return 'has a port that is none';
  try {
    const user = decodeURIComponent(url.username);
    const database = decodeURIComponent(url.pathname.slice(1));
    if (user === '') return 'names no user';
    if (database === '' || database.includes('/')) return 'names no database';
    return { host, port, user, database };
  } catch {
    return 'has a % that stands for no character';
  }
}
