/**
 * Work that goes on behind its caller: what was begun, in order. A failure is never passed over: it
 * stays, and every later wait throws it, so that nothing after it is made durable.
 */
export class WorkBehind {
  readonly #begun: Promise<void>[] = [];

  /** Takes work that is under way; its failure is thrown by {@link atMost}. */
  add(work: Promise<void>): void {
    work.catch(() => {});
    this.#begun.push(work);
  }

  /** Waits until at most `left` are under way; throws the first failure, each time. */
  async atMost(left: number): Promise<void> {
    while (this.#begun.length > left) {
      await this.#begun[0];
      void this.#begun.shift();
    }
  }

  /** Waits until all have ended, well or not: for a close. */
  async ended(): Promise<void> {
    await Promise.allSettled(this.#begun);
  }
}
