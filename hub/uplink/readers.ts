/** Counts which callers read of which repositories just now. */
export class Readers {
  readonly #byCaller = new Map<string, Map<string, number>>();
  readonly #byRepository = new Map<string, Set<string>>();

  enter(caller: string, repository: string): void {
    const own = this.#byCaller.get(caller) ?? new Map<string, number>();
    this.#byCaller.set(caller, own);
    own.set(repository, (own.get(repository) ?? 0) + 1);
    const readers = this.#byRepository.get(repository) ?? new Set<string>();
    this.#byRepository.set(repository, readers.add(caller));
  }

  leave(caller: string, repository: string): void {
    const own = this.#byCaller.get(caller);
    const left = (own?.get(repository) ?? 0) - 1;
    if (left > 0) return void own?.set(repository, left);
    own?.delete(repository);
    if (own?.size === 0) this.#byCaller.delete(caller);
    const readers = this.#byRepository.get(repository);
    readers?.delete(caller);
    if (readers?.size === 0) this.#byRepository.delete(repository);
  }

  /**
   * The weight of a repository: 1, and less when all who read it read many others too, so that
   * nobody gets more by asking for more repositories at a time.
   */
  weightOf(repository: string): number {
    let weight = 0;
    for (const caller of this.#byRepository.get(repository) ?? []) {
      weight += 1 / (this.#byCaller.get(caller)?.size ?? 1);
      if (weight >= 1) return 1;
    }
    return weight === 0 ? 1 : weight;
  }
}
