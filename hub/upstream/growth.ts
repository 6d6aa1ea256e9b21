/** Wakes all who wait for something to grow. */
export class Growth {
  #next = Promise.withResolvers<void>();

  /** Resolves at the next `tell`. */
  get next(): Promise<void> {
    return this.#next.promise;
  }

  tell(): void {
    this.#next.resolve();
    this.#next = Promise.withResolvers();
  }
}
