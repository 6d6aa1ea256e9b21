import { Type } from 'typebox';
import type { Static } from 'typebox';
import { ByteSize, Listen } from '../proto/ops/config.ts';
import { LISTENERS_MAX } from '../proto/ops/constants.ts';
import { ConfigError, type ConfigProblem } from '../proto/ops/errors.ts';
import { LogOptions, opsOptions } from '../proto/ops/options.ts';
import { isZoneName } from '../proto/trust/membership.ts';
import { AccessOptions } from './access/options.ts';
import { BlobsOptions, checkBlobs } from './blobs/options.ts';
import { BundlesOptions } from './bundle/options.ts';
import { CatalogOptions, postgresOf, type PostgresSettings } from './catalog/options.ts';
import { networksOf } from './fleet/address-policy.ts';
import { FleetOptions } from './fleet/options.ts';
import { checkGc, GcOptions } from './gc/options.ts';
import { parseExternalUrl } from './http/base-url.ts';
import { CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX } from './http/constants.ts';
import type { CertificateFiles } from './http/certificate.ts';
import { advertisedOf, ReplicasOptions } from './replicas/options.ts';
import { checkReplication, ReplicationOptions } from './replication/options.ts';
import { checkUpstreams } from './upstream/check.ts';
import { UpstreamsOptions } from './upstream/options.ts';

const NAMES_MAX = 32;
const CONNECTIONS_PER_ADDRESS_MIN = 16;
const UPLINK_MIN = 1_000_000;

const HttpOptions = Type.Object(
  {
    listen: Type.Array(Listen({ description: 'an address of this machine' }), {
      description: 'where registry and fleet API are served',
      default: [':7400'],
      minItems: 1,
      maxItems: LISTENERS_MAX,
    }),
    trustedProxies: Type.Array(Type.String({ description: 'a network such as 10.0.0.0/8' }), {
      description: 'networks of proxies whose X-Forwarded-For, -Proto and -Host are believed',
      default: [],
      maxItems: NAMES_MAX,
    }),
    connectionsPerAddress: Type.Integer({
      description:
        'connections of one address, or one /64 of IPv6, at the same time, unless it is a ' +
        'trusted proxy',
      default: CONNECTIONS_PER_ADDRESS_MAX,
      minimum: CONNECTIONS_PER_ADDRESS_MIN,
      maximum: CONNECTIONS_MAX,
    }),
    uplink: Type.Optional(
      ByteSize({
        description:
          'bytes per second of the link of the hub, of which blobs get 94 %, shared evenly by ' +
          'repositories; if left out, what the network card says; if that is silent, not bounded',
        minimum: UPLINK_MIN,
      }),
    ),
  },
  { description: 'the registry and the fleet API', default: {} },
);

const TlsOptions = Type.Object(
  {
    certFile: Type.Optional(Type.String({ description: 'PEM certificate chain; none: http' })),
    keyFile: Type.Optional(Type.String({ description: 'PEM private key of the certificate' })),
  },
  { description: 'TLS of the registry and the fleet API', default: {} },
);

const HubSection = Type.Object(
  {
    dataDir: Type.String({
      description: 'folder of blobs, catalog and keys',
      default: '/var/lib/flotilla',
      minLength: 1,
    }),
    names: Type.Array(Type.String({ description: 'a host, with its port if it has one' }), {
      description: 'hosts in image names that mean this hub',
      default: [],
      maxItems: NAMES_MAX,
    }),
    externalUrl: Type.Optional(
      Type.String({
        description:
          'https://host or http://host where clients get tokens; default: where they ask',
      }),
    ),
  },
  { description: 'identity and data of the hub', default: {} },
);

const RegistrySection = Type.Object(
  {
    sparseIndexes: Type.Boolean({
      description: 'indexes may name manifests that are not in their repository',
      default: false,
    }),
    sparseImages: Type.Boolean({
      description: 'images may name layers that are not in their repository',
      default: false,
    }),
  },
  { description: 'what may be pushed', default: {} },
);

/** The configuration of a hub, one section per room. */
export const HubOptions = Type.Object({
  log: LogOptions,
  http: HttpOptions,
  tls: TlsOptions,
  ops: opsOptions(7401),
  hub: HubSection,
  catalog: CatalogOptions,
  registry: RegistrySection,
  blobs: BlobsOptions,
  access: AccessOptions,
  fleet: FleetOptions,
  gc: GcOptions,
  replicas: ReplicasOptions,
  replication: ReplicationOptions,
  upstreams: UpstreamsOptions,
  bundles: BundlesOptions,
});

/** Decoded: durations in ms. */
export type HubConfig = Static<typeof HubOptions>;

/**
 * Settings that have to fit together.
 * @throws ConfigError
 */
export function checkedOptions(config: HubConfig): {
  externalUrl: string | undefined;
  certificate: CertificateFiles | undefined;
  postgres: PostgresSettings | undefined;
  /** Where other hubs on the same catalog reach this one. */
  advertise: string | undefined;
} {
  const { hub, catalog, tls, http, blobs, access, fleet } = config;
  const problems: ConfigProblem[] = [];
  const refuse = (path: string, message: string): void =>
    void problems.push({ path, message, origin: undefined });
  const externalUrl = hub.externalUrl === undefined ? undefined : parseExternalUrl(hub.externalUrl);
  if (hub.externalUrl !== undefined && externalUrl === undefined) {
    refuse('hub.externalUrl', 'is not http:// or https:// with a host and nothing behind it');
  }
  const { certFile, keyFile } = tls;
  if (certFile === undefined && keyFile !== undefined) refuse('tls.certFile', 'keyFile needs it');
  if (keyFile === undefined && certFile !== undefined) refuse('tls.keyFile', 'certFile needs it');
  checkNetworks('http.trustedProxies', http.trustedProxies, refuse);
  checkNetworks('fleet.addressCidrs', fleet.addressCidrs, refuse);
  for (const [node, zone] of Object.entries(fleet.zones)) {
    if (!isZoneName(zone)) refuse(`fleet.zones.${node}`, `"${zone}" is no name of a zone`);
  }
  if (access.adminUsername.includes(':')) {
    refuse('access.adminUsername', 'has a colon, which no client can send in a user name');
  }
  if (access.adminPassword === '') refuse('access.adminPassword', 'is empty');
  if (access.adminPassword !== undefined && access.adminPasswordFile !== undefined) {
    refuse('access.adminPasswordFile', 'adminPassword is set too; keep one of them');
  }
  const { encryptionKeyFile, previousEncryptionKeyFile } = fleet.keys;
  if (previousEncryptionKeyFile !== undefined && encryptionKeyFile === undefined) {
    refuse('fleet.keys.encryptionKeyFile', 'previousEncryptionKeyFile needs it');
  }
  checkBlobs(blobs, refuse);
  checkGc(config.gc, refuse);
  checkReplication(config.replication, refuse);
  checkUpstreams(config.upstreams, hub.names, refuse);
  const postgres = postgresOf(catalog, refuse);
  const shared = { catalog: postgres !== undefined, blobs: blobs.driver === 's3' };
  const advertise = advertisedOf(config.replicas, shared, refuse);
  if (problems.length > 0) throw new ConfigError('hub configuration', problems);
  const paired = certFile !== undefined && keyFile !== undefined;
  const pair = paired ? { certFile, keyFile } : undefined;
  return { externalUrl, certificate: pair, postgres, advertise };
}

function checkNetworks(
  path: string,
  networks: readonly string[],
  refuse: (path: string, message: string) => void,
): void {
  for (const [i, network] of networks.entries()) {
    if (isNetwork(network)) continue;
    refuse(`${path}[${i}]`, 'is no network; write it as 10.0.0.0/8 or fd00::/8');
  }
}

function isNetwork(text: string): boolean {
  try {
    networksOf([text]);
    return true;
  } catch {
    return false;
  }
}
