import { Type, type Static } from 'typebox';
import { RegistryAccess } from '../../proto/distribution/options.ts';
import { ByteSize, Secret } from '../../proto/ops/config.ts';
import { PUSH_CHUNK_BYTES, REGISTRIES_MAX } from './constants.ts';

const NAME = '^[a-z0-9]+(?:[._-][a-z0-9]+)*$';
const NAME_MAX_CHARS = 64;
const CHUNK_MIN_BYTES = 1024 * 1024;

const RegistryOptions = Type.Object({
  name: Type.String({
    description: 'what rules call it',
    pattern: NAME,
    maxLength: NAME_MAX_CHARS,
  }),
  url: Type.String({ description: 'https://host[:port] of its API' }),
  username: Type.Optional(Type.String({ description: 'name of the account; none: without one' })),
  password: Type.Optional(
    Secret({ description: 'its password or access token; better in passwordFile' }),
  ),
  passwordFile: Type.Optional(
    Type.String({
      description: 'file with the password or token, such as a mounted secret; read for each run',
    }),
  ),
  ...RegistryAccess,
  chunkSize: ByteSize({
    description: 'bytes of one request of a push; what a restart may send again',
    default: `${PUSH_CHUNK_BYTES / 1024 / 1024}MiB`,
    minimum: CHUNK_MIN_BYTES,
  }),
});
export type RegistryConfig = Static<typeof RegistryOptions>;

/** Section `replication` of the hub. */
export const ReplicationOptions = Type.Object(
  {
    registries: Type.Array(RegistryOptions, {
      description: 'registries that rules of replication may name',
      default: [],
      maxItems: REGISTRIES_MAX,
    }),
  },
  { description: 'copying to and from other registries', default: {} },
);
export type ReplicationConfig = Static<typeof ReplicationOptions>;

/** Tells of settings that do not fit together. */
export function checkReplication(
  { registries }: ReplicationConfig,
  refuse: (path: string, message: string) => void,
): void {
  const names = new Set<string>();
  for (const [i, one] of registries.entries()) {
    const path = `replication.registries[${i}]`;
    if (names.has(one.name)) refuse(`${path}.name`, `"${one.name}" is named twice`);
    names.add(one.name);
    const url = URL.parse(one.url);
    if (url === null || !/^https?:$/.test(url.protocol) || `${url.origin}/` !== url.href) {
      refuse(`${path}.url`, 'is not https://host[:port] or http://host[:port] and nothing more');
    }
    const { username, password, passwordFile } = one;
    if (password !== undefined && passwordFile !== undefined) {
      refuse(`${path}.passwordFile`, 'password is set too; keep one of them');
    }
    const hasPassword = password !== undefined || passwordFile !== undefined;
    if ((username !== undefined) !== hasPassword) {
      refuse(`${path}.username`, 'a user name and a password belong together');
    }
  }
}
