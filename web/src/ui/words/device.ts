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
};

/** What happened and what to do next. */
export const failureSentence: Record<MeetingFailure, MessageKey> = {
  wrong_code: 'failure.wrong_code',
  code_gone: 'failure.code_gone',
  crowded: 'failure.crowded',
  wrong_key: 'failure.wrong_key',
  pictures_differ: 'failure.pictures_differ',
  declined: 'failure.declined',
  no_answer: 'failure.no_answer',
  not_there: 'failure.not_there',
  not_a_link: 'failure.not_a_link',
  other_server: 'failure.other_server',
  version: 'failure.version',
  server_full: 'failure.server_full',
  bind_failed: 'failure.bind_failed',
  protocol: 'failure.protocol',
};

/** Somebody may be in between: these get a page to stop at. */
export function isAlarm(failure: MeetingFailure): boolean {
  return failure === 'wrong_key' || failure === 'pictures_differ' || failure === 'crowded' || failure === 'bind_failed';
}
