/** Finds the files of a transfer again after the page was reloaded, and tells them from others (FACTS §2 rule 5). */
import { PIECE_BYTES } from '../protocol/frame';
import { manifestEntry, type OutgoingItem } from '../session/exchange';
import { sameHash, type PieceHasher } from '../transfer/hash';
import type { KeptTransfer } from './ledger';

export interface Fingerprint {
  /** BLAKE3 of the first and of the last piece. */
  first: Uint8Array<ArrayBuffer>;
  last: Uint8Array<ArrayBuffer>;
}

/** Throws when the file cannot be read. */
export async function fingerprint(file: Blob, hashPiece: PieceHasher): Promise<Fingerprint> {
  const hashOf = async (from: number): Promise<Uint8Array<ArrayBuffer>> =>
    new Uint8Array(hashPiece(new Uint8Array(await file.slice(from, from + PIECE_BYTES).arrayBuffer())));
  const lastPiece = Math.max(Math.ceil(file.size / PIECE_BYTES) - 1, 0);
  return { first: await hashOf(0), last: await hashOf(lastPiece * PIECE_BYTES) };
}

export type Found =
  | { kind: 'same'; files: (File | null)[] }
  /** `path` is not what was being sent. */
  | { kind: 'other'; path: string; why: 'missing' | 'size' | 'time' | 'content' };

/** Looks for every entry among what was chosen: by path, or by name when only files were picked. */
export async function findAgain(
  kept: Pick<KeptTransfer, 'entries' | 'sources'>,
  items: readonly OutgoingItem[],
  hashPiece: PieceHasher,
): Promise<Found> {
  const byPath = new Map<string, File>();
  for (const item of items) {
    if (item.kind !== 'file') continue;
    byPath.set(item.file.name, item.file);
    byPath.set(item.path, item.file);
  }
  const wanted = kept.entries.filter(({ kind }) => kind === 'file');
  const [only] = items;
  const files: (File | null)[] = [];
  for (const [at, entry] of kept.entries.entries()) {
    if (entry.kind === 'folder') {
      files.push(null);
      continue;
    }
    const { path } = entry;
    // A single file may have been renamed meanwhile: its content decides.
    const alone = wanted.length === 1 && items.length === 1 && only?.kind === 'file' ? only.file : undefined;
    const file = byPath.get(path) ?? byPath.get(path.split('/').at(-1) ?? path) ?? alone;
    if (file === undefined) return { kind: 'other', path, why: 'missing' };
    const now = manifestEntry({ kind: 'file', path, file });
    if (now.kind !== 'file' || now.size_bytes !== entry.size_bytes) return { kind: 'other', path, why: 'size' };
    if (now.modified_ms !== entry.modified_ms) return { kind: 'other', path, why: 'time' };
    const before = kept.sources[at];
    if (before !== undefined && before.first !== null && before.last !== null) {
      const ends = await fingerprint(file, hashPiece).catch(() => null);
      const same = ends !== null && sameHash(ends.first, before.first) && sameHash(ends.last, before.last);
      if (!same) return { kind: 'other', path, why: 'content' };
    }
    files.push(file);
  }
  return { kind: 'same', files };
}
