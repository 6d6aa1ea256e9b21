// Fleet clients over folders of their own, for the tests of this room.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { Fleet, type FleetOptions } from './fleet.ts';
import { loadIdentity } from './identity.ts';
import { createFleetMetrics } from './metrics.ts';

export const DAY_MS = 86_400_000;
const TIMEOUT_MS = 20_000;
const logger = createLogger({ level: 'silent', name: 'test' });

export function signal(): { signal: AbortSignal } {
  return { signal: AbortSignal.timeout(TIMEOUT_MS) };
}

/** Fleet clients over one data folder, and the folder's end. */
export class Bench implements AsyncDisposable {
  readonly #open: Fleet[] = [];
  #folder: string | undefined;

  async folder(): Promise<string> {
    this.#folder ??= await mkdtemp(join(tmpdir(), 'flotilla-fleet-'));
    return this.#folder;
  }

  async open(options: Partial<FleetOptions> & { url: string }): Promise<Fleet | undefined> {
    const metrics = new MetricsRegistry({ prefix: 'flotilla_agent_' });
    const fleet = await Fleet.open(
      {
        dataDir: await this.folder(),
        allowPlainHttp: false,
        node: 'n1',
        addresses: ['127.0.0.1'],
        outageGraceMs: DAY_MS,
        build: 'test',
        ...options,
      },
      { metrics: (live) => createFleetMetrics(metrics, live), logger },
    );
    if (fleet) this.#open.push(fleet);
    return fleet;
  }

  /** Opens, starts and waits for the membership. */
  async enrolled(options: Partial<FleetOptions> & { url: string }): Promise<Fleet> {
    const fleet = await this.open(options);
    assert.ok(fleet);
    fleet.start({ libp2pPort: 7412 });
    await fleet.whenEnrolled(signal());
    return fleet;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#open.splice(0).map((fleet) => fleet.close()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
  }
}

/** Resolves when `holds` after a change of the member book. */
export async function until(fleet: Fleet, holds: () => boolean): Promise<void> {
  const changes = new EventTarget();
  using watch = fleet.members.onChange(() => changes.dispatchEvent(new Event('change')));
  void watch;
  while (!holds()) {
    // oxlint-disable-next-line no-await-in-loop -- each turn waits for the next change
    await once(changes, 'change', signal());
  }
}

/** Another node's peer id. */
export class TestPeer {
  async load(): Promise<{ peerId: string }> {
    const folder = await mkdtemp(join(tmpdir(), 'flotilla-peer-'));
    try {
      return await loadIdentity(folder);
    } finally {
      await rm(folder, { recursive: true });
    }
  }
}
