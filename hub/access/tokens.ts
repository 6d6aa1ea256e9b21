import type { KeyObject } from 'node:crypto';
import { jwtVerify, SignJWT } from 'jose';
import { TOKEN_LIFE_S } from './constants.ts';
import { badCredentials } from './errors.ts';
import { ACTIONS, type RepositoryAccess } from './scope.ts';

/** The hub's key for tokens. */
export type TokenKey = { keyId: Buffer; privateKey: KeyObject; publicKey: KeyObject };

const ALGORITHM = 'EdDSA';
const ISSUER = 'flotilla';
/** Tokens for another service are not for this hub. */
const AUDIENCE = 'flotilla';

/**
 * A JSON Web Token (RFC 7519) with the rights of the Docker token service, signed with Ed25519
 * (RFC 8037). `nowS` in seconds.
 */
export function signToken(
  claims: { subject: string; service: string; access: readonly RepositoryAccess[]; nowS: number },
  key: TokenKey,
): Promise<string> {
  const access = claims.access.map((entry) => ({ type: 'repository', ...entry }));
  return new SignJWT({ access })
    .setProtectedHeader({ alg: ALGORITHM, kid: key.keyId.toString('hex'), typ: 'JWT' })
    .setIssuer(ISSUER)
    .setAudience(claims.service === '' ? AUDIENCE : claims.service)
    .setSubject(claims.subject)
    .setIssuedAt(claims.nowS)
    .setExpirationTime(claims.nowS + TOKEN_LIFE_S)
    .sign(key.privateKey);
}

/**
 * The holder of a token and the rights in it that this key signed for this hub.
 * @throws AccessError BAD_CREDENTIALS
 */
export async function verifyToken(
  token: string,
  { nowS }: { nowS: number },
  key: TokenKey,
): Promise<{ subject: string; access: RepositoryAccess[] }> {
  const kid = key.keyId.toString('hex');
  try {
    const { payload } = await jwtVerify(
      token,
      (header) => {
        if (header.kid !== kid) throw badCredentials('the token is signed with an unknown key');
        return key.publicKey;
      },
      {
        algorithms: [ALGORITHM],
        issuer: ISSUER,
        audience: AUDIENCE,
        requiredClaims: ['exp', 'iat'],
        currentDate: new Date(nowS * 1000),
      },
    );
    return { subject: payload.sub ?? '', access: accessOf(payload['access']) };
  } catch (err) {
    throw badCredentials('the token is not valid or has expired', err);
  }
}

function accessOf(claim: unknown): RepositoryAccess[] {
  if (!Array.isArray(claim)) return [];
  return claim.flatMap((entry: unknown) => {
    if (typeof entry !== 'object' || entry === null) return [];
    if (!('name' in entry) || !('actions' in entry) || typeof entry.name !== 'string') return [];
    const wanted: unknown[] = Array.isArray(entry.actions) ? entry.actions : [];
    return [{ name: entry.name, actions: ACTIONS.filter((action) => wanted.includes(action)) }];
  });
}
