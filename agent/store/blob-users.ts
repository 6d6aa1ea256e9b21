/** Who keeps a blob and who wants to hear of its chunks. */
export class BlobUsers {
  #holds = 0;
  readonly #listeners = new Set<(index: number) => void>();

  get isHeld(): boolean {
    return this.#holds > 0;
  }

  hold(): Disposable {
    this.#holds += 1;
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (held) this.#holds -= 1;
        held = false;
      },
    };
  }

  listen(listener: (index: number) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  tell(index: number): void {
    for (const listener of this.#listeners) listener(index);
  }
}
