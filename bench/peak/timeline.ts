import { createWriteStream } from 'node:fs';
import type { WriteStream } from 'node:fs';
import { once } from 'node:events';
import type { FleetNode } from '../../test/rig/fleet.ts';
import { nowMs } from './client.ts';

const PERIOD_MS = 1000;
const SOURCES = ['hub', 'peer'] as const;

/** Asks every agent once a second what it counted, and writes that down. */
export class Timeline {
  readonly #nodes: readonly FleetNode[];
  readonly #file: WriteStream;
  readonly #startMs = nowMs();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  constructor(nodes: readonly FleetNode[], file: string) {
    this.#nodes = nodes;
    this.#file = createWriteStream(file);
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#looking ??= this.#look().finally(() => (this.#looking = undefined));
    }, PERIOD_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
    await this.#look();
    this.#file.end();
    await once(this.#file, 'close');
  }

  async #look(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => this.#lookAt(node).catch(() => {})));
  }

  async #lookAt({ agent, machine }: FleetNode): Promise<void> {
    const metrics = await agent.metrics();
    const seconds = (nowMs() - this.#startMs) / 1000;
    const sum = (name: string, labels: Record<string, string> = {}): number =>
      metrics.sum(`flotilla_agent_${name}`, labels);
    const bytes = SOURCES.map((source) => [source, sum('fetched_bytes_total', { source })]);
    const line = {
      node: machine.name,
      seconds,
      ...Object.fromEntries(bytes),
      sent: sum('swarm_uploaded_bytes_total'),
      chunksInFlight: sum('chunks_in_flight'),
      uploadsInFlight: sum('swarm_uploads_in_flight'),
      peers: sum('swarm_peers_connected'),
      stallSeconds: sum('reader_stall_seconds_total'),
    };
    this.#file.write(`${JSON.stringify(line)}\n`);
  }
}
