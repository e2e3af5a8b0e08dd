import type { MessageKey } from '../../i18n/messages.svelte';
import type { DeviceView, MeetingFailure, Trust } from '../../state/model';

/** One word for how a device was proven. */
export const trustWord: Record<Trust, MessageKey> = {
  scanned: 'trust.scanned',
  code: 'trust.code',
  compared: 'trust.compared',
  remembered: 'trust.remembered',
};

/** The same, as a sentence. */
export const trustMeaning: Record<Trust, MessageKey> = {
  scanned: 'trust.scanned.meaning',
  code: 'trust.code.meaning',
  compared: 'trust.compared.meaning',
  remembered: 'trust.remembered.meaning',
};

/** Where an entry of the list comes from; takes `{host}`. */
export const sourceSentence: Record<DeviceView['source'], MessageKey> = {
  this_agent: 'source.this_agent',
  mdns: 'source.mdns',
  visible: 'source.visible',
  linked: 'source.linked',
  link: 'source.link',
  code: 'source.code',
  remembered: 'source.remembered',
};

/** What happened and what to do next. */
export const failureSentence: Record<MeetingFailure, MessageKey> = {
  wrong_code: 'failure.wrong_code',
  code_gone: 'failure.code_gone',
  code_used: 'failure.code_used',
  code_expired: 'failure.code_expired',
  code_unknown: 'failure.code_unknown',
  crowded: 'failure.crowded',
  wrong_key: 'failure.wrong_key',
  key_changed: 'failure.key_changed',
  same_device: 'failure.same_device',
  pictures_differ: 'failure.pictures_differ',
  declined: 'failure.declined',
  ended_there: 'failure.ended_there',
  no_answer: 'failure.no_answer',
  not_there: 'failure.not_there',
  not_a_link: 'failure.not_a_link',
  version: 'failure.version',
  server_full: 'failure.server_full',
  bind_failed: 'failure.bind_failed',
  protocol: 'failure.protocol',
};

/** Somebody may be in between: these get a page to stop at. */
export function isAlarm(failure: MeetingFailure): boolean {
  switch (failure) {
    case 'wrong_key':
    case 'key_changed':
    case 'pictures_differ':
    case 'crowded':
    case 'bind_failed':
      return true;
    case 'wrong_code':
    case 'code_gone':
    case 'code_used':
    case 'code_expired':
    case 'code_unknown':
    case 'same_device':
    case 'declined':
    case 'ended_there':
    case 'no_answer':
    case 'not_there':
    case 'not_a_link':
    case 'version':
    case 'server_full':
    case 'protocol':
      return false;
  }
}
