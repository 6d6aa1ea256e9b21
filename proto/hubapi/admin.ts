import { Type, type Static } from 'typebox';
import { JOIN_TOKEN_LIFE_MAX_MS } from './join-tokens.ts';

/** Where the administration of the hub begins. */
export const API_BASE = '/api/v1';
/** Largest request body in bytes. */
export const API_BODY_MAX_BYTES = 65_536;
/** Largest answer read by the command line, bytes. */
export const API_ANSWER_MAX_BYTES = 4 * 1_048_576;
/** Most entries of one page. */
export const API_PAGE_MAX = 1000;

const NAME_MAX_CHARS = 255;
const DESCRIPTION_MAX_CHARS = 1000;
const ROBOT_PERMISSIONS_MAX = 64;
/** PostgreSQL takes no NUL. */
const STORABLE = String.raw`^[^\u0000]*$`;
const CLOSED = { additionalProperties: false };

const Name = Type.String({ minLength: 1, maxLength: NAME_MAX_CHARS });
/** Shortest password of an account, characters. */
export const PASSWORD_MIN_CHARS = 8;
/** Longest password looked at, characters. */
export const PASSWORD_MAX_CHARS = 256;

const Password = Type.String({ minLength: PASSWORD_MIN_CHARS, maxLength: PASSWORD_MAX_CHARS });
const Time = Type.String({ format: 'date-time' });
const Action = Type.Union([Type.Literal('pull'), Type.Literal('push'), Type.Literal('delete')]);
const ExpiresInMs = Type.Integer({ minimum: 1000, maximum: JOIN_TOKEN_LIFE_MAX_MS });

export const VisibilityName = Type.Union([Type.Literal('public'), Type.Literal('private')]);
export const RoleName = Type.Union([
  Type.Literal('guest'),
  Type.Literal('developer'),
  Type.Literal('maintainer'),
  Type.Literal('admin'),
]);

export const ApiProblem = Type.Object({
  error: Type.Object({ code: Type.String(), message: Type.String() }),
});

export const AccountAnswer = Type.Object({ name: Name, disabled: Type.Boolean(), created: Time });
export const AccountList = Type.Object({ accounts: Type.Array(AccountAnswer) });
export const NewAccount = Type.Object({ name: Name, password: Password }, CLOSED);
export const AccountChange = Type.Object(
  { password: Type.Optional(Password), disabled: Type.Optional(Type.Boolean()) },
  { ...CLOSED, minProperties: 1 },
);
export const OwnPassword = Type.Object({ password: Password }, CLOSED);
export const SessionsEnded = Type.Object({ ended: Type.Integer() });

export const ProjectAnswer = Type.Object({ name: Name, visibility: VisibilityName, created: Time });
export const ProjectList = Type.Object({ projects: Type.Array(ProjectAnswer) });
export const NewProject = Type.Object({ name: Name, visibility: VisibilityName }, CLOSED);
export const ProjectChange = Type.Object({ visibility: VisibilityName }, CLOSED);

export const MemberAnswer = Type.Object({ account: Name, role: RoleName });
export const MemberList = Type.Object({ members: Type.Array(MemberAnswer) });
export const MemberChange = Type.Object({ role: RoleName }, CLOSED);

const Permission = Type.Object(
  {
    repository: Type.String({
      minLength: 1,
      maxLength: NAME_MAX_CHARS,
      description: 'repositories of the project; * is any part of a segment, ** any segments',
    }),
    actions: Type.Array(Action, { minItems: 1, maxItems: 3 }),
  },
  CLOSED,
);
const Permissions = Type.Array(Permission, { minItems: 1, maxItems: ROBOT_PERMISSIONS_MAX });
export const RobotAnswer = Type.Object({
  name: Name,
  login: Type.String({ description: 'the user name it logs in with' }),
  description: Type.String(),
  permissions: Permissions,
  disabled: Type.Boolean(),
  expires: Type.Union([Time, Type.Null()]),
  created: Time,
});
export const RobotList = Type.Object({ robots: Type.Array(RobotAnswer) });
export const NewRobotRequest = Type.Object(
  {
    name: Name,
    description: Type.Optional(
      Type.String({ maxLength: DESCRIPTION_MAX_CHARS, pattern: STORABLE }),
    ),
    permissions: Permissions,
    expiresInMs: Type.Optional(ExpiresInMs),
  },
  CLOSED,
);
export const RobotChange = Type.Object(
  {
    disabled: Type.Optional(Type.Boolean()),
    expiresInMs: Type.Optional(Type.Union([ExpiresInMs, Type.Null()])),
  },
  { ...CLOSED, minProperties: 1 },
);
export const RobotSecret = Type.Object({
  login: Type.String(),
  secret: Type.String({ description: 'shown this once' }),
});
export type RobotSecret = Static<typeof RobotSecret>;

export const NodeAnswer = Type.Object({
  node: Name,
  zone: Type.String(),
  peerId: Type.String(),
  addresses: Type.Array(Type.String()),
  version: Type.String(),
  serial: Type.Integer(),
  notAfter: Time,
});
export const NodeList = Type.Object({ nodes: Type.Array(NodeAnswer) });

export const PageQuery = Type.Object(
  {
    n: Type.Optional(
      Type.String({
        pattern: '^[1-9][0-9]{0,5}$',
        description: `entries of one page, ${API_PAGE_MAX} at most and unless said otherwise`,
      }),
    ),
    last: Type.Optional(Type.String({ maxLength: NAME_MAX_CHARS, pattern: STORABLE })),
  },
  CLOSED,
);
