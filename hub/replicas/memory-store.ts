import type { ReplicaRow, ReplicaSnapshot, ReplicaStore } from './store.ts';

/** A ReplicaStore of one process, for tests and simulations. Every call is one step. */
export class MemoryReplicaStore implements ReplicaStore {
  readonly #rows = new Map<string, ReplicaRow>();
  #epoch = 0;

  async join(
    { id, url }: { id: string; url: string },
    { max }: { max: number },
  ): Promise<number | undefined> {
    if (this.#rows.size - Number(this.#rows.has(id)) >= max) return undefined;
    this.#epoch += 1;
    this.#rows.set(id, { id, url, joined: this.#epoch, beat: 0, seen: 0 });
    return this.#epoch;
  }

  async beat(replica: { id: string; joined: number; seen: number }): Promise<ReplicaSnapshot> {
    const { id, joined, seen } = replica;
    const row = this.#rows.get(id);
    if (row?.joined === joined) this.#rows.set(id, { ...row, beat: row.beat + 1, seen });
    const replicas = [...this.#rows.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    return { epoch: this.#epoch, replicas };
  }

  async evict(replica: { id: string; joined: number; beat: number }): Promise<boolean> {
    const row = this.#rows.get(replica.id);
    const isSame = row?.joined === replica.joined && row.beat === replica.beat;
    if (isSame) this.#remove(replica.id);
    return isSame;
  }

  async leave(replica: { id: string; joined: number }): Promise<void> {
    if (this.#rows.get(replica.id)?.joined === replica.joined) this.#remove(replica.id);
  }

  #remove(id: string): void {
    this.#rows.delete(id);
    this.#epoch += 1;
  }
}
