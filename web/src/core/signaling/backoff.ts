const FIRST_MS = 1_000;
const LONGEST_MS = 30_000;
const JITTER = 0.25;

/** How long to wait before attempt after attempt: 1 s doubling to 30 s, each ± 25 %, so that many do not come at once. */
export class Backoff {
  #failures = 0;

  constructor(private readonly random: () => number) {}

  /** Milliseconds until the next attempt. */
  next(): number {
    const base = Math.min(FIRST_MS * 2 ** this.#failures, LONGEST_MS);
    this.#failures = Math.min(this.#failures + 1, 16);
    return base * (1 + JITTER * (2 * this.random() - 1));
  }

  reset(): void {
    this.#failures = 0;
  }
}
