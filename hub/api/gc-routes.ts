import {
  GarbageAnswer,
  GcPageQuery,
  GcRunAnswer,
  GcStarted,
  GcStatusAnswer,
  QuarantineAnswer,
  Restored,
} from '../../proto/hubapi/gc.ts';
import { parseDigest } from '../../proto/oci/digest.ts';
import type { Collector } from '../gc/collector.ts';
import type { GarbageList } from '../gc/garbage.ts';
import type { GcRuns } from '../gc/runs.ts';
import type { GcRun } from '../gc/store.ts';
import { ApiError } from './errors.ts';
import { pageOf, timeText } from './page.ts';
import { route, type ApiRoute } from './route.ts';

export type GcRouteModules = {
  gc: {
    runs: Pick<GcRuns, 'start' | 'status' | 'run'>;
    list: GarbageList;
    collector: Pick<Collector, 'restore'>;
  };
};

/** Collecting what is of no use, and taking it back. */
export function gcRoutes({ gc }: GcRouteModules): ApiRoute[] {
  return [...runRoutes(gc), ...listRoutes(gc)];
}

function runRoutes(gc: Pick<GcRouteModules['gc'], 'runs'>): ApiRoute[] {
  const [tag, allowed] = ['collection', 'admin'] as const;
  return [
    route('GET /gc', {
      tag,
      allowed,
      summary: 'tells whether a collection goes on, and how the last one went',
      answer: GcStatusAnswer,
      run: async () => {
        const { running, heldUntilMs, last } = await gc.runs.status();
        return {
          running,
          heldUntil: heldUntilMs === undefined ? null : timeText(heldUntilMs),
          last: last === undefined ? null : answerOf(last, running),
        };
      },
    }),
    route('POST /gc/runs', {
      tag,
      allowed,
      summary: 'begins a collection, which goes on by itself; 409 while one does',
      status: 202,
      answer: GcStarted,
      run: async () => ({ id: await gc.runs.start() }),
    }),
    route('GET /gc/runs/:run', {
      tag,
      allowed,
      summary: 'tells how a collection of late went',
      answer: GcRunAnswer,
      run: async ({ params: { run = '' } }) => {
        const found = await gc.runs.run(run);
        if (found === undefined) throw new ApiError('NOT_FOUND', `no collection ${run}`);
        const { running, last } = await gc.runs.status();
        return answerOf(found, running && last?.id === run);
      },
    }),
  ];
}

function listRoutes(gc: Pick<GcRouteModules['gc'], 'list' | 'collector'>): ApiRoute[] {
  const [tag, allowed] = ['collection', 'admin'] as const;
  return [
    route('GET /gc/garbage', {
      tag,
      allowed,
      summary: 'lists what a collection would take now; takes nothing',
      query: GcPageQuery,
      answer: GarbageAnswer,
      run: async ({ query }) => {
        const { entries, ...more } = await gc.list.garbage(pageOf(query));
        const garbage = entries.map(({ sinceMs, ...one }) => ({
          ...one,
          since: timeText(sinceMs),
        }));
        return { garbage, ...more };
      },
    }),
    route('GET /gc/quarantine', {
      tag,
      allowed,
      summary: 'lists the blobs that were collected and whose bytes are still there',
      query: GcPageQuery,
      answer: QuarantineAnswer,
      run: async ({ query }) => {
        const { entries, ...more } = await gc.list.quarantine(pageOf(query));
        const quarantine = entries.map(({ digest, size, sinceMs, untilMs }) => {
          return { digest, size, since: timeText(sinceMs), until: timeText(untilMs) };
        });
        return { quarantine, ...more };
      },
    }),
    route('POST /gc/quarantine/:digest/restore', {
      tag,
      allowed,
      summary: 'gives a blob in quarantine back to the repositories that had it',
      answer: Restored,
      run: async ({ params: { digest = '' } }) => ({
        repositories: await gc.collector.restore(parseDigest(digest)),
      }),
    }),
  ];
}

/** One that nobody works at any more was lost with its hub. */
function answerOf({ id, result, begunMs, endedMs, report }: GcRun, running: boolean): GcRunAnswer {
  return {
    id,
    result: result === 'running' && !running ? 'lost' : result,
    begun: timeText(begunMs),
    ended: endedMs === undefined ? null : timeText(endedMs),
    report,
  };
}
