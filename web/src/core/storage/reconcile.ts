/** Brings the ledger and the files that really lie there to agree, before anything of an earlier page is carried on. */
import { PIECE_BYTES } from '../protocol/frame';
import type { JournalRecord, Kept } from '../transfer/journal';
import { sizeOf } from '../transfer/manifest';
import { expiresAtMs, type Ledger } from './ledger';
import type { Sink } from './sink';

/** Removes what is too old or whose bytes are gone, and files that nobody knows. */
export async function reconcile(ledger: Ledger, sink: Sink, nowMs: number): Promise<void> {
  for (const kept of ledger.all()) {
    const usable = expiresAtMs(kept) > nowMs && (kept.direction === 'send' || (await isUsable(ledger, sink, kept.id)));
    if (usable) continue;
    await sink.remove(kept.id).catch(() => undefined);
    await ledger.drop(kept.id);
  }
  const known = await ledger.heldAnywhere();
  for (const transfer of await sink.transfers()) if (!known.has(transfer)) await sink.remove(transfer).catch(() => undefined);
}

async function isUsable(ledger: Ledger, sink: Sink, transfer: string): Promise<boolean> {
  const parts = await sink.parts(transfer);
  if (ledger.get(transfer)?.endedAtMs !== null) return parts.size > 0;
  const kept = ledger.journal(transfer);
  if (kept === null) return false;
  const lost: JournalRecord[] = [];
  for (const [file, { fate, pieces }] of kept.files) {
    const there = parts.get(file) ?? 0;
    // It was whole, and something else removed it: the device must send it again from the start.
    if (fate.kind !== 'failed' && fate.kind !== 'partial' && !(parts.has(file) || isFolder(kept, file))) return false;
    if (fate.kind !== 'partial') continue;
    for (const piece of pieces.keys()) if (endOf(kept, file, piece) > there) lost.push({ record: 'dropped', file, piece });
    // What was written and not noted is not trusted.
    await sink.truncate(transfer, file, committedBytes(kept, file, there));
  }
  if (lost.length > 0) await ledger.append(transfer, lost, true);
  return true;
}

function isFolder(kept: Kept, file: number): boolean {
  return kept.manifest.entries[file]?.kind === 'folder';
}

/** End of the last piece that the journal vouches for and that is there. */
function committedBytes(kept: Kept, file: number, there: number): number {
  const ends = [...(kept.files.get(file)?.pieces.keys() ?? [])].map((piece) => endOf(kept, file, piece));
  return ends.reduce((most, end) => (end <= there ? Math.max(most, end) : most), 0);
}

function endOf(kept: Kept, file: number, piece: number): number {
  const entry = kept.manifest.entries[file];
  const size = kept.files.get(file)?.restated?.sizeBytes ?? (entry === undefined ? 0 : sizeOf(entry));
  return Math.min((piece + 1) * PIECE_BYTES, size);
}
