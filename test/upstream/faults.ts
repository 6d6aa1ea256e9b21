/** What goes wrong with an answer. Bytes are those of this answer's body. */
export type Fault =
  /** Another status, with an error page or the registry's own JSON. */
  | { kind: 'status'; status: number; headers?: Record<string, string>; at?: Place }
  /** The request is taken and never answered. */
  | { kind: 'hang'; at?: Place }
  | { kind: 'slow'; bytesPerSecond: number }
  /** The connection is ended after so many bytes, though more were promised. */
  | { kind: 'truncated'; bytes: number }
  /** Likewise, by a reset. */
  | { kind: 'reset'; bytes: number }
  /** 200 and the page of a captive portal. */
  | { kind: 'html' }
  /** 200 and the bytes compressed, though nobody asked for it. */
  | { kind: 'gzip' }
  /** The whole is so many bytes longer, or shorter. */
  | { kind: 'length'; by: number }
  /** A Range is not heeded: 200 and all of it. */
  | { kind: 'whole' }
  /** One bit of the byte at this offset of the blob is another. */
  | { kind: 'flip'; at: number }
  /** `self`: where the request already is. */
  | { kind: 'redirect'; to: string; at?: Place };

type Place = 'registry' | 'cdn';

export type FaultRule = {
  on: { kind: 'manifest' | 'blob' | 'token'; name?: string; method?: 'GET' | 'HEAD' };
  fault: Fault;
  /** How many answers it spoils; without it, all. */
  times?: number;
};

type Asked = { kind: FaultRule['on']['kind']; names: readonly string[]; method: string };

/** The rules in force; the first that fits an answer spoils it. */
export class Faults {
  #rules: { rule: FaultRule; left: number }[] = [];
  applied = 0;

  set(rules: readonly FaultRule[]): void {
    this.#rules = rules.map((rule) => ({ rule, left: rule.times ?? Number.POSITIVE_INFINITY }));
  }

  take(place: Place, asked: Asked): Fault | undefined {
    const found = this.#rules.find(({ rule, left }) => left > 0 && fits(rule, place, asked));
    if (found === undefined) return undefined;
    found.left -= 1;
    this.applied += 1;
    return found.rule.fault;
  }
}

function fits({ on, fault }: FaultRule, place: Place, asked: Asked): boolean {
  const { kind, name, method } = on;
  if (kind !== asked.kind || (method !== undefined && method !== asked.method)) return false;
  if (kind === 'blob' && placeOf(fault) !== place) return false;
  return name === undefined || asked.names.includes(name);
}

/** Of a blob the registry answers only where to find it, so most goes wrong at the CDN. */
function placeOf(fault: Fault): Place {
  if ('at' in fault && typeof fault.at === 'string') return fault.at;
  return fault.kind === 'redirect' ? 'registry' : 'cdn';
}
