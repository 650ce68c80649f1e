/**
 * The turn of the one snapshot that is being written: whoever begins the next one takes it away.
 * Once it is being prepared it keeps it, until it is published or aborted.
 */
import { fail } from '../../core/errors.ts';

export class SnapshotTurn {
  readonly #instance: string;
  /** Refuses the bytes that are waited for. */
  #refuse: (cause: unknown) => void = () => {};
  #underWay: Promise<unknown> = Promise.resolve();
  #lost: Error | null = null;
  #isPreparing = false;

  /** @param instance for messages */
  constructor(instance: string) {
    this.#instance = instance;
  }

  /** @throws `instance.closed` once the turn is lost, or what it was lost by */
  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#lost !== null) throw this.#lost;
    const worked = work();
    this.#underWay = worked.catch(() => {});
    return worked;
  }

  /** The last thing that is done in the turn: nobody takes it away from then on. */
  async prepare<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#isPreparing = this.#lost === null;
    try {
      return await this.run(work);
    } catch (error) {
      this.#isPreparing = false;
      throw error;
    }
  }

  /** The bytes, until the turn is taken away: whoever gives them may stand still. */
  async *until(
    bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array> {
    const given =
      Symbol.asyncIterator in bytes ? bytes[Symbol.asyncIterator]() : bytes[Symbol.iterator]();
    for (;;) {
      const next = await new Promise<IteratorResult<Uint8Array, unknown>>((give, refuse) => {
        if (this.#lost !== null) throw this.#lost;
        this.#refuse = refuse;
        Promise.resolve(given.next()).then(give, refuse);
      });
      if (next.done === true) return;
      yield next.value;
    }
  }

  /** Nothing more is done in it. */
  lose(cause: Error): void {
    this.#lost ??= cause;
    this.#refuse(this.#lost);
  }

  /** False when it is kept; else true, once nothing is under way in it any more. */
  async take(): Promise<boolean> {
    if (this.#isPreparing) return false;
    const action = 'go on with an earlier snapshot in';
    this.lose(fail('instance.closed', { action, instance: this.#instance }));
    await this.#underWay;
    return true;
  }
}
