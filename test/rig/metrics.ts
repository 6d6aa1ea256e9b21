/** One line of a Prometheus exposition. */
type Sample = { name: string; labels: ReadonlyMap<string, string>; value: number };

/** What a process counted at one moment. */
export class MetricsSnapshot {
  readonly #samples: readonly Sample[];
  readonly #names: ReadonlySet<string>;

  constructor(text: string) {
    this.#names = new Set([...text.matchAll(/^# TYPE (\S+) /gm)].map((match) => match[1] ?? ''));
    this.#samples = text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map(parseLine);
  }

  /** Sum over all series that carry the labels, 0 for none; throws for an unknown metric. */
  sum(name: string, labels: Record<string, string> = {}): number {
    if (!this.#names.has(name)) {
      throw new Error(`no metric ${name}; there are: ${[...this.#names].join(' ')}`);
    }
    const named = this.#samples.filter((sample) => sample.name === name);
    const wanted = Object.entries(labels);
    return named
      .filter((sample) => wanted.every(([key, value]) => sample.labels.get(key) === value))
      .reduce((total, sample) => total + sample.value, 0);
  }
}

function parseLine(line: string): Sample {
  const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
  if (!match) throw new Error(`not a metric line: ${line}`);
  const pairs = [...(match[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
  const labels = new Map(pairs.map((pair) => [pair[1] ?? '', pair[2] ?? '']));
  return { name: match[1] ?? '', labels, value: Number(match[3]) };
}
