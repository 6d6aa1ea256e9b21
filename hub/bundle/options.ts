import { Type } from 'typebox';
import { TRUSTED_KEYS_MAX } from './constants.ts';

/** Section `bundles` of the hub. */
export const BundlesOptions = Type.Object(
  {
    trustedKeys: Type.Array(Type.String({ description: 'a file', minLength: 1 }), {
      description:
        'files that "flotilla bundle key" wrote at hubs whose bundles may be imported here',
      default: [],
      maxItems: TRUSTED_KEYS_MAX,
    }),
  },
  { description: 'images carried to hubs that are not reached', default: {} },
);
