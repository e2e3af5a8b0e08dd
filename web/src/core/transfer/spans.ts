/** Sets of entries as runs, the way the wire has them; and sets of pieces. */
import type { Span } from '../protocol/generated/Span';

/** The runs of ascending indices. */
export function spansOf(indices: Iterable<number>): Span[] {
  const spans: Span[] = [];
  for (const index of indices) {
    const last = spans.at(-1);
    if (last !== undefined && last.first + last.count === index) last.count += 1;
    else spans.push({ first: index, count: 1 });
  }
  return spans;
}

/** Whether the runs are not empty, ascend, do not touch each other's entries and stay within `entries`. */
export function areAscending(spans: readonly Span[], entries: number): boolean {
  let end = 0;
  return spans.every(({ first, count }) => {
    const fits = first >= end && count > 0 && first + count <= entries;
    end = first + count;
    return fits;
  });
}

/** Every index of runs that were checked by `areAscending`. */
export function* indicesOf(spans: readonly Span[]): Generator<number, void, undefined> {
  for (const { first, count } of spans) {
    for (let index = first; index < first + count; index += 1) yield index;
  }
}

export interface PieceOfFile {
  file: number;
  piece: number;
}

/** Pieces of files, given out in the order of file and piece. */
export class PieceSet {
  #files = new Map<number, Set<number>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has(file: number, piece: number): boolean {
    return this.#files.get(file)?.has(piece) ?? false;
  }

  add(file: number, piece: number): void {
    const pieces = this.#files.get(file) ?? new Set<number>();
    this.#files.set(file, pieces);
    if (!pieces.has(piece)) this.#size += 1;
    pieces.add(piece);
  }

  delete(file: number, piece: number): boolean {
    const pieces = this.#files.get(file);
    if (pieces?.delete(piece) !== true) return false;
    if (pieces.size === 0) this.#files.delete(file);
    this.#size -= 1;
    return true;
  }

  /** Takes out all pieces of one file. */
  takeFile(file: number): number[] {
    const pieces = [...(this.#files.get(file) ?? [])];
    this.#files.delete(file);
    this.#size -= pieces.length;
    return pieces;
  }

  clear(): void {
    this.#files.clear();
    this.#size = 0;
  }

  sorted(): PieceOfFile[] {
    const files = [...this.#files].sort(([one], [other]) => one - other);
    return files.flatMap(([file, pieces]) => [...pieces].sort((one, other) => one - other).map((piece) => ({ file, piece })));
  }

  /** Takes out the first `most`. */
  take(most: number): PieceOfFile[] {
    const taken = this.sorted().slice(0, most);
    for (const { file, piece } of taken) this.delete(file, piece);
    return taken;
  }
}
