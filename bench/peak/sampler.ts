import { idleMeter } from '../rig/machine.ts';
import type { Network, PortTraffic } from '../../test/rig/network.ts';
import { nowMs } from './client.ts';

const PERIOD_MIN_MS = 250;
const PERIOD_MAX_MS = 5_000;
const SAMPLES_WANTED = 150;
/** Ethernet, IPv4 and TCP with timestamps. */
const HEADER_BYTES = 14 + 20 + 32;

/** What went over every link until one moment. */
export type Sample = {
  atMs: number;
  traffic: ReadonlyMap<string, PortTraffic>;
  /** Share of the machine that was idle since the sample before. */
  idle: number;
};

/** Content of TCP packets, acknowledgements being empty: what a link brought without headers. */
export function payloadReceived(traffic: PortTraffic | undefined): number {
  return traffic ? traffic.receivedBytes - traffic.receivedPackets * HEADER_BYTES : 0;
}

/** Likewise of what a machine sent. */
export function payloadSent(traffic: PortTraffic | undefined): number {
  return traffic ? traffic.sentBytes - traffic.sentPackets * HEADER_BYTES : 0;
}

/** Reads the counters of all links again and again. */
export class Sampler {
  readonly samples: Sample[] = [];
  readonly #network: Network;
  readonly #periodMs: number;
  readonly #onSample: () => void;
  #idle = idleMeter();
  #timer: NodeJS.Timeout | undefined;
  #reading: Promise<void> | undefined;

  constructor(network: Network, options: { expectedSeconds: number; onSample?: () => void }) {
    this.#network = network;
    this.#onSample = options.onSample ?? (() => {});
    const period = (options.expectedSeconds * 1000) / SAMPLES_WANTED;
    this.#periodMs = Math.min(PERIOD_MAX_MS, Math.max(PERIOD_MIN_MS, period));
  }

  /** The first sample is there when this resolves. */
  async start(): Promise<void> {
    await this.#read();
    this.#timer = setInterval(() => {
      // One that fails is left out; the last one is not.
      this.#reading ??= this.#read()
        .catch(() => {})
        .finally(() => (this.#reading = undefined));
    }, this.#periodMs);
  }

  /** Takes the last sample. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#reading;
    await this.#read();
  }

  get first(): Sample {
    return this.#at(0);
  }

  get last(): Sample {
    return this.#at(-1);
  }

  /** Payload the machine sent since the first sample, in bytes. */
  sentBy(name: string): number {
    return payloadSent(this.last.traffic.get(name)) - payloadSent(this.first.traffic.get(name));
  }

  /** Payload that all machines but this one received since the first sample, in bytes. */
  receivedByOthers(than: string): number {
    const [first, last] = [this.first.traffic, this.last.traffic];
    const names = [...last.keys()].filter((name) => name !== than);
    const count = (name: string): number =>
      payloadReceived(last.get(name)) - payloadReceived(first.get(name));
    return names.reduce((sum, name) => sum + count(name), 0);
  }

  async #read(): Promise<void> {
    const traffic = await this.#network.traffic();
    const idle = this.#idle();
    this.#idle = idleMeter();
    this.samples.push({ atMs: nowMs(), traffic, idle });
    this.#onSample();
  }

  #at(index: number): Sample {
    const sample = this.samples.at(index);
    if (!sample) throw new Error('no sample was taken');
    return sample;
  }
}
