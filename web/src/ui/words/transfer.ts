import { locale, t, type MessageKey } from '../../i18n/messages.svelte';
import type { TransferFailure, TransferState, TransferView } from '../../state/model';
import { formatCountdown } from '../format/duration';
import { formatBytes } from '../format/units';
import { isolated, visibleText } from '../format/visible_text';

/** Groups of the screen, in their order. */
export type TransferGroup = 'active' | 'waiting' | 'ended';

/** For this long a lost device is waited for with a countdown: 30 s from its last sign of life, of which 2 are over by then (LK-45). */
export const WAIT_SECONDS = 28;

/** What happened and what to do next. */
export const transferFailure: Record<TransferFailure, MessageKey> = {
  no_space: 'transfer.failure.no_space',
  hash_mismatch: 'transfer.failure.hash_mismatch',
  changed: 'transfer.failure.changed',
  unreadable: 'transfer.failure.unreadable',
  not_written: 'transfer.failure.not_written',
  device_gone: 'transfer.failure.device_gone',
  protocol: 'transfer.failure.protocol',
};

/** In which group a transfer is listed. */
export function groupOf({ state }: TransferView): TransferGroup {
  switch (state.kind) {
    case 'moving':
    case 'paused':
    case 'interrupted':
      return 'active';
    case 'waiting':
    case 'kept':
      return 'waiting';
    case 'by_browser':
    case 'done':
    case 'partly_done':
    case 'declined':
    case 'cancelled':
    case 'failed':
      return 'ended';
  }
}

/** The sentence under the bar for everything but plain movement; `null` while it moves. */
export function stateSentence(transfer: TransferView, nowMs: number): string | null {
  const { state } = transfer;
  const name = isolated(visibleText(transfer.deviceName));
  const kept = formatBytes(transfer.doneBytes, locale());
  switch (state.kind) {
    case 'moving':
      return null;
    case 'waiting':
      return t(transfer.direction === 'send' ? 'transfer.waiting.send' : 'transfer.waiting.receive', { name });
    case 'paused':
      if (state.reason === 'space') return t(state.by === 'us' ? 'transfer.paused.space_here' : 'transfer.paused.space_there', { name });
      return state.by === 'us' ? t('transfer.paused', { kept }) : t('transfer.paused.them', { name, kept });
    case 'interrupted': {
      const left = WAIT_SECONDS - (nowMs - state.sinceMs) / 1000;
      return left > 0
        ? t('transfer.interrupted.waiting', { kept, left: formatCountdown(left) })
        : t('transfer.interrupted', { kept, name });
    }
    case 'kept':
      if (state.needs === 'permission') return t('transfer.kept.permission');
      if (state.needs === 'files') return t('transfer.kept.files');
      return transfer.direction === 'send' ? t('transfer.kept.send', { name }) : t('transfer.kept.receive', { kept, name });
    case 'by_browser':
      return t('transfer.by_browser');
    case 'done':
      return t(transfer.direction === 'send' ? 'transfer.done.send' : 'transfer.done.receive');
    case 'partly_done':
      return t('transfer.partly_done', { n: state.failedFiles, done: transfer.doneFiles });
    case 'declined':
      return declinedSentence(transfer.direction, state.reason, name);
    case 'cancelled':
      return state.by === 'us' ? t('transfer.cancelled.us') : t('transfer.cancelled.them', { name });
    case 'failed':
      return t(transferFailure[state.failure]);
  }
}

function declinedSentence(
  direction: TransferView['direction'],
  reason: Extract<TransferState, { kind: 'declined' }>['reason'],
  name: string,
): string {
  switch (reason) {
    case 'person':
      return t(direction === 'send' ? 'transfer.declined' : 'transfer.declined.us', { name });
    case 'no_answer':
      return t(direction === 'send' ? 'transfer.no_answer' : 'transfer.no_answer.us', { name });
    case 'space':
      return t('transfer.declined.space', { name });
    case 'unsupported':
      return t('transfer.declined.unsupported', { name });
  }
}
