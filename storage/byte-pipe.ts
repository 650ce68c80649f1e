/**
 * From a giver that pushes bytes to a taker that pulls them: a channel of one piece. `push`
 * resolves when the taker has taken it; a piece keeps its bytes.
 */
export class BytePipe {
  #asked: { give: (bytes: Buffer | null) => void; refuse: (error: unknown) => void } | null = null;
  #waiting: { bytes: Buffer | null; taken: () => void; refused: (error: unknown) => void } | null =
    null;
  #failure: { error: unknown } | null = null;
  #broken: { error: unknown } | null = null;

  /** The next piece; null ends it. */
  async push(bytes: Buffer | null): Promise<void> {
    if (this.#failure !== null) throw this.#failure.error;
    const asked = this.#asked;
    if (asked !== null) {
      this.#asked = null;
      return asked.give(bytes);
    }
    await new Promise<void>((taken, refused) => {
      this.#waiting = { bytes, taken, refused };
    });
  }

  /** The taker has failed: the giver is told at its next piece. */
  fail(error: unknown): void {
    this.#failure = { error };
    this.#waiting?.refused(error);
    this.#waiting = null;
  }

  /** The giver has failed: the taker is told at once. */
  break(error: unknown): void {
    this.#broken = { error };
    this.#asked?.refuse(error);
    this.#asked = null;
  }

  async *read(): AsyncGenerator<Buffer> {
    for (;;) {
      const bytes = await this.#take();
      if (bytes === null) return;
      yield bytes;
    }
  }

  #take(): Promise<Buffer | null> | Buffer | null {
    if (this.#broken !== null) throw this.#broken.error;
    const waiting = this.#waiting;
    if (waiting === null) {
      return new Promise((give, refuse) => {
        this.#asked = { give, refuse };
      });
    }
    this.#waiting = null;
    waiting.taken();
    return waiting.bytes;
  }
}
