/** How much may be in flight (TR-30 to TR-33). Both halves count whole messages of the data channel since the link began. */
import type { ControlMessage } from '../protocol/generated/ControlMessage';
import { PIECE_BYTES } from '../protocol/frame';

/** Credit that is too little to be told at once is told after this long. */
const GRANT_AFTER_MS = 100;

/** The receiver's half: gives credit for bytes that have left its memory. */
export class Grant {
  #received = 0;
  /** Bytes of files in memory: in the open piece, or written and not yet answered. Outlives a link. */
  #held = 0;
  #told: number | null = null;
  #due: number | null = null;

  constructor(private window: number) {}

  restart(): void {
    this.#received = 0;
    this.#told = null;
    this.#due = null;
  }

  /** Counts a message; `false` when it is more than was allowed. */
  receive(now: number, bytes: number): boolean {
    this.#received += bytes;
    this.#notice(now);
    return this.#told !== null && this.#received <= this.#told;
  }

  hold(bytes: number): void {
    this.#held += bytes;
  }

  release(now: number, bytes: number): void {
    this.#held = Math.max(this.#held - bytes, 0);
    this.#notice(now);
  }

  resize(now: number, window: number): void {
    this.window = window;
    this.#notice(now);
  }

  /** The message that is worth sending now. */
  poll(now: number): ControlMessage | null {
    const untold = this.#untold();
    const enough = untold >= Math.min(PIECE_BYTES, Math.floor(this.window / 8));
    const waited = this.#due !== null && this.#due <= now;
    if (this.#told !== null && !(enough || (waited && untold > 0))) return null;
    this.#told = this.#limit();
    this.#due = null;
    return { type: 'credit', limit_bytes: this.#told };
  }

  /** None while there is nothing to tell: a window that shrank, or bytes that came to be held, may have used it up. */
  pollTimeout(): number | null {
    return this.#untold() > 0 ? this.#due : null;
  }

  #notice(now: number): void {
    if (this.#due === null && this.#untold() > 0) this.#due = now + GRANT_AFTER_MS;
  }

  /** Never below what was told: a window may shrink, a promise not. */
  #limit(): number {
    return Math.max(this.#received + this.window - this.#held, this.#told ?? 0, 0);
  }

  #untold(): number {
    return this.#limit() - (this.#told ?? 0);
  }
}

export interface TakenPiece {
  transfer: string;
  bytes: number;
}

/** The sender's half: what may still be sent, and whose bytes the other side has taken. */
export class Allowance {
  #sent = 0;
  #firstLimit: number | null = null;
  #limit = 0;
  /** Ends of sent pieces, and whose they are. */
  #inFlight: (TakenPiece & { end: number })[] = [];

  get left(): number {
    return Math.max(this.#limit - this.#sent, 0);
  }

  /** Counts a message of the data channel with the pieces that ended in it. */
  send(bytes: number, pieces: readonly TakenPiece[]): void {
    this.#sent += bytes;
    for (const piece of pieces) this.#inFlight.push({ ...piece, end: this.#sent });
  }

  /** New credit; `false` when it shrinks. */
  handleCredit(limit: number): boolean {
    const grows = limit >= this.#limit;
    this.#firstLimit ??= limit;
    this.#limit = Math.max(this.#limit, limit);
    return grows;
  }

  /** The pieces that the other side has taken, by the credit that it gave back. */
  pollTaken(): TakenPiece[] {
    const taken = this.#limit - (this.#firstLimit ?? this.#limit);
    const split = this.#inFlight.findIndex(({ end }) => end > taken);
    return this.#inFlight.splice(0, split < 0 ? this.#inFlight.length : split);
  }
}
