import type { Stream } from '@libp2p/interface';
import { createFleetMetrics } from '../../agent/fleet/metrics.ts';
import { Fleet } from '../../agent/fleet/fleet.ts';
import { ExchangeStream } from '../../agent/swarm/exchange-stream.ts';
import type { Ask } from '../../agent/swarm/exchange-stream.ts';
import type { Endpoint } from '../../agent/swarm/gater.ts';
import { RawPeer } from '../../agent/swarm/raw-peer.ts';
import { parseDigest } from '../../proto/oci/digest.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { SMALL_BODY_MAX_BYTES } from '../../proto/swarm/constants.ts';
import { HUB_NAMESPACE } from '../../proto/trust/grant.ts';
import type { GrantBundle } from '../../proto/trust/grant.ts';
import type { Answer, OutsiderTask } from './outsider-task.ts';

const ENROL_TIMEOUT_MS = 15_000;
const ANSWER_TIMEOUT_MS = 10_000;
/** Nothing listens there: what calls back finds nobody. */
const UNUSED_PORT = 9;

/** Where the task says the victim is. */
export function victimOf({ victim }: OutsiderTask): { membership: Endpoint } {
  const { peerId, address, port } = victim;
  return { membership: { peerId, addresses: [address], libp2pPort: port } };
}

/** An outsider that has joined the fleet by its token, as an agent does. */
export class OutsiderMember implements AsyncDisposable {
  readonly #task: OutsiderTask;
  readonly #fleet: Fleet;

  private constructor(task: OutsiderTask, fleet: Fleet) {
    this.#task = task;
    this.#fleet = fleet;
  }

  static async join(task: OutsiderTask): Promise<OutsiderMember> {
    const registry = new MetricsRegistry({ prefix: 'flotilla_agent_' });
    const fleet = await Fleet.open(
      {
        dataDir: task.folder,
        url: task.hubUrl,
        allowPlainHttp: true,
        joinToken: task.joinToken,
        node: `outsider-${task.attack}`,
        addresses: [task.address],
        outageGraceMs: 0,
        build: 'outsider',
      },
      {
        metrics: (live) => createFleetMetrics(registry, live),
        logger: createLogger({ level: 'silent', name: 'outsider' }),
      },
    );
    if (!fleet) throw new Error('the join token opens no fleet');
    fleet.start({ libp2pPort: UNUSED_PORT });
    await fleet.whenEnrolled({ signal: AbortSignal.timeout(ENROL_TIMEOUT_MS) });
    return new OutsiderMember(task, fleet);
  }

  /** A connection to the victim that has passed its hello. */
  async connect(): Promise<RawPeer> {
    const { own } = this.#fleet.members;
    if (!own) throw new Error('enrolled without a certificate');
    const peer = await RawPeer.connect(victimOf(this.#task), this.#fleet.identity);
    await peer.hello(own.bytes);
    return peer;
  }

  /** A grant from the hub for an image. */
  async grant(image: OutsiderTask['image']): Promise<GrantBundle> {
    const { repository, manifest } = image;
    const digest = parseDigest(manifest);
    const bundle = await this.#fleet.requestGrant(HUB_NAMESPACE, repository, digest, {});
    if (bundle === 'not-found') throw new Error(`the hub knows no ${repository}@${manifest}`);
    return bundle;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#fleet.close();
  }
}

/** Asks one exchange stream one question after the other and notes the answers. */
export class Questions {
  readonly answers: Answer[] = [];
  readonly #stream: ExchangeStream;

  constructor(stream: Stream, peerId: string) {
    this.#stream = new ExchangeStream(stream, { peerId, onViolation: () => {} });
  }

  async ask(label: string, question: Ask): Promise<void> {
    const expectsBody = question.kind !== 'openGrant' && question.kind !== 'have';
    const { response, body } = await this.#stream.ask(question, {
      stallMs: ANSWER_TIMEOUT_MS,
      ...(expectsBody && { expect: { max: SMALL_BODY_MAX_BYTES } }),
    });
    const asked = `${label}: ${question.kind}`;
    this.answers.push({ asked, status: response.status, bytes: body?.length ?? 0 });
  }
}
