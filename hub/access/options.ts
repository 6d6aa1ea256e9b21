import { Type, type Static } from 'typebox';
import { Secret } from '../../proto/ops/config-fields.ts';

/** Section `access` of the hub. */
export const AccessOptions = Type.Object(
  {
    adminUsername: Type.String({
      description: 'the account that may push',
      default: 'admin',
      minLength: 1,
      maxLength: 128,
    }),
    adminPassword: Type.Optional(
      Secret({ description: 'its password; without one here or in a file it is generated' }),
    ),
    adminPasswordFile: Type.Optional(
      Type.String({ description: 'a file with the password, such as a mounted secret' }),
    ),
  },
  { description: 'who may push; everybody may pull', default: {} },
);

export type AccessConfig = Static<typeof AccessOptions>;
