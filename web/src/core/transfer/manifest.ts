/** The whole of what is offered, checked before anybody is asked (TR-10, TR-43). */
import { MANIFEST_ENTRIES, MAX_INTEGER } from '../protocol/control';
import type { ManifestEntry } from '../protocol/generated/ManifestEntry';
import type { OfferSummary } from '../protocol/generated/OfferSummary';
import { PathError, SafePath } from './name';

/** Bytes of all paths of a manifest together, and 64 for each entry. */
export const MANIFEST_BYTES = 16 * 1024 * 1024;

export type ManifestProblem = 'empty' | 'too_many' | 'too_large' | 'path' | 'collision';

/** The entries are not offered, or not taken. `entry` is the one at fault. */
export class ManifestError extends Error {
  constructor(
    readonly problem: ManifestProblem,
    readonly entry: number | null = null,
  ) {
    super(`the offer cannot be taken: ${problem}`);
    this.name = 'ManifestError';
  }
}

interface Claim {
  spelling: string;
  isFolder: boolean;
  isEntry: boolean;
}

const encoder = new TextEncoder();

export function sizeOf(entry: ManifestEntry): number {
  return entry.kind === 'file' ? entry.size_bytes : 0;
}

/** What an entry counts against `MANIFEST_BYTES`. */
export function entryCost(entry: ManifestEntry): number {
  return encoder.encode(entry.path).length + 64;
}

/** A manifest whose every entry may be kept: all paths are safe and none takes another's place on any common file system. */
export class Manifest {
  private constructor(
    /** As offered; names in them are hostile text. */
    readonly entries: readonly ManifestEntry[],
    /** Where each entry goes. */
    readonly paths: readonly SafePath[],
    readonly summary: OfferSummary,
  ) {}

  /** Checks entries, in the order they will be sent in. Throws `ManifestError`. */
  static of(entries: readonly ManifestEntry[]): Manifest {
    if (entries.length === 0) throw new ManifestError('empty');
    const cost = entries.reduce((sum, entry) => sum + entryCost(entry), 0);
    if (entries.length > MANIFEST_ENTRIES || cost > MANIFEST_BYTES) throw new ManifestError('too_many');
    const paths: SafePath[] = [];
    const claims = new Map<string, Claim>();
    let files = 0;
    let total = 0;
    entries.forEach((entry, index) => {
      total += sizeOf(entry);
      if (total > MAX_INTEGER) throw new ManifestError('too_large');
      files += entry.kind === 'file' ? 1 : 0;
      const path = parse(entry.path, index);
      claim(claims, index, path, entry.kind === 'folder');
      paths.push(path);
    });
    return new Manifest(entries, paths, { entries: entries.length, files, total_bytes: total });
  }

  equals(other: Manifest): boolean {
    const same = (one: ManifestEntry, two: ManifestEntry | undefined): boolean => {
      if (two === undefined || one.kind !== two.kind || one.path !== two.path) return false;
      if (one.kind === 'folder' || two.kind === 'folder') return true;
      return one.size_bytes === two.size_bytes && one.modified_ms === two.modified_ms;
    };
    return this.entries.length === other.entries.length && this.entries.every((entry, at) => same(entry, other.entries[at]));
  }
}

function parse(path: string, index: number): SafePath {
  try {
    return SafePath.parse(path);
  } catch (error) {
    throw error instanceof PathError ? new ManifestError('path', index) : error;
  }
}

function claim(claims: Map<string, Claim>, entry: number, path: SafePath, entryIsFolder: boolean): void {
  // Folding works component by component, so the folded path has its separators in the same order.
  const folded = path.fold().split('/');
  let key = '';
  let spelling = '';
  path.text.split('/').forEach((component, depth) => {
    key += `/${folded[depth] ?? ''}`;
    spelling += `/${component}`;
    const isEntry = depth === folded.length - 1;
    const isFolder = !isEntry || entryIsFolder;
    const old = claims.get(key);
    if (old === undefined) {
      claims.set(key, { spelling, isFolder, isEntry });
      return;
    }
    const sameFolder = old.isFolder && isFolder && old.spelling === spelling;
    if (!sameFolder || (old.isEntry && isEntry)) throw new ManifestError('collision', entry);
    old.isEntry ||= isEntry;
  });
}
