/** Reading back part of what a journal vouches for, before it is claimed (TR-64). */
import type { PieceOfFile } from './spans';

/** The newest pieces are all read back: 64 MiB. */
const NEWEST = 64;
/** Of the others one in so many is drawn. */
const ONE_IN = 100;
/** Reads asked for at once. */
const AT_ONCE = 8;

const keyOf = ({ file, piece }: PieceOfFile): string => `${String(file)}/${String(piece)}`;

export class Recheck {
  #waiting: PieceOfFile[] = [];
  #asked = new Set<string>();
  /** Pieces that are trusted as long as no other one is found wrong. */
  #trusted: PieceOfFile[] = [];

  /** Chooses among pieces in the order they became durable. `random` gives numbers of 0 to 1. */
  static choose(written: readonly PieceOfFile[], random: () => number): Recheck {
    const recheck = new Recheck();
    const seen = new Set<string>();
    written.forEach((piece, at) => {
      const key = keyOf(piece);
      if (seen.has(key)) return;
      seen.add(key);
      const chosen = at >= written.length - NEWEST || random() * ONE_IN < 1;
      (chosen ? recheck.#waiting : recheck.#trusted).push(piece);
    });
    return recheck;
  }

  get isDone(): boolean {
    return this.#waiting.length === 0 && this.#asked.size === 0;
  }

  pull(ask: (piece: PieceOfFile) => void): void {
    for (const piece of this.#waiting.splice(0, AT_ONCE - this.#asked.size)) {
      this.#asked.add(keyOf(piece));
      ask(piece);
    }
  }

  /** Whether the piece was asked for. One wrong piece, and every other one is read too. */
  handleRead(piece: PieceOfFile, matches: boolean): boolean {
    const wasAsked = this.#asked.delete(keyOf(piece));
    if (wasAsked && !matches) this.#waiting.push(...this.#trusted.splice(0));
    return wasAsked;
  }
}
