import { locale, t, type MessageKey } from '../../i18n/messages.svelte';
import type { Notice } from '../../state/model';
import { isolated, visibleText } from '../format/visible_text';
import { formatBytes } from '../format/units';
import { failureSentence } from './device';
import { transferFailure } from './transfer';

const otherFile: Record<Extract<Notice, { kind: 'other_file' }>['why'], MessageKey> = {
  missing: 'notice.other_file.missing',
  size: 'notice.other_file.size',
  time: 'notice.other_file.time',
  content: 'notice.other_file.content',
};

/** What a notice says. */
export function noticeSentence(notice: Notice): string {
  switch (notice.kind) {
    case 'joiner_refused':
      return t('notice.joiner_refused');
    case 'device_connected':
      return t('notice.device_connected', { name: safe(notice.name) });
    case 'by_browser':
      return t('notice.by_browser', { title: safe(notice.title), n: notice.fileCount });
    case 'device_away':
      return t('notice.device_away', { name: safe(notice.name) });
    case 'text_received':
      return t('notice.text_received', { name: safe(notice.name) });
    case 'offer_declined':
      return t('notice.offer_declined', { name: safe(notice.name) });
    case 'transfer_done':
      return t(notice.direction === 'send' ? 'notice.sent' : 'notice.received', { title: safe(notice.title), n: notice.fileCount });
    case 'transfer_cancelled':
      return t(notice.by === 'us' ? 'notice.cancelled.us' : 'notice.cancelled.them', { title: safe(notice.title) });
    case 'transfer_failed':
      return t('notice.failed', { title: safe(notice.title), why: t(transferFailure[notice.failure]) });
    case 'meeting_failed':
      return notice.name === null
        ? t(failureSentence[notice.failure])
        : t('notice.meeting_failed', { name: safe(notice.name), why: t(failureSentence[notice.failure]) });
    case 'other_server':
      return t('notice.other_server', { host: safe(notice.host) });
    case 'other_file':
      return t(otherFile[notice.why], { title: safe(notice.title) });
    case 'text_too_long':
      return t('notice.text_too_long', { limit: formatBytes(notice.limitBytes, locale()) });
    case 'device_remembered':
      return t('notice.device_remembered', { name: safe(notice.name) });
    case 'code_burnt':
      return t('notice.code_burnt');
    case 'nothing_to_send':
      return t('notice.nothing_to_send');
    case 'busy':
      return t('notice.busy');
  }
}

/** How loud a notice is. */
export function noticeTone(notice: Notice): 'plain' | 'good' | 'warn' | 'bad' {
  switch (notice.kind) {
    case 'transfer_done':
    case 'device_remembered':
      return 'good';
    case 'device_away':
    case 'code_burnt':
    case 'joiner_refused':
      return 'warn';
    case 'transfer_failed':
    case 'meeting_failed':
    case 'other_server':
    case 'other_file':
    case 'text_too_long':
      return 'bad';
    case 'device_connected':
    case 'by_browser':
    case 'text_received':
    case 'offer_declined':
    case 'transfer_cancelled':
    case 'nothing_to_send':
    case 'busy':
      return 'plain';
  }
}

const TITLE_MAX = 60;

/** A long name would push the rest of the sentence away. */
function safe(text: string): string {
  const shown = visibleText(text);
  return isolated(shown.length > TITLE_MAX ? `${shown.slice(0, TITLE_MAX / 2)}…${shown.slice(-TITLE_MAX / 3)}` : shown);
}
