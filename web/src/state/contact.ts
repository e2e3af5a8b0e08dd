/** One device as this page knows it, from the first sight on, and how the list shows it. */
import type { Profile, Session } from '../core/pairing';
import type { ListedDevice } from '../core/protocol/generated/ListedDevice';
import type { Platform } from '../core/protocol/generated/Platform';
import type { Exchange } from '../core/session/exchange';
import type { MeetingFailure } from '../core/session/failure';
import { platformOf, type PeerId } from '../core/session/keeper';
import type { MeetingStep } from '../core/session/meeting';
import type { Peer } from '../core/session/peer';
import type { RequestError } from '../core/signaling/client';
import type { KnownDevice } from '../core/storage/known';
import type { DeviceView, MeetingView, PictureRow, RememberView, SendItem } from './model';

export interface Traffic {
  exchange: Exchange;
  owner: Contact;
}

export interface Contact {
  id: string;
  name: string;
  platform: Platform;
  source: DeviceView['source'];
  peer: Peer | null;
  /** What moves between the two; it outlives a session when the device is met anew. */
  traffic: Traffic | null;
  session: Session | null;
  /** Its id at the server, from the list or told by itself. */
  device: string | null;
  presence: DeviceView['presence'];
  meeting: MeetingView | null;
  awaySinceMs: number | null;
  /** What it told of others near. */
  nearby: readonly ListedDevice[];
  /** What waits for the meeting to end. */
  queue: (SendItem[] | string)[];
  /** Rang here: nobody on this side asked for it. */
  rang: boolean;
  route: DeviceView['route'];
  /** Its key, once it is known: from a session, or from memory. */
  key: PeerId | null;
  /** Whether the two people want the other device remembered, said in this session. */
  wantedHere: boolean;
  wantedThere: boolean;
  /** Its server served this page (HT-30). */
  servesPage: boolean;
  /** It gave up its place in the mailbox: when its link is lost, too, it is not there. */
  left: boolean;
}

/** What memory adds to a device of the list. */
export interface Memory {
  /** This page can keep secrets. */
  possible: boolean;
  device: KnownDevice | null;
  /** Another tab of this browser answers for the device. */
  elsewhere: boolean;
}

/** What is known of a device before it was met. */
export interface Stranger {
  id: string;
  name: string;
  platform: Platform;
  source: DeviceView['source'];
  device: string | null;
  rang: boolean;
}

export function newContact({ id, name, platform, source, device, rang }: Stranger): Contact {
  return {
    id,
    name,
    platform,
    source,
    device,
    rang,
    peer: null,
    traffic: null,
    session: null,
    presence: 'meeting',
    meeting: null,
    awaySinceMs: null,
    nearby: [],
    queue: [],
    route: null,
    key: null,
    wantedHere: false,
    wantedThere: false,
    servesPage: false,
    left: false,
  };
}

/** A device that is known and not here. Its key is its id, so that rows of an earlier visit find it. */
export function absentContact({ peer, name, platform }: { peer: PeerId; name: string; platform: Platform }): Contact {
  const stranger: Stranger = { id: peer, name, platform, source: 'remembered', device: null, rang: false };
  return { ...newContact(stranger), presence: 'offline', key: peer };
}

export function introduce(contact: Contact, { name, platform }: Profile): void {
  contact.name = name;
  contact.platform = platformOf(platform);
}

export function viewOf(contact: Contact, memory: Memory): DeviceView {
  const { id, name, platform, source, presence, session, meeting, awaySinceMs, queue, route } = contact;
  return {
    id,
    name,
    platform,
    source,
    presence,
    meeting,
    awaySinceMs,
    route,
    trust: session?.trust ?? null,
    queued: queue.length,
    remember: rememberView(contact, memory),
    policy: memory.device?.policy ?? null,
    lastSeenMs: memory.device?.lastSeenMs ?? null,
    inOtherTab: memory.device !== null && memory.elsewhere,
    servesPage: contact.servesPage,
  };
}

function rememberView({ session, wantedHere, wantedThere }: Contact, { possible, device }: Memory): RememberView {
  if (!possible) return 'not_here';
  if (device !== null) return 'yes';
  if (session === null || !canRemember(session)) return 'not_there';
  if (wantedHere) return 'wanted';
  return wantedThere ? 'asked' : 'no';
}

/** Whether the other device can keep secrets. */
export function canRemember({ peerProfile }: Session): boolean {
  return peerProfile.caps.includes('remember');
}

export function listedView({ device, name, platform, source }: ListedDevice): DeviceView {
  return {
    id: device,
    name,
    platform,
    source,
    presence: 'listed',
    trust: null,
    route: null,
    meeting: null,
    awaySinceMs: null,
    queued: 0,
    remember: 'not_there',
    policy: null,
    lastSeenMs: null,
    inOtherTab: false,
    servesPage: false,
  };
}

/** Remembered ones that are here first, then others that are here, the agent of this page, the rest, and who is not here. */
export function rank({ presence, source, remember }: DeviceView): number {
  switch (presence) {
    case 'connected':
      return remember === 'yes' ? 0 : 1;
    case 'meeting':
    case 'connecting':
    case 'away':
      return remember === 'yes' ? 0 : 2;
    case 'listed':
      return source === 'this_agent' ? 3 : 4;
    case 'gone':
      return 5;
    case 'offline':
      return 6;
  }
}

export function meetingView(step: MeetingStep): MeetingView {
  const row = (pictures: Extract<MeetingStep, { step: 'confirm' }>['row']): PictureRow =>
    pictures.map(({ emoji, name }) => ({ symbol: emoji, name }));
  switch (step.step) {
    case 'waiting':
      return { step: 'waiting', byUs: true };
    case 'pick_row':
      return { step: 'pick_row', rows: step.rows.map(row) };
    case 'confirm':
      return { step: 'confirm', row: row(step.row) };
    case 'waiting_for_person':
      return { step: 'waiting_for_person', row: step.row === null ? null : row(step.row) };
  }
}

/** What a person is told when the server did not do what was asked. */
export function requestFailure({ reason }: RequestError): MeetingFailure {
  switch (reason) {
    case 'no_such_nameplate':
      return 'code_unknown';
    case 'nameplate_used':
      return 'code_used';
    case 'nameplate_expired':
      return 'code_expired';
    case 'full':
    case 'rate_limited':
    case 'queue_full':
      return 'server_full';
    case 'offline':
    case 'no_answer':
      return 'no_answer';
    case 'no_such_device':
      return 'not_there';
    case 'malformed':
    case 'not_joined':
    case 'slot_gone':
      return 'protocol';
  }
}
