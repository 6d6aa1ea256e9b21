/** That somebody wants a blob that is fetched. Of one that nobody wants only its beginning is. */
export class Wish {
  readonly #made = Promise.withResolvers<void>();
  #isMade = false;

  get isMade(): boolean {
    return this.#isMade;
  }

  /** Resolves when it is. */
  get made(): Promise<void> {
    return this.#made.promise;
  }

  make(): void {
    this.#isMade = true;
    this.#made.resolve();
  }
}
