/** One `have` message in the making: it is filled up to a fixed cost, and the next one goes on where it stopped. */
import type { FailedFile } from '../protocol/generated/FailedFile';
import type { FileFailure } from '../protocol/generated/FileFailure';
import type { HeldFile } from '../protocol/generated/HeldFile';
import type { Span } from '../protocol/generated/Span';
import { joinHashes } from './journal';

/** What the parts may cost, in bytes of JSON, and what each costs at most. */
const COST = 48_000;
const COST_OF_SPAN = 40;
const COST_OF_FAILURE = 48;
const COST_OF_FILE = 64;
const COST_OF_RUN = 48;
const COST_OF_HASH = 43;

/** Where to go on: first the done entries, then the failed, then the held. */
export interface HavePlace {
  part: 'done' | 'failed' | 'held';
  file: number;
  piece: number;
}

export const HAVE_START: HavePlace = { part: 'done', file: 0, piece: 0 };

/** What is said about one file. */
export interface HaveFile {
  isPlaced: boolean;
  failure: FileFailure | null;
  version: number;
  /** In the order of the pieces. */
  pieces(): [number, Uint8Array][];
}

export class HaveBuilder {
  readonly done: Span[] = [];
  readonly failed: FailedFile[] = [];
  readonly held: HeldFile[] = [];
  #cost = 0;

  /** Adds what fits from `start` on; says where to go on, `null` at the end. */
  fill(start: HavePlace, files: readonly HaveFile[]): HavePlace | null {
    let { part, file, piece } = start;
    if (part === 'done') {
      for (; file < files.length; file += 1) if (!this.#addDone(file, files[file])) return { part, file, piece: 0 };
      part = 'failed';
      file = 0;
    }
    if (part === 'failed') {
      for (; file < files.length; file += 1) if (!this.#addFailed(file, files[file])) return { part, file, piece: 0 };
      part = 'held';
      file = 0;
      piece = 0;
    }
    for (; file < files.length; file += 1) {
      const cut = this.#addHeld(file, files[file], piece);
      if (cut !== null) return { part, file, piece: cut };
      piece = 0;
    }
    return null;
  }

  #addDone(file: number, state: HaveFile | undefined): boolean {
    if (state?.isPlaced !== true) return true;
    const last = this.done.at(-1);
    if (last !== undefined && last.first + last.count === file) {
      last.count += 1;
      return true;
    }
    if (!this.#fits(COST_OF_SPAN)) return false;
    this.done.push({ first: file, count: 1 });
    return true;
  }

  #addFailed(file: number, state: HaveFile | undefined): boolean {
    const reason = state?.failure ?? null;
    if (reason === null) return true;
    if (!this.#fits(COST_OF_FAILURE)) return false;
    this.failed.push({ file, reason });
    return true;
  }

  /** The piece that did not fit, or `null`. */
  #addHeld(file: number, state: HaveFile | undefined, from: number): number | null {
    const runs: { first: number; hashes: Uint8Array[] }[] = [];
    let cut: number | null = null;
    for (const [piece, hash] of state?.pieces() ?? []) {
      if (piece < from) continue;
      const run = runs.at(-1);
      const goesOn = run !== undefined && run.first + run.hashes.length === piece;
      const extra = goesOn ? 0 : COST_OF_RUN + (run === undefined ? COST_OF_FILE : 0);
      if (!this.#fits(COST_OF_HASH + extra)) {
        cut = piece;
        break;
      }
      if (goesOn) run.hashes.push(hash);
      else runs.push({ first: piece, hashes: [hash] });
    }
    if (runs.length > 0) {
      const joined = runs.map(({ first, hashes }) => ({ first, hashes: joinHashes(hashes) }));
      this.held.push({ file, version: state?.version ?? 0, runs: joined });
    }
    return cut;
  }

  #fits(cost: number): boolean {
    const fits = this.#cost + cost <= COST;
    if (fits) this.#cost += cost;
    return fits;
  }
}
