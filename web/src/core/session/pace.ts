/**
 * Whether a link that is heard also moves what waits for it (LK-46 in `docs/protocol/link.md`). The Rust twin is
 * `crates/transfer/src/pace.rs`. Times are milliseconds.
 */

/** Less than `LEAST_BYTES` in so long, while more waited all the time, is slow. */
const LOOK = 500;
/** Half a mebibyte a second: below what any local network does, above what is worth another path elsewhere. */
const LEAST_BYTES = 256 * 1024;

/** Watches one link. */
export class Pace {
  /** Since when something waits without a break, and what had moved by then. */
  #waiting: { since: number; movedBytes: number } | null = null;

  /**
   * Looks at the link, after each time that it was fed and when `pollTimeout` says so. `movedBytes` is what it took since
   * it was opened; `waits`: it takes no more now. Says whether it is slow, at most once for each look.
   */
  handleLook(now: number, movedBytes: number, waits: boolean): boolean {
    if (!waits) {
      this.#waiting = null;
      return false;
    }
    const waiting = this.#waiting ?? { since: now, movedBytes };
    this.#waiting = waiting;
    if (now < waiting.since + LOOK) return false;
    this.#waiting = { since: now, movedBytes };
    return movedBytes - waiting.movedBytes < LEAST_BYTES;
  }

  /** When to look at the latest. */
  pollTimeout(): number | null {
    return this.#waiting === null ? null : this.#waiting.since + LOOK;
  }
}
