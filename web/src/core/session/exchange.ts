/** Transfers with one device, over as many links as it takes: what the engine of `core/transfer` is asked and tells. */
import type { CancelReason } from '../protocol/generated/CancelReason';
import type { DeclineReason } from '../protocol/generated/DeclineReason';
import type { FileFailure } from '../protocol/generated/FileFailure';
import type { ManifestEntry } from '../protocol/generated/ManifestEntry';
import type { PauseReason } from '../protocol/generated/PauseReason';
import type { Span } from '../protocol/generated/Span';
import type { Traffic } from './peer';

export type Party = 'us' | 'them';

/** One thing to send: a file with its path inside the batch, or an empty folder. */
export type OutgoingItem =
  | { kind: 'file'; path: string; file: File; handle?: FileSystemFileHandle }
  | { kind: 'folder'; path: string };

/** One entry of an offer, by its number there. The path is safe to write to and hostile to read. */
export interface OfferedEntry {
  kind: 'file' | 'folder';
  path: string;
  /** As it was offered, where that is another one. */
  offeredPath?: string;
  sizeBytes: number;
}

export interface ExchangeProgress {
  totalBytes: number;
  /** Verified and stored at the receiver. */
  verifiedBytes: number;
  /** Wanted entries, those that are whole at the receiver, and those that will not come. */
  entries: number;
  done: number;
  failed: number;
  /** 0 when nothing moves. */
  bytesPerSecond: number;
  secondsLeft: number | null;
}

export interface ExchangeEvents {
  onOffered(transfer: string, entries: readonly OfferedEntry[], totalBytes: number): void;
  onAccepted(transfer: string): void;
  onDeclined(transfer: string, reason: DeclineReason): void;
  onPaused(transfer: string, reason: PauseReason, by: Party): void;
  onUnpaused(transfer: string): void;
  /** Whole and under its final name at the receiver. */
  onFileDone(transfer: string, file: number): void;
  onFileFailed(transfer: string, file: number, reason: FileFailure): void;
  onFinished(transfer: string): void;
  onCancelled(transfer: string, reason: CancelReason, by: Party): void;
  onText(id: number, text: string): void;
  onTextDelivered(id: number): void;
  onSilent(): void;
  onHeard(): void;
  /** The link is heard, and hardly moves what is to be sent. */
  onSlow(): void;
  /** A rule of the protocol was broken; the session is over. */
  onViolation(by: Party): void;
}

/** The engine with its sources, its sink and its timers. */
export interface Exchange extends Traffic {
  /** The new transfer's id, or `null` when too many are unfinished or the batch cannot be offered. */
  offer(items: readonly OutgoingItem[]): string | null;
  /** Takes up what the ledger keeps of an earlier session. `false` when that is not enough. Best before a link is up. */
  carryOn(transfer: string): boolean;
  /** Which entries of an outgoing transfer the other side accepted; `null` before. */
  accepted(transfer: string): readonly Span[] | null;
  /** The text's id, or `null` when it cannot be sent. */
  sendText(text: string): number | null;
  accept(transfer: string): void;
  decline(transfer: string, reason: DeclineReason): void;
  cancel(transfer: string): void;
  /** Gives up one file; the others go on. */
  cancelFile(transfer: string, file: number): void;
  pause(transfer: string): void;
  resume(transfer: string): void;
  progress(transfer: string): ExchangeProgress | null;
}

export function manifestEntry(item: OutgoingItem): ManifestEntry {
  if (item.kind === 'folder') return { kind: 'folder', path: item.path };
  const entry: ManifestEntry = { kind: 'file', path: item.path, size_bytes: item.file.size };
  if (item.file.lastModified >= 0) entry.modified_ms = Math.floor(item.file.lastModified);
  return entry;
}
