import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { request } from 'undici';
import type { Agent } from '../../agent/agent.ts';
import type { MetricsSnapshot } from '../rig/metrics.ts';
import { DockerHub, type DockerHubOptions } from '../upstream/docker-hub.ts';
import { segmentOf } from '../../proto/oci/name.ts';
import { entryOf } from '../upstream/hub-in-front.ts';
import type { AddedImage, ImagePlan } from '../upstream/images.ts';
import { LoopbackFleet } from './loopback-fleet.ts';

export const WARNING = '110 - "Response is Stale"';
const LAYER_BYTES = 300_000;

export type Answer = { status: number; headers: Record<string, unknown>; text: string };

/**
 * A stand-in of Docker Hub, a hub in front of it and agents, in this process and by one clock, that
 * of the tests: `Date` goes on only when they say so.
 */
export class UpstreamFleet {
  readonly fleet: LoopbackFleet;
  /** What the upstream is called in the configuration of the hub. */
  readonly host: string;
  readonly #t: TestContext;
  readonly #options: DockerHubOptions;
  #upstream: DockerHub;
  readonly #plans: ImagePlan[] = [];

  private constructor(
    t: TestContext,
    parts: { fleet: LoopbackFleet; host: string; upstream: DockerHub; options: DockerHubOptions },
  ) {
    this.#t = t;
    this.fleet = parts.fleet;
    this.host = parts.host;
    this.#upstream = parts.upstream;
    this.#options = parts.options;
  }

  static async start(
    t: TestContext,
    { name: host = 'docker.io', ...settings }: { name?: string } & Record<string, unknown>,
    options: DockerHubOptions = {},
  ): Promise<UpstreamFleet> {
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
    const upstream = await DockerHub.start({ anonymousLimit: undefined, ...options });
    const entry = entryOf(host, upstream, { allowPlainHttp: true, ...settings });
    const fleet = await LoopbackFleet.start(1, { upstreams: [entry] });
    const own = new UpstreamFleet(t, { fleet, host, upstream, options });
    t.after(async () => {
      await fleet[Symbol.asyncDispose]();
      await own.#upstream[Symbol.asyncDispose]();
    });
    return own;
  }

  get upstream(): DockerHub {
    return this.#upstream;
  }

  get agent(): Agent {
    const [agent] = this.fleet.agents;
    return agent ?? assert.fail('no agent');
  }

  /** An image of one layer for each platform; a single platform has no index. */
  offer(
    repository: string,
    tag: string,
    architectures: readonly string[] = ['amd64'],
    bytes = LAYER_BYTES,
  ): AddedImage {
    const plan: ImagePlan = {
      repository,
      tags: [tag],
      index: architectures.length > 1,
      platforms: architectures.map((architecture) => ({
        os: 'linux',
        architecture,
        layers: [{ seed: `${repository} ${architecture}`, bytes }],
      })),
    };
    this.#plans.push(plan);
    return this.#upstream.shelf.addImage(plan);
  }

  pass(ms: number): void {
    this.#t.mock.timers.tick(ms);
  }

  /** Nobody listens there any more. */
  async stopUpstream(): Promise<void> {
    await this.#upstream[Symbol.asyncDispose]();
  }

  /** It is back where it was, with what it had. */
  async restartUpstream(): Promise<void> {
    const { url, tokenUrl, cdnUrl } = this.#upstream;
    const places = {
      registry: placeOf(url, '127.0.0.1'),
      token: placeOf(tokenUrl, 'localhost'),
      cdn: placeOf(cdnUrl, 'localhost'),
    };
    const options = { anonymousLimit: undefined, ...this.#options, places };
    this.#upstream = await DockerHub.start(options);
    for (const plan of this.#plans) this.#upstream.shelf.addImage(plan);
  }

  /** Asks the agent as containerd does. */
  ask(method: 'GET' | 'HEAD', target: string): Promise<Answer> {
    return ask(method, `${this.agent.mirrorUrls[0]}/v2/${target}?ns=${this.host}`);
  }

  /** Asks the hub itself. */
  askHub(method: 'GET' | 'HEAD', target: string): Promise<Answer> {
    return ask(method, `${this.fleet.hubUrl}/v2/${segmentOf(this.host)}/${target}`);
  }

  /** HEAD of the tag, GET of the digest, and of all blobs, as containerd pulls. */
  async pull({ repository, digest, manifests }: AddedImage, tag: string): Promise<Answer> {
    const head = await this.ask('HEAD', `${repository}/manifests/${tag}`);
    assert.equal(head.headers['docker-content-digest'], digest, JSON.stringify(head.headers));
    const [first = assert.fail()] = manifests;
    for (const one of new Set([digest, first.digest])) {
      await this.#has(`${repository}/manifests/${one}`);
    }
    for (const blob of [first.config, ...first.layers]) {
      await this.#has(`${repository}/blobs/${blob.digest}`);
    }
    return head;
  }

  metrics(): Promise<MetricsSnapshot> {
    return this.fleet.hubMetrics();
  }

  /** Requests that the hub has sent to the upstream. */
  async sent(): Promise<number> {
    return (await this.metrics()).sum('flotilla_hub_upstream_requests_total');
  }

  async #has(target: string): Promise<void> {
    const { status, text } = await this.ask('GET', target);
    assert.equal(status, 200, `${target}: ${text}`);
  }
}

/** One clear error: 503 in a sentence that names the upstream, and when it is asked again. */
export function assertAway(
  { status, headers, text }: Answer,
  says: RegExp,
  host = 'docker.io',
): void {
  assert.equal(status, 503, text);
  const sentence = String(headers['flotilla-upstream-away']);
  assert.match(sentence, says);
  assert.match(sentence, /^\S+ .* \d{4}-\d\d-\d\dT/);
  assert.equal(sentence.split(' ')[0], host);
  if (text !== '') assert.equal(JSON.parse(text).errors[0].message, sentence);
  const retryAfterS = Number(headers['retry-after']);
  const at = /\d{4}-\S+Z/.exec(sentence)?.[0] ?? '';
  assert.equal(Math.ceil((Date.parse(at) - Date.now()) / 1000), retryAfterS);
}

async function ask(method: 'GET' | 'HEAD', url: string): Promise<Answer> {
  const { statusCode, headers, body } = await request(url, { method });
  return { status: statusCode, headers, text: await body.text() };
}

function placeOf(url: string, host: string): { host: string; port: number } {
  return { host, port: Number(new URL(url).port) };
}
