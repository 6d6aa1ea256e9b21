import { Type } from 'typebox';
import { REDIRECT_HOSTS_MAX } from './constants.ts';

const NAME = '[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*';
const HOST = `^((\\*\\.)?${NAME}|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?$`;

/** The setting `redirectHosts` of a registry; see isListedHost for what an entry means. */
export const RedirectHosts = Type.Array(
  Type.String({ description: 'host[:port], or *.suffix for every host below it', pattern: HOST }),
  {
    description:
      'hosts besides itself that this registry may redirect to, such as its blob storage; ' +
      'credentials never go there',
    default: [],
    maxItems: REDIRECT_HOSTS_MAX,
  },
);
