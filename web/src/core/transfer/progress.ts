/** How far a transfer is and how fast it goes (TR-80). */

/** Speed is the mean over this time. */
const MEAN_OVER_MS = 2000;
/** Bytes are counted in steps of this length. */
const STEP_MS = 250;
/** No time left is told before bytes have moved for this long. */
const LEFT_AFTER_MS = 5000;

export interface Progress {
  /** Bytes of the wanted files that have not failed. */
  totalBytes: number;
  /** Bytes that are verified and stored at the receiver. The sender learns it a little later. */
  verifiedBytes: number;
  /** Bytes that survive a crash of the receiver. The sender counts whole files only. */
  durableBytes: number;
  /** Wanted entries, folders included; those under their final name; those that will not arrive. */
  entries: number;
  done: number;
  failed: number;
  /** Mean of the last 2 s; 0 when nothing moves. */
  bytesPerSecond: number;
  /** Time left at that speed; from 5 s after the first byte on. */
  secondsLeft: number | null;
}

/** Counts bytes over time. */
export class Meter {
  #started: number | null = null;
  /** Start of each step and its bytes; at most nine. */
  #steps: { start: number; bytes: number }[] = [];

  add(now: number, bytes: number): void {
    this.#started ??= now;
    const last = this.#steps.at(-1);
    if (last !== undefined && now - last.start < STEP_MS) last.bytes += bytes;
    else this.#steps.push({ start: now, bytes });
    this.#steps = this.#steps.filter(({ start }) => now - start < MEAN_OVER_MS);
  }

  restart(): void {
    this.#started = null;
    this.#steps = [];
  }

  bytesPerSecond(now: number): number {
    if (this.#started === null) return 0;
    const recent = this.#steps.filter(({ start }) => now - start < MEAN_OVER_MS);
    const bytes = recent.reduce((sum, step) => sum + step.bytes, 0);
    const over = Math.min(Math.max(now - this.#started, STEP_MS), MEAN_OVER_MS);
    return Math.floor((bytes * 1000) / Math.floor(over));
  }

  secondsLeft(now: number, bytes: number): number | null {
    const speed = this.bytesPerSecond(now);
    if (this.#started === null || now - this.#started < LEFT_AFTER_MS || speed === 0) return null;
    return Math.ceil(bytes / speed);
  }
}
