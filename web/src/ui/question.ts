import type { DeviceView, MeetingFailure, MeetingView, Model, OfferView } from '../state/model';
import { isAlarm } from './words/device';

/** Something that needs an answer before anything else. */
export type Question =
  | { kind: 'alarm'; device: DeviceView; failure: MeetingFailure }
  | { kind: 'meeting'; device: DeviceView; meeting: AskingMeeting }
  | { kind: 'offer'; offer: OfferView; waiting: number };

/** The steps of a meeting that need a person. */
export type AskingMeeting = Exclude<MeetingView, { step: 'failed' } | { step: 'waiting' }>;

/**
 * The one question on show: a stop page before everything, then whom to trust, then what to take.
 *
 * @param alarmsRead devices whose stop page was read
 */
export function nextQuestion({ devices, offers }: Model, alarmsRead: readonly string[]): Question | null {
  for (const device of devices) {
    const { meeting } = device;
    if (meeting?.step === 'failed' && isAlarm(meeting.failure) && !alarmsRead.includes(device.id)) {
      return { kind: 'alarm', device, failure: meeting.failure };
    }
  }
  for (const device of devices) {
    const { meeting } = device;
    if (meeting !== null && meeting.step !== 'failed' && meeting.step !== 'waiting') return { kind: 'meeting', device, meeting };
  }
  const [offer, ...rest] = offers.filter(({ byPolicy }) => !byPolicy);
  return offer === undefined ? null : { kind: 'offer', offer, waiting: rest.length };
}
