import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Type } from 'typebox';
import type { Static } from 'typebox';
import { Upstreams } from '../../proto/hubapi/schemas.ts';
import { parseBody } from '../../proto/hubapi/body.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { writePrivateFile } from './atomic-file.ts';
import { MEMBERS_MAX, REVOKED_SERIALS_MAX, STATE_FILE_MAX_BYTES } from './constants.ts';
import { FleetError } from './errors.ts';

const FILE_NAME = 'fleet.json';
const HUB_NAMES_MAX = 64;

/** What a node must remember to be a member again while no hub answers. */
const FleetState = Type.Object({
  format: Type.Literal(1),
  fleetId: Type.String(),
  rootFingerprint: Type.String(),
  hubNames: Type.Array(Type.String(), { maxItems: HUB_NAMES_MAX }),
  /** Left out by earlier versions. */
  upstreams: Type.Optional(Upstreams),
  /** Base64. */
  keyBundle: Type.String(),
  /** Base64. */
  membership: Type.String(),
  members: Type.Object({
    version: Type.Integer({ minimum: 0 }),
    /** Base64. */
    memberships: Type.Array(Type.String(), { maxItems: MEMBERS_MAX }),
    revokedSerials: Type.Array(Type.Integer(), { maxItems: REVOKED_SERIALS_MAX }),
  }),
});
export type FleetState = Static<typeof FleetState>;

/** Reads `fleet.json`; undefined when there is none. Throws FleetError STATE_UNREADABLE. */
export async function loadFleetState(dataDir: string): Promise<FleetState | undefined> {
  const path = join(dataDir, FILE_NAME);
  try {
    const { size } = await stat(path);
    if (size > STATE_FILE_MAX_BYTES) throw new Error(`${size} bytes are too many`);
    return parseBody(FleetState, await readFile(path));
  } catch (cause) {
    if (hasCode(cause, 'ENOENT')) return undefined;
    throw new FleetError(
      `${path} cannot be read. Remove it to enrol again.`,
      { code: 'STATE_UNREADABLE', path },
      { cause },
    );
  }
}

/** Writes `fleet.json`, mode 0600. Throws the errors of node:fs. */
export async function saveFleetState(dataDir: string, state: FleetState): Promise<void> {
  await writePrivateFile(join(dataDir, FILE_NAME), JSON.stringify(state));
}
