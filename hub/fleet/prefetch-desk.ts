import type { PrefetchRequest, PrefetchResponse } from '../../proto/hubapi/prefetch.ts';

/** What nodes are to have before it is asked for. */
export interface PrefetchDesk {
  /** Whether a node should call. Never rejects. */
  hasWork(node: string): Promise<boolean>;
  /** Takes what a node tells of its tasks, and gives it another one. */
  answer(
    caller: { node: string; peerId: string },
    request: PrefetchRequest,
  ): Promise<PrefetchResponse>;
}
