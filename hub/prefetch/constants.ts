/** Orders that have not ended at the same time; one more is refused. */
export const ORDERS_OPEN_MAX = 100;
/** Nodes of all orders together that have not ended. */
export const ORDER_NODES_MAX = 200_000;
/** Of the open orders, those of one account or robot: the others still find room. */
export const ORDERS_OWN_MAX = 20;
/** Nodes of these orders together. */
export const ORDER_NODES_OWN_MAX = 50_000;
/** Ended orders that the catalog remembers. */
export const ORDERS_KEPT = 100;
/** Nodes of ended orders that it remembers; the oldest orders go. */
export const ORDER_NODES_KEPT = 200_000;
/** Policies of a hub. */
export const POLICIES_MAX = 100;
/** How long an order lasts unless it says otherwise. */
export const ORDER_LIFE_MS = 24 * 3_600_000;
/** A node that is silent for so long is not reached, unless the order says otherwise. */
export const REACH_MS = 60_000;
/** How often orders are looked after, and schedules. */
export const KEEP_EVERY_MS = 10_000;
/** What a hub that looked after orders tells of them counts so long. */
export const LOOKED_AFTER_MS = 3 * KEEP_EVERY_MS;
/** How old what is known of nodes with work may be. */
export const WORK_LOOK_MS = 1_000;
/** How often a node with a copy that is to be kept is asked whether it still has it. */
export const COPY_CHECK_MS = 5 * 60_000;
/** A copy that was not confirmed for so long counts no more. */
export const COPY_LOST_MS = 3 * COPY_CHECK_MS;
/** How long after a failure a node is chosen again for a copy. */
export const COPY_RETRY_MS = 10 * 60_000;
/** How often an agent with work calls, with few members in the fleet. */
export const CALL_INTERVAL_MS = 2_000;
/** And so much more for each member. */
export const CALL_INTERVAL_PER_MEMBER_MS = 3;
/** How long an agent waits between calls at the most. */
export const CALL_INTERVAL_MAX_MS = 30_000;
/** Tags of one run of a schedule. */
export const SCHEDULED_TAGS_MAX = 32;
/** Tags looked at for that. */
export const SCHEDULED_TAGS_LOOKED_MAX = 10_000;
/** How long resolving a tag may take. */
export const RESOLVE_TIMEOUT_MS = 20_000;
/** Pushes that wait to be looked at by policies; what comes beyond is told in the log. */
export const PUSHES_WAITING_MAX = 1_000;
/** Rows of nodes that are read together. */
export const NODES_PAGE = 1_000;
/** Names told in one message. */
export const NAMES_TOLD_MAX = 5;
