import { locale, t } from '../../i18n/messages.svelte';
import type { DeviceView } from '../../state/model';
import { formatCountdown } from '../format/duration';
import { formatAgo } from '../format/moment';
import { sourceSentence } from '../words/device';
import { WAIT_SECONDS } from '../words/transfer';

/** One line under the name of a device that has no route to show yet, or none any more. */
export function presenceSentence(device: DeviceView, nowMs: number): string {
  switch (device.presence) {
    case 'listed':
      return t(sourceSentence[device.source], { host: location.host });
    case 'meeting':
      return meetingSentence(device);
    case 'connecting':
      return t('presence.connecting');
    case 'connected':
      return t('presence.connected');
    case 'away': {
      const left = device.awaySinceMs === null ? 0 : WAIT_SECONDS - (nowMs - device.awaySinceMs) / 1000;
      return left > 0 ? t('presence.away.waiting', { left: formatCountdown(left) }) : t('presence.away');
    }
    case 'gone':
      return t('presence.gone');
    case 'offline':
      return device.inOtherTab
        ? t('presence.other_tab')
        : t('presence.offline', { when: formatAgo(device.lastSeenMs ?? nowMs, nowMs, locale()) });
  }
}

function meetingSentence({ meeting }: DeviceView): string {
  switch (meeting?.step) {
    case 'pick_row':
    case 'confirm':
      return t('presence.comparing');
    case 'waiting_for_person':
      return t('presence.waiting_for_person');
    case 'waiting':
    case 'failed':
    case undefined:
      return t('presence.connecting');
  }
}
