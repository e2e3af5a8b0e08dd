/** What the engine and the wire say of a transfer, in the terms of the rows. */
import type { DeclineReason } from '../core/protocol/generated/DeclineReason';
import type { FileFailure } from '../core/protocol/generated/FileFailure';
import type { OfferedEntry } from '../core/session/exchange';
import type { TransferFailure, TransferState } from './model';

export function declined(reason: DeclineReason): Extract<TransferState, { kind: 'declined' }>['reason'] {
  switch (reason) {
    case 'no_answer':
      return 'no_answer';
    case 'no_space':
      return 'space';
    case 'bad_manifest':
      return 'unsupported';
    case 'declined':
    case 'busy':
    case 'other':
      return 'person';
  }
}

export function fileFailure(reason: FileFailure, direction: 'send' | 'receive'): TransferFailure {
  switch (reason) {
    case 'changed':
    case 'unreadable':
      return reason;
    case 'cannot_write':
      return 'not_written';
    case 'damaged':
      return 'hash_mismatch';
    case 'cancelled':
    case 'other':
      return direction === 'send' ? 'not_written' : 'unreadable';
  }
}

/** The first name of the batch; of a folder, the folder's. */
export function titleOf(entries: readonly OfferedEntry[]): string {
  return entries[0]?.path.split('/')[0] ?? '';
}

/** Where a browser downloads a file of a link (HT-30). */
export function hrefOf(base: string, path: string): string {
  return base + path.split('/').map(encodeURIComponent).join('/');
}

export function baseName(path: string): string {
  return path.split('/').at(-1) ?? path;
}

/** After the folder that everything is in, if there is one. */
export function zipName(entries: readonly OfferedEntry[]): string {
  const [first, ...others] = new Set(entries.map(({ path }) => path.split('/')[0] ?? ''));
  return others.length === 0 && first !== undefined && first !== '' ? `${first}.zip` : 'Lanyard.zip';
}
