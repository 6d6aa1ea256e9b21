/** What the catalog knows of one replica. */
export type ReplicaRow = {
  id: string;
  /** Where other replicas reach it. */
  url: string;
  /** Epoch it came in with; another run has another. */
  joined: number;
  /** Grows with every heartbeat. */
  beat: number;
  /** Epoch of the view that it acts by. */
  seen: number;
};

/** The replicas at one moment. The epoch grows whenever one comes or goes. */
export type ReplicaSnapshot = { epoch: number; replicas: ReplicaRow[] };

/** Where replicas tell each other that they live. Which of them there are is decided here. */
export interface ReplicaStore {
  /**
   * Comes in, in the place of an earlier run of the same name.
   * @returns the epoch it came in with; undefined when `max` others are in already
   */
  join(replica: { id: string; url: string }, limit: { max: number }): Promise<number | undefined>;
  /**
   * One heartbeat of a replica that acts by the view of epoch `seen`, and all replicas after it.
   * Without an effect for one that is out; it finds that it is not among them.
   */
  beat(replica: { id: string; joined: number; seen: number }): Promise<ReplicaSnapshot>;
  /** Takes out a replica that has not given a heartbeat since; false when it has, or is out. */
  evict(replica: { id: string; joined: number; beat: number }): Promise<boolean>;
  /** Goes. */
  leave(replica: { id: string; joined: number }): Promise<void>;
}
