import type { ColumnType, Selectable } from 'kysely';
import { parseDigest } from '../../proto/oci/digest.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import type { NodeRow, NodeState, Order, OrderResult, Policy } from '../prefetch/store.ts';
import type { Big } from './schema.ts';

type OptionalBig = ColumnType<number | string | null, number | null, number | null>;

export type OrderTable = {
  id: string;
  policy: string | null;
  repository: string;
  reference: string;
  digest: string;
  /** JSON. */
  choice: string;
  platforms: string;
  subject: string;
  epoch: string;
  reach_ms: Big;
  created_at_ms: Big;
  expires_at_ms: Big;
  ended_at_ms: OptionalBig;
  result: OrderResult | null;
};

export type NodeTable = {
  order_id: string;
  node: string;
  state: NodeState;
  done_bytes: Big;
  total_bytes: Big;
  reason: string;
  chosen_at_ms: Big;
  seen_at_ms: OptionalBig;
};

export type PolicyTable = {
  name: string;
  /** JSON. */
  spec: string;
  created_at_ms: Big;
  next_at_ms: OptionalBig;
  note: string;
};

export function rowOf(order: Order) {
  const { id, policy = null, repository, reference, digest, choice, platforms } = order;
  const { subject, epoch, reachMs, createdAtMs, expiresAtMs } = order;
  return {
    id,
    policy,
    repository,
    reference,
    digest,
    choice: JSON.stringify(choice),
    platforms: JSON.stringify(platforms),
    subject,
    epoch,
    reach_ms: reachMs,
    created_at_ms: createdAtMs,
    expires_at_ms: expiresAtMs,
    ended_at_ms: null,
    result: null,
  };
}

export function orderOf(row: Selectable<OrderTable>): Order {
  const { id, policy, repository, reference, digest, subject, epoch, result } = row;
  return {
    id,
    ...(policy === null ? {} : { policy }),
    repository: parseRepository(repository),
    reference,
    digest: parseDigest(digest),
    choice: JSON.parse(row.choice),
    platforms: JSON.parse(row.platforms),
    subject,
    epoch,
    reachMs: Number(row.reach_ms),
    createdAtMs: Number(row.created_at_ms),
    expiresAtMs: Number(row.expires_at_ms),
    ...(row.ended_at_ms === null ? {} : { endedAtMs: Number(row.ended_at_ms) }),
    ...(result === null ? {} : { result }),
  };
}

export function nodeOf(row: Selectable<NodeTable>): NodeRow {
  const { order_id: orderId, node, state, reason } = row;
  return {
    orderId,
    node,
    state,
    doneBytes: Number(row.done_bytes),
    totalBytes: Number(row.total_bytes),
    reason,
    chosenAtMs: Number(row.chosen_at_ms),
    ...(row.seen_at_ms === null ? {} : { seenAtMs: Number(row.seen_at_ms) }),
  };
}

export function policyOf(row: Selectable<PolicyTable>): Policy {
  const { name, spec, note } = row;
  return {
    ...JSON.parse(spec),
    name,
    note,
    createdAtMs: Number(row.created_at_ms),
    ...(row.next_at_ms === null ? {} : { nextAtMs: Number(row.next_at_ms) }),
  };
}
