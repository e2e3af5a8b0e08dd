/** An offer as its receiver sees it, up to the moment it is accepted: nothing here can write (SAFETY D9). */
import { MANIFEST_ENTRIES, MAX_INTEGER } from '../protocol/control';
import type { ManifestEntry } from '../protocol/generated/ManifestEntry';
import type { OfferSummary } from '../protocol/generated/OfferSummary';
import { MANIFEST_BYTES, Manifest, ManifestError, type ManifestProblem, entryCost } from './manifest';
import { Violation } from './output';
import type { Receiving } from './receiving';

/** What became of an `entries` message. */
export type Listed = { kind: 'partly' } | { kind: 'whole'; manifest: Manifest } | { kind: 'refused'; problem: ManifestProblem };

/** A manifest that is still coming. */
export class Listing {
  readonly #entries: ManifestEntry[] = [];
  #bytes = 0;

  constructor(private readonly summary: OfferSummary) {
    const { entries, files, total_bytes } = summary;
    if (entries < 1 || entries > MANIFEST_ENTRIES || files > entries || total_bytes > MAX_INTEGER) {
      throw new Violation('bad_value');
    }
  }

  handleEntries(first: number, entries: readonly ManifestEntry[]): Listed {
    if (first !== this.#entries.length || entries.length === 0) throw new Violation('bad_value');
    for (const entry of entries) {
      this.#bytes += entryCost(entry);
      this.#entries.push(entry);
    }
    if (this.#entries.length > this.summary.entries) throw new Violation('bad_value');
    if (this.#bytes > MANIFEST_BYTES) return { kind: 'refused', problem: 'too_many' };
    if (this.#entries.length < this.summary.entries) return { kind: 'partly' };
    return this.#whole();
  }

  #whole(): Listed {
    try {
      const manifest = Manifest.of(this.#entries);
      const { files, total_bytes } = manifest.summary;
      if (files !== this.summary.files || total_bytes !== this.summary.total_bytes) throw new Violation('bad_value');
      return { kind: 'whole', manifest };
    } catch (error) {
      if (error instanceof ManifestError) return { kind: 'refused', problem: error.problem };
      throw error;
    }
  }
}

export type IncomingState =
  | { kind: 'listing'; listing: Listing }
  /** A whole offer that waits for an answer. */
  | { kind: 'offered'; manifest: Manifest }
  | { kind: 'receiving'; receiving: Receiving };

/** An offer at whatever point it is. */
export interface Incoming {
  state: IncomingState;
  /** The sender tells its offer once more on a new link, because it had no answer on the last one. */
  relisting: Listing | null;
  /** The whole offer came, or was resumed, on this link: an answer may be given. */
  knownOnLink: boolean;
}
