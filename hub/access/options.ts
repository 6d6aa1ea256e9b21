import { Type, type Static } from 'typebox';
import { Secret } from '../../proto/ops/config.ts';

const USERNAME_MAX_CHARS = 128;

/** Section `access` of the hub. */
export const AccessOptions = Type.Object(
  {
    adminUsername: Type.String({
      description: 'user name of the one who may do everything; without a colon',
      default: 'admin',
      minLength: 1,
      maxLength: USERNAME_MAX_CHARS,
    }),
    adminPassword: Type.Optional(
      Secret({ description: 'password of the admin; better in adminPasswordFile' }),
    ),
    adminPasswordFile: Type.Optional(
      Type.String({
        description:
          'file with the password of the admin; ' +
          'without any, one is made at the first start, in admin-password of the data folder',
      }),
    ),
    defaultVisibility: Type.Union([Type.Literal('public'), Type.Literal('private')], {
      description:
        'who may read a project that a push of the admin made: everybody, or its members',
      default: 'public',
    }),
  },
  { description: 'who may do what', default: {} },
);

export type AccessConfig = Static<typeof AccessOptions>;
