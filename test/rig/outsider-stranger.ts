import { createFleetMetrics } from '../../agent/fleet/metrics.ts';
import { FleetError } from '../../agent/fleet/errors.ts';
import { HubApi } from '../../agent/fleet/hub-api.ts';
import { loadIdentity } from '../../agent/fleet/identity.ts';
import type { NodeIdentity } from '../../agent/fleet/identity.ts';
import type { Ask } from '../../agent/swarm/exchange-stream.ts';
import { RawPeer, received, trySend } from '../../agent/swarm/raw-peer.ts';
import { FLEET_PATHS } from '../../proto/hubapi/constants.ts';
import {
  AnnounceResponse,
  EnrolResponse,
  GrantResponse,
  MembersResponse,
} from '../../proto/hubapi/schemas.ts';
import { parseDigest } from '../../proto/oci/digest.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { EXCHANGE_PROTOCOL, HELLO_PROTOCOL, PEERS_MAX } from '../../proto/swarm/constants.ts';
import { encodeFrame } from '../../proto/swarm/frame-codec.ts';
import { encodeHello } from '../../proto/swarm/hello.ts';
import { encodeRequest } from '../../proto/swarm/request.ts';
import { HUB_NAMESPACE } from '../../proto/trust/grant.ts';
import { formatJoinToken, newJoinToken, parseJoinToken } from '../../proto/trust/join-token.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import { signMembership } from '../../proto/trust/membership.ts';
import { victimOf } from './outsider-member.ts';
import type { Answer, OutsiderReport, OutsiderTask } from './outsider-task.ts';

const NOBODY = { online: false, enrolled: false, members: 0, expiresAtMs: 0 };
const HOUR_MS = 3_600_000;

/** What libp2p nodes usually speak, and may tell of themselves and of others. */
const USUAL_PROTOCOLS = [
  '/ipfs/id/1.0.0',
  '/ipfs/id/push/1.0.0',
  '/ipfs/ping/1.0.0',
  '/ipfs/kad/1.0.0',
  '/libp2p/autonat/1.0.0',
  '/libp2p/circuit/relay/0.2.0/hop',
  '/libp2p/dcutr',
  '/floodsub/1.0.0',
  '/meshsub/1.1.0',
];

/** Not enrolled: tries all it can at the victim and at the hub. */
export async function strangerReport(task: OutsiderTask): Promise<OutsiderReport> {
  const identity = await loadIdentity(task.folder);
  const answers = await askHub(task, identity);
  const requests = questionsAbout(task).map((ask, id) =>
    encodeFrame(encodeRequest({ ...ask, id })),
  );
  const attempts: [protocol: string, said: Uint8Array][] = [
    ...USUAL_PROTOCOLS.map((protocol): [string, Buffer] => [
      protocol,
      encodeFrame(Buffer.alloc(8)),
    ]),
    [EXCHANGE_PROTOCOL, Buffer.concat(requests)],
    [HELLO_PROTOCOL, encodeFrame(ownHello(task, identity))],
  ];
  for (const [protocol, said] of attempts) {
    // oxlint-disable-next-line no-await-in-loop -- one connection after the other
    answers.push(await speak(task, identity, protocol, said));
  }
  return { answers, streams: 0 };
}

/** Opens a protocol, says something, and counts what comes back until the victim hangs up. */
async function speak(
  task: OutsiderTask,
  identity: NodeIdentity,
  protocol: string,
  said: Uint8Array,
): Promise<Answer> {
  await using peer = await RawPeer.connect(victimOf(task), identity);
  const stream = await peer.open(protocol).catch(() => undefined);
  if (!stream) return { asked: protocol, status: 'refused', bytes: 0 };
  const counting = received(stream);
  trySend(stream, said);
  return { asked: protocol, status: 'agreed', bytes: await counting };
}

/** Everything that can be asked, under numbers to be given. */
function questionsAbout({ image, layer }: OutsiderTask): Ask[] {
  const digest = parseDigest(layer);
  const manifest = parseDigest(image.manifest);
  const { repository } = image;
  return [
    { kind: 'getPeers', limit: PEERS_MAX },
    { kind: 'getGrant', namespace: HUB_NAMESPACE, repository, digest: manifest },
    { kind: 'have', digest, knownCount: 0, waitMs: 0 },
    { kind: 'getStatement', digest },
    { kind: 'getHashes', digest },
    { kind: 'getChunk', digest, index: 0 },
    { kind: 'getBlob', digest: manifest },
  ];
}

/** Right in its form, but the certificate is of a fleet that the stranger made itself. */
function ownHello(task: OutsiderTask, { peerId }: NodeIdentity): Uint8Array {
  const membership = signMembership(
    {
      fleetId: 'fleet-of-a-stranger',
      peerId,
      node: 'stranger',
      zone: '',
      addresses: [task.address],
      libp2pPort: task.victim.port,
      lanePort: 0,
      serial: 1,
      notBeforeMs: Date.now() - HOUR_MS,
      notAfterMs: Date.now() + HOUR_MS,
    },
    KeyRing.create(Date.now()).signingKey('membership'),
  );
  return encodeHello({ membership, versionMin: 1, versionMax: 1, build: 'stranger' });
}

/** The fleet API, with requests that are signed well, but by nobody the hub knows. */
async function askHub(task: OutsiderTask, identity: NodeIdentity): Promise<Answer[]> {
  const metrics = createFleetMetrics(
    new MetricsRegistry({ prefix: 'flotilla_agent_' }),
    () => NOBODY,
  );
  const options = { url: task.hubUrl, allowPlainHttp: true, now: Date.now };
  const api = new HubApi(options, { identity, metrics });
  const post = { method: 'POST' } as const;
  const content = { namespace: HUB_NAMESPACE, repository: task.image.repository };
  const download = { ...content, digest: task.layer, size: 1, complete: true, have: '' };
  const endpoint = { addresses: [task.address], libp2pPort: 1, lanePort: 0, version: 'stranger' };
  const { rootFingerprint } = parseJoinToken(task.joinToken.trim());
  const token = formatJoinToken(newJoinToken(rootFingerprint));
  const enrolment = { token, node: 'stranger', peerId: identity.peerId, ...endpoint };
  const calls: Parameters<typeof api.call>[0][] = [
    { name: 'members', method: 'GET', path: FLEET_PATHS.members, schema: MembersResponse },
    {
      ...post,
      name: 'grants',
      path: FLEET_PATHS.grants,
      body: { ...content, digest: task.image.manifest },
      schema: GrantResponse,
    },
    {
      ...post,
      name: 'announce',
      path: FLEET_PATHS.announce,
      body: { full: false, downloads: [{ ...download, hubChunksWanted: 0 }] },
      schema: AnnounceResponse,
    },
    { ...post, name: 'enrol', path: FLEET_PATHS.enrol, body: enrolment, schema: EnrolResponse },
  ];
  const answers: Answer[] = [];
  for (const call of calls) {
    // oxlint-disable-next-line no-await-in-loop -- the hub takes signed requests in order
    const status = await api.call(call, {}).then(() => 'ok', refusalOf);
    answers.push({ asked: `hub ${call.name}`, status, bytes: 0 });
  }
  await api.close();
  return answers;
}

function refusalOf(err: unknown): string {
  if (err instanceof FleetError && err.data.code === 'HUB_STATUS') return String(err.data.status);
  throw err;
}
