import { request } from 'undici';

/** One exposition of a process's metrics, by full metric name. */
export type Scrape = { sum: (name: string, labels?: Record<string, string>) => number };

const SCRAPE_TIMEOUT_MS = 10_000;

/**
 * Reads a Prometheus text exposition from `url`.
 *
 * @throws Error when the address does not answer 200 within ten seconds.
 */
export async function scrape(url: string): Promise<Scrape> {
  const response = await request(url, { signal: AbortSignal.timeout(SCRAPE_TIMEOUT_MS) });
  const text = await response.body.text();
  if (response.statusCode !== 200) {
    throw new Error(`GET ${url} answered ${response.statusCode}`);
  }
  return parseExposition(text);
}

/** Parses the samples of the text exposition format; `sum` adds all series that carry `labels`. */
export function parseExposition(text: string): Scrape {
  const samples: { name: string; labels: Map<string, string>; value: number }[] = [];
  for (const line of text.split('\n')) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!match) continue;
    const labels = new Map<string, string>();
    for (const pair of (match[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      labels.set(pair[1] ?? '', pair[2] ?? '');
    }
    samples.push({ name: match[1] ?? '', labels, value: Number(match[3]) });
  }
  return {
    sum: (name, labels = {}) =>
      samples
        .filter((s) => s.name === name)
        .filter((s) => Object.entries(labels).every(([key, value]) => s.labels.get(key) === value))
        .reduce((total, s) => total + s.value, 0),
  };
}
