import type { Digest } from '../../proto/oci/digest.ts';

/** One request and what became of it. */
export type Entry = {
  host: 'registry' | 'token' | 'cdn';
  kind: 'base' | 'manifest' | 'blob' | 'tags' | 'referrers' | 'token' | 'other';
  method: string;
  path: string;
  /** Of what was found. */
  digest?: Digest;
  range?: string;
  /** Whether a secret came with it. */
  authorized: boolean;
  /** The identity a pull was counted for. */
  counted?: string;
  status: number;
  /** Bytes of the body that were handed to the connection. */
  bytes: number;
};

/** What tests count, in a form that JSON can carry. */
export type Report = {
  requests: number;
  tokens: number;
  /** Requests of manifests that were answered 429. */
  limited: number;
  counted: Record<string, number>;
  manifests: Record<string, { gets: number; heads: number; unchanged: number }>;
  /** Only what came from the CDN. */
  blobs: Record<string, { gets: number; bytes: number }>;
  /** Answers that a rule spoiled. */
  faults: number;
};

export function reportOf(entries: readonly Entry[], faults: number): Report {
  const report: Report = {
    requests: entries.length,
    tokens: entries.filter(({ host }) => host === 'token').length,
    limited: entries.filter(({ kind, status }) => kind === 'manifest' && status === 429).length,
    counted: {},
    manifests: {},
    blobs: {},
    faults,
  };
  for (const entry of entries) {
    if (entry.counted !== undefined) {
      report.counted[entry.counted] = (report.counted[entry.counted] ?? 0) + 1;
    }
    addTo(report, entry);
  }
  return report;
}

function addTo(report: Report, { host, kind, digest, method, status, bytes }: Entry): void {
  if (digest === undefined) return;
  if (kind === 'manifest' && host === 'registry') {
    const of = (report.manifests[digest] ??= { gets: 0, heads: 0, unchanged: 0 });
    if (method === 'GET') of.gets += 1;
    if (method === 'HEAD') of.heads += 1;
    if (status === 304) of.unchanged += 1;
  }
  if (kind === 'blob' && host === 'cdn' && method === 'GET') {
    const of = (report.blobs[digest] ??= { gets: 0, bytes: 0 });
    of.gets += 1;
    of.bytes += bytes;
  }
}
