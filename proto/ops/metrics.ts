import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import { OpsError } from './errors.ts';

/** What is known of one registered metric; the list is checked by the metrics test. */
export type MetricDefinition = {
  name: string;
  type: 'counter' | 'gauge' | 'histogram';
  help: string;
  labels: readonly string[];
  collected: boolean;
};

/** Labels whose values grow without bound; they belong in logs. */
const FORBIDDEN_LABELS = ['digest', 'repository', 'peer', 'peer_id', 'tag', 'reference', 'name'];
const METRIC_NAME = /^[a-z][a-z0-9]*(_[a-z0-9]+)*$/;
const LABEL_NAME = METRIC_NAME;

/**
 * The metrics of one process. Names are given without the prefix, in base units
 * (`_bytes`, `_seconds`), counters with `_total`.
 * Every method throws OpsError METRIC_INVALID for a bad name, an empty help text, a label whose
 * values grow without bound, or a name registered twice.
 */
export class MetricsRegistry {
  readonly registry = new Registry();
  readonly #prefix: string;
  readonly #definitions: MetricDefinition[] = [];

  constructor(options: { prefix: 'flotilla_hub_' | 'flotilla_agent_' }) {
    this.#prefix = options.prefix;
  }

  counter<L extends string = never>(
    name: string,
    help: string,
    labels: readonly L[] = [],
  ): Counter<L> {
    if (!name.endsWith('_total')) throw this.#invalid(name, 'a counter ends in _total');
    return new Counter({ ...this.#define('counter', name, help, labels), labelNames: labels });
  }

  /** With `collect`, the gauge sets itself at each scrape. */
  gauge<L extends string = never>(
    name: string,
    help: string,
    labels: readonly L[] = [],
    collect?: (gauge: Gauge<L>) => void | Promise<void>,
  ): Gauge<L> {
    const base = this.#define('gauge', name, help, labels, collect !== undefined);
    const collector = collect === undefined ? {} : { collect: collectInto(collect) };
    return new Gauge({ ...base, labelNames: labels, ...collector });
  }

  /** `buckets` are upper bounds in the unit of the name, rising. */
  histogram<L extends string = never>(
    name: string,
    help: string,
    labels: readonly L[],
    buckets: readonly number[],
  ): Histogram<L> {
    const base = this.#define('histogram', name, help, labels);
    return new Histogram({ ...base, labelNames: labels, buckets: [...buckets] });
  }

  /** Every metric made through this registry, in order. */
  get definitions(): readonly MetricDefinition[] {
    return this.#definitions;
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  /** The Prometheus text form of all metrics. */
  text(): Promise<string> {
    return this.registry.metrics();
  }

  /** Adds the process, event-loop and garbage-collection metrics and the build info. */
  collectProcess(build: { version: string; revision: string }): void {
    collectDefaultMetrics({ register: this.registry, prefix: this.#prefix });
    const info = this.gauge('build_info', 'Always 1; the labels say which build runs.', [
      'version',
      'revision',
      'node',
    ]);
    const { version, revision } = build;
    info.set({ version, revision, node: process.versions.node }, 1);
  }

  #define(
    type: MetricDefinition['type'],
    name: string,
    help: string,
    labels: readonly string[],
    collected = false,
  ): { name: string; help: string; registers: Registry[] } {
    const full = `${this.#prefix}${name}`;
    if (!METRIC_NAME.test(name)) throw this.#invalid(name, 'names are lower_snake_case');
    if (name.startsWith('flotilla_')) throw this.#invalid(name, 'the prefix is added here');
    if (help.trim() === '') throw this.#invalid(name, 'help text is empty');
    if (this.#definitions.some((known) => known.name === full)) {
      throw this.#invalid(name, 'registered twice');
    }
    for (const label of labels) {
      if (!LABEL_NAME.test(label) || FORBIDDEN_LABELS.includes(label)) {
        throw this.#invalid(name, `label "${label}" is not allowed`);
      }
    }
    this.#definitions.push({ name: full, type, help, labels, collected });
    return { name: full, help, registers: [this.registry] };
  }

  #invalid(name: string, why: string): OpsError {
    const metric = `${this.#prefix}${name}`;
    return new OpsError(`metric ${metric}: ${why}`, { code: 'METRIC_INVALID', metric });
  }
}

/** prom-client calls `collect` with the gauge as `this`. */
function collectInto<L extends string>(
  collect: (gauge: Gauge<L>) => void | Promise<void>,
): (this: Gauge<L>) => void | Promise<void> {
  return function collectGauge(this: Gauge<L>) {
    return collect(this);
  };
}
