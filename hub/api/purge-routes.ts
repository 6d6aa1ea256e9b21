import { PurgeList, PurgeRequest } from '../../proto/hubapi/purges.ts';
import { parseDigest } from '../../proto/oci/digest.ts';
import type { Fleet } from '../fleet/fleet.ts';
import type { Purges } from '../gc/purges.ts';
import { ApiError } from './errors.ts';
import { route, type ApiRoute } from './route.ts';

export type PurgeRouteModules = {
  fleet: Pick<Fleet, 'unreachedByPurge'>;
  gc: { purges: Purges };
};

/** Taking content down, and letting it be pushed again. */
export function purgeRoutes({ fleet, gc }: PurgeRouteModules): ApiRoute[] {
  const [tag, allowed] = ['purges', 'admin'] as const;
  const answer = async (): Promise<PurgeList> => {
    const unreached = fleet.unreachedByPurge(await gc.purges.acted());
    return { purged: [...gc.purges.list.digests], unreached };
  };
  return [
    route('GET /purges', {
      tag,
      allowed,
      summary: 'lists what is taken down, and the nodes that have not removed it',
      answer: PurgeList,
      run: async () => {
        await gc.purges.refresh();
        return answer();
      },
    }),
    route('POST /purges', {
      tag,
      allowed,
      summary: 'takes a blob or a manifest down: gone everywhere, and refused in pushes',
      body: PurgeRequest,
      answer: PurgeList,
      run: async ({ body }) => {
        const { known } = await gc.purges.purge(parseDigest(body.digest));
        return { ...(await answer()), known };
      },
    }),
    route('DELETE /purges/:digest', {
      tag,
      allowed,
      summary: 'lets what was taken down be pushed again',
      answer: PurgeList,
      run: async ({ params: { digest = '' } }) => {
        if (await gc.purges.lift(parseDigest(digest))) return answer();
        throw new ApiError('NOT_FOUND', `${digest} is not taken down`);
      },
    }),
  ];
}
