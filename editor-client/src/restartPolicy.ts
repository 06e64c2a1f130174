/** Decides whether a server that ended by itself is started again. Pure. */

const LIMIT = 4;
const WINDOW = 3 * 60 * 1000;

/** Allows four restarts in three minutes: enough for bad luck, too few for a loop. */
export class RestartPolicy {
  #ends: number[] = [];

  /** Notes an end at `now` (milliseconds) and says whether to start again. */
  allows(now: number): boolean {
    this.#ends = [...this.#ends.filter((end) => now - end < WINDOW), now];
    return this.#ends.length <= LIMIT;
  }

  /** Forgets what happened, because a person asked for a new start. */
  reset(): void {
    this.#ends = [];
  }
}
