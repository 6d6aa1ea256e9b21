/** Kinds of events in the calendar. */
export const HAPPENS = {
  /** A request reached an idle sender: connection, its generation. */
  start: 0,
  /** The chunk at the head has left the sender: connection, its flow. */
  finish: 1,
  /** A chunk is there and verified: connection, its generation, ticket, index. */
  deliver: 2,
  /** A node begins its pull. */
  arrive: 3,
  /** The agent looks at its clock. */
  tick: 4,
  /** A peer's answer to the availability question: connection, its generation. */
  have: 5,
  /** The link to a peer stands: connection, its generation. */
  linked: 6,
  /** A peer is found to be dead: connection, its generation. */
  lost: 7,
  /** It is time to announce: node, number of the plan. */
  announce: 8,
  /** The hub takes an announcement up: node, number of the announcement. */
  tracker: 9,
  /** The tracker's answer is there: node, number of the announcement. */
  answer: 10,
  /** The announcement was given up: node, number of the announcement. */
  unanswered: 11,
  /** A node vanishes. */
  crash: 12,
  /** The hub forgets silent members. */
  sweep: 13,
  /** Events further ahead than the calendar reaches are looked at. */
  far: 14,
} as const;
