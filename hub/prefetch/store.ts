import type { Digest } from '../../proto/oci/digest.ts';
import type { Repository } from '../../proto/oci/name.ts';

/** Which nodes are to have an image. */
export type Choice = {
  /** Terms such as `zone=a,node=gpu-*`, all of which a node fits; empty: every node. */
  nodes: string;
  /** Only this part of them. */
  percent?: number;
  /** So many of them at least, as long as the order lasts, whoever comes and goes. */
  copies?: number;
};

/** `failed`: some node has not got it. `replaced`: by a later order of the same policy. */
export type OrderResult = 'done' | 'failed' | 'stopped' | 'replaced';

/** Who wants an image to be on nodes. */
export type Orderer = {
  /** As tokens name who asks. */
  subject: string;
  /** Of the subject when it was ordered. */
  epoch: string;
};

export type Order = Orderer & {
  id: string;
  /** The policy that made it, if one did. */
  policy?: string;
  repository: Repository;
  /** The tag or digest that was ordered. */
  reference: string;
  /** What that was then. */
  digest: Digest;
  choice: Choice;
  /** Such as `linux/amd64`; empty: that of each node. */
  platforms: readonly string[];
  /** A node that is silent for longer is not reached, ms. */
  reachMs: number;
  createdAtMs: number;
  expiresAtMs: number;
  /** Both or none. */
  endedAtMs?: number;
  result?: OrderResult;
};

/** `queued` until the node begins. `unreached`: it was not there before the end. */
export type NodeState = 'queued' | 'running' | 'done' | 'failed' | 'unreached';

export type NodeRow = {
  orderId: string;
  node: string;
  state: NodeState;
  doneBytes: number;
  totalBytes: number;
  /** Why it failed. */
  reason: string;
  chosenAtMs: number;
  /** When the node was last heard of in this matter. */
  seenAtMs?: number;
};

/** What a node tells. Without a total it says no more than that it is there. */
export type NodeReport = Pick<NodeRow, 'doneBytes' | 'totalBytes' | 'reason'> & {
  orderId: string;
  state: 'running' | 'done' | 'failed';
};

export type PolicySpec = {
  /** What repositories fit; only one, without a star, with a schedule. */
  repository: string;
  /** What tags fit. */
  tag: string;
  /** When an image is pushed, or at times of cron in UTC. */
  on: 'push' | { cron: string };
  choice: Choice;
  platforms: readonly string[];
  /** How long its orders last, ms. */
  lifeMs: number;
  enabled: boolean;
};

export type Policy = PolicySpec & {
  name: string;
  createdAtMs: number;
  /** When its schedule comes next, if that is known. */
  nextAtMs?: number;
  /** What its last run came to. */
  note: string;
};

/** Orders that may be open, and nodes in them, over all and of one who orders. */
export type OrderLimits = {
  openMax: number;
  rowsMax: number;
  own?: { orders: number; rows: number } | undefined;
  replaces: boolean;
};

/** Orders and policies, shared by all hubs of a catalog. Every method is one transaction. */
export interface PrefetchStore {
  /**
   * Stores an order for these nodes. With `replaces`, the open orders of its policy for the same
   * repository and reference end as replaced. `own`: who ordered it has too many already.
   */
  addOrder(
    order: Order,
    nodes: readonly string[],
    limits: OrderLimits,
  ): Promise<'ok' | 'full' | 'own'>;
  order(id: string): Promise<Order | undefined>;
  /** The newest first. */
  orders(max: number): Promise<Order[]>;
  /** Those that have not ended, the oldest first. */
  openOrders(): Promise<Order[]>;
  /** By name, after `last`, `n` at most. */
  nodes(orderId: string, page: { n: number; last?: string | undefined }): Promise<NodeRow[]>;
  /** What open orders want of a node, the oldest first. */
  workOf(node: string): Promise<{ order: Order; row: NodeRow }[]>;
  /** Nodes that open orders still want something of, or, of copies, a word since `checkedMs`. */
  waiting(checkedMs: number): Promise<Set<string>>;
  /** A node is there, and tells of open orders. It says nothing about others. */
  report(node: string, reports: readonly NodeReport[], nowMs: number): Promise<void>;
  /** A node was told to begin. */
  begin(orderId: string, node: string, nowMs: number): Promise<void>;
  /** Chooses nodes anew, or others; nothing when the order has ended. */
  choose(
    orderId: string,
    change: { add: readonly string[]; drop: readonly string[] },
    nowMs: number,
  ): Promise<void>;
  /** False when it has ended already. Nodes that are not through become `unreached`. */
  endOrder(id: string, result: OrderResult, nowMs: number): Promise<boolean>;
  /** Ends it when all its nodes are through; undefined when they are not. */
  endIfSettled(id: string, nowMs: number): Promise<OrderResult | undefined>;
  /** Forgets the oldest of what has ended. */
  trim(kept: { orders: number; rows: number }): Promise<void>;

  policies(): Promise<Policy[]>;
  policy(name: string): Promise<Policy | undefined>;
  /** Makes or changes one; its schedule begins anew. */
  putPolicy(policy: Policy, limits: { max: number }): Promise<'ok' | 'full'>;
  deletePolicy(name: string): Promise<boolean>;
  /** Sets the next time; false when it is not `fromMs` any more, so that one hub acts on it. */
  movePolicy(name: string, fromMs: number | undefined, toMs: number): Promise<boolean>;
  notePolicy(name: string, note: string): Promise<void>;
}
