/**
 * What a page keeps of its transfers, so that they outlive links and sessions and, on secure pages, the page itself
 * (FACTS §2 rules 3 to 6). Names and hashes stay in this browser.
 */
import type { ManifestEntry } from '../protocol/generated/ManifestEntry';
import type { Platform } from '../protocol/generated/Platform';
import type { Span } from '../protocol/generated/Span';
import type { PeerId } from '../session/keeper';
import { Kept, encodeRecords, type JournalRecord } from '../transfer/journal';
import type { TabLocks } from './tab_lock';

const HOUR_MS = 3_600_000;
/** Unfinished transfers, and files that were received and not saved. */
export const KEPT_MS = 7 * 24 * HOUR_MS;
/** Files that were handed to the browser's downloads: a page cannot know that a download finished. */
export const SAVED_MS = 24 * HOUR_MS;
/** A tab that is being closed lets go of its transfers within that time. */
const CLAIM_MS = 1000;

/** How the content of a file that is being sent is found again. */
export interface KeptSource {
  /** Where the browser gives one for what was dropped or picked. */
  handle: FileSystemFileHandle | null;
  /** BLAKE3 of the first and last piece; `null` until read. */
  first: Uint8Array<ArrayBuffer> | null;
  last: Uint8Array<ArrayBuffer> | null;
}

export interface KeptTransfer {
  id: string;
  direction: 'send' | 'receive';
  /** The other device, the same over reloads. */
  peer: PeerId;
  /** Hostile. */
  deviceName: string;
  platform: Platform;
  /** Of a received one hostile: use the paths of `Manifest`. */
  entries: readonly ManifestEntry[];
  /** What was accepted of it. */
  wanted: readonly Span[];
  /** Entries that are whole at the receiver. Of an unfinished received one the journal says it. */
  done: readonly Span[];
  startedAtMs: number;
  updatedAtMs: number;
  /** Set once nothing of it moves any more; what was received is kept as a copy. */
  endedAtMs: number | null;
  /** When its copy was handed to the browser's downloads. */
  savedAtMs: number | null;
  /** By entry; of a received one empty. */
  sources: readonly KeptSource[];
}

/** Where it lies between visits. */
export interface TransferDatabase {
  all(): Promise<{ kept: KeptTransfer; journal: Uint8Array[] }[]>;
  put(kept: KeptTransfer): Promise<void>;
  /** `durable`: it survives a crash once this returns. */
  append(transfer: string, bytes: Uint8Array<ArrayBuffer>, durable: boolean): Promise<void>;
  drop(transfer: string): Promise<void>;
  dropJournal(transfer: string): Promise<void>;
}

interface Held {
  kept: KeptTransfer;
  journal: Uint8Array[];
  /** What a person chose, by entry; gone with the page. */
  files: readonly (File | null)[] | null;
  /** What is done to it in the database, one after the other. */
  work: Promise<void>;
}

export class Ledger {
  readonly #held = new Map<string, Held>();
  readonly #database: TransferDatabase | null;
  readonly #locks: TabLocks | null;

  private constructor(database: TransferDatabase | null, locks: TabLocks | null) {
    this.#database = database;
    this.#locks = locks;
  }

  /** Forgets with the page. */
  static inMemory(): Ledger {
    return new Ledger(null, null);
  }

  /** Reads what earlier pages left; what another tab works on is left to it. */
  static async open(database: TransferDatabase, locks: TabLocks): Promise<Ledger> {
    const ledger = new Ledger(database, locks);
    const stored = await database.all();
    const claims = await Promise.all(stored.map(({ kept }) => locks.claim(kept.id, CLAIM_MS)));
    // What the other tab wrote before it was closed is read only now.
    const all = claims.includes(true) ? await database.all() : [];
    for (const { kept, journal } of all) {
      const at = stored.findIndex((one) => one.kept.id === kept.id);
      if (claims[at] === true) ledger.#held.set(kept.id, { kept, journal, files: null, work: Promise.resolve() });
    }
    return ledger;
  }

  /** Whether it outlives the page. */
  get durable(): boolean {
    return this.#database !== null;
  }

  /** Newest first. */
  all(): KeptTransfer[] {
    return [...this.#held.values()].map(({ kept }) => kept).sort((one, other) => other.startedAtMs - one.startedAtMs);
  }

  get(transfer: string): KeptTransfer | null {
    return this.#held.get(transfer)?.kept ?? null;
  }

  /** Transfers that any tab works on. */
  async heldAnywhere(): Promise<ReadonlySet<string>> {
    return new Set([...this.#held.keys(), ...((await this.#locks?.held()) ?? [])]);
  }

  /** From here on the transfer is kept. `files`: what is sent, by entry. */
  begin(kept: KeptTransfer, files: readonly (File | null)[] | null): void {
    const work = this.#locks?.claim(kept.id, CLAIM_MS).then(() => undefined) ?? Promise.resolve();
    this.#held.set(kept.id, { kept, journal: [], files, work });
    void this.#do(kept.id, (database) => database.put(kept));
  }

  change(transfer: string, nowMs: number, change: Partial<Omit<KeptTransfer, 'id'>>): void {
    const held = this.#held.get(transfer);
    if (held === undefined) return;
    held.kept = { ...held.kept, ...change, updatedAtMs: nowMs };
    const { kept } = held;
    void this.#do(transfer, (database) => database.put(kept));
  }

  /** Adds to the journal of a transfer; nothing of one that is not kept. Never fails: what cannot be kept is forgotten. */
  async append(transfer: string, records: readonly JournalRecord[], durable: boolean): Promise<void> {
    const held = this.#held.get(transfer);
    if (held === undefined) return;
    const bytes = new Uint8Array(encodeRecords(records));
    held.journal.push(bytes);
    await this.#do(transfer, (database) => database.append(transfer, bytes, durable));
  }

  /** What its journal says; `null` when that is of no use. */
  journal(transfer: string): Kept | null {
    const held = this.#held.get(transfer);
    if (held === undefined || held.journal.length === 0) return null;
    try {
      return Kept.read(joined(held.journal));
    } catch {
      return null;
    }
  }

  files(transfer: string): readonly (File | null)[] | null {
    return this.#held.get(transfer)?.files ?? null;
  }

  setFiles(transfer: string, files: readonly (File | null)[]): void {
    const held = this.#held.get(transfer);
    if (held !== undefined) held.files = files;
  }

  /** Nothing of it moves any more; what was received stays until it is dropped. */
  end(transfer: string, nowMs: number, done: readonly Span[]): void {
    this.change(transfer, nowMs, { done, endedAtMs: nowMs, sources: [] });
  }

  /** The other side knows how it ended, or is not asked. */
  forgetJournal(transfer: string): void {
    const held = this.#held.get(transfer);
    if (held === undefined) return;
    held.journal = [];
    void this.#do(transfer, (database) => database.dropJournal(transfer));
  }

  /** Forgets it. Returns when it is gone from the database too. */
  async drop(transfer: string): Promise<void> {
    const done = this.#do(transfer, (database) => database.drop(transfer));
    this.#held.delete(transfer);
    await done;
    this.#locks?.release(transfer);
  }

  #do(transfer: string, step: (database: TransferDatabase) => Promise<void>): Promise<void> {
    const held = this.#held.get(transfer);
    const database = this.#database;
    if (held === undefined || database === null) return Promise.resolve();
    held.work = held.work
      .then(() => step(database))
      // Half a journal would vouch for what is not there: then better none.
      .catch(() => database.drop(transfer).catch(() => undefined));
    return held.work;
  }
}

/** When what is kept of it goes by itself. */
export function expiresAtMs({ updatedAtMs, endedAtMs, savedAtMs }: KeptTransfer): number {
  return savedAtMs === null ? (endedAtMs ?? updatedAtMs) + KEPT_MS : savedAtMs + SAVED_MS;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
