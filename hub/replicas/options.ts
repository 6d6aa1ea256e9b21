import { Type, type Static } from 'typebox';

/** Section `replicas` of the hub. */
export const ReplicasOptions = Type.Object(
  {
    advertise: Type.Optional(
      Type.String({
        description:
          'https://host:port or http://host:port where other hubs on the same PostgreSQL and ' +
          'bucket reach this one, past any proxy; if left out, this hub is the only one',
      }),
    ),
    caFile: Type.Optional(
      Type.String({
        description: 'PEM certificates of those who may sign the ones of other hubs',
      }),
    ),
  },
  { description: 'hubs that share one catalog and one bucket', default: {} },
);
export type ReplicasConfig = Static<typeof ReplicasOptions>;

/**
 * Where others reach this hub; undefined for a hub that is the only one. `refuse` hears what is
 * wrong.
 */
export function advertisedOf(
  config: ReplicasConfig,
  shared: { catalog: boolean; blobs: boolean },
  refuse: (path: string, message: string) => void,
): string | undefined {
  const { advertise, caFile } = config;
  if (advertise === undefined) {
    if (caFile !== undefined) refuse('replicas.caFile', 'is of no use without advertise');
    return undefined;
  }
  const url = URL.parse(advertise);
  const isPlain =
    url !== null &&
    /^https?:$/.test(url.protocol) &&
    url.username === '' &&
    url.password === '' &&
    url.pathname === '/' &&
    !/[?#]/.test(advertise);
  if (!isPlain) {
    refuse('replicas.advertise', 'is not http:// or https:// with a host and nothing behind it');
  }
  if (!shared.catalog) refuse('replicas.advertise', 'needs a catalog that hubs share: catalog.url');
  if (!shared.blobs) refuse('replicas.advertise', 'needs blobs that hubs share: blobs.driver: s3');
  return url?.origin;
}
