/** Client ↔ signaling server: what comes in is proven here before anything else sees it. */
import { DecodeError, Fields, U32, U8, integerItem, parseJson, textItem } from './decode';
import type { ClientMessage } from './generated/ClientMessage';
import type { ErrorCode } from './generated/ErrorCode';
import type { IceServer } from './generated/IceServer';
import type { ListedDevice } from './generated/ListedDevice';
import type { ListingSource } from './generated/ListingSource';
import type { Platform } from './generated/Platform';
import type { PresenceState } from './generated/PresenceState';
import type { ServerMessage } from './generated/ServerMessage';
import type { Side } from './generated/Side';
import { BODY_BYTES, DEVICE_NAME_BYTES, NEARBY_DEVICES, SIGNALING_MESSAGE_BYTES } from './limits';

const ICE_SERVERS = 32;
const ICE_TEXT_BYTES = 1024;

const SIDES: Record<Side, Side> = { client: 'client', server: 'server' };
const PRESENCE: Record<PresenceState, PresenceState> = { joined: 'joined', away: 'away', back: 'back', left: 'left' };
const SOURCES: Record<ListingSource, ListingSource> = {
  this_agent: 'this_agent',
  mdns: 'mdns',
  visible: 'visible',
  linked: 'linked',
};
const ERROR_CODES: Record<ErrorCode, ErrorCode> = {
  malformed: 'malformed',
  rate_limited: 'rate_limited',
  full: 'full',
  not_joined: 'not_joined',
  queue_full: 'queue_full',
  no_such_nameplate: 'no_such_nameplate',
  nameplate_used: 'nameplate_used',
  nameplate_expired: 'nameplate_expired',
  slot_gone: 'slot_gone',
  no_such_device: 'no_such_device',
};

export const PLATFORMS: Record<Platform, Platform> = {
  computer: 'computer',
  phone: 'phone',
  tablet: 'tablet',
  server: 'server',
  other: 'other',
};

export function encodeClientMessage(message: ClientMessage): string {
  return JSON.stringify(message);
}

/** Reads one text message of the server. Throws `DecodeError`. */
export function decodeServerMessage(text: string): ServerMessage {
  const fields = new Fields(parseJson(text, SIGNALING_MESSAGE_BYTES));
  const type = fields.text('type', 32);
  switch (type) {
    case 'welcome': {
      const limits = fields.object('limits');
      return {
        type,
        protocol_version: fields.integer('protocol_version', U32),
        device: fields.id('device'),
        time_ms: fields.integer('time_ms', Number.MAX_SAFE_INTEGER),
        limits: {
          body_bytes: limits.integer('body_bytes', U32),
          messages_per_second: limits.integer('messages_per_second', U32),
          mailboxes: limits.integer('mailboxes', U32),
          slot_kept_seconds: limits.integer('slot_kept_seconds', U32),
        },
      };
    }
    case 'refused':
      return {
        type,
        protocol_version: fields.integer('protocol_version', U32),
        too_old: fields.word('too_old', SIDES),
      };
    case 'joined': {
      const joined = {
        type,
        mailbox: fields.id('mailbox'),
        member: fields.integer('member', U8),
        others: fields.list('others', 256, integerItem(U8)),
        slot: fields.id('slot'),
        ice_servers: fields.list('ice_servers', ICE_SERVERS, decodeIceServer),
      } as const;
      return fields.has('lane') ? { ...joined, lane: fields.id('lane') } : joined;
    }
    case 'presence':
      return {
        type,
        mailbox: fields.id('mailbox'),
        member: fields.integer('member', U8),
        state: fields.word('state', PRESENCE),
      };
    case 'crowded':
    case 'ring':
      return { type, mailbox: fields.id('mailbox') };
    case 'message':
      return {
        type,
        mailbox: fields.id('mailbox'),
        from: fields.integer('from', U8),
        body: fields.bytes('body', BODY_BYTES),
      };
    case 'ice_servers':
      return {
        type,
        mailbox: fields.id('mailbox'),
        ice_servers: fields.list('ice_servers', ICE_SERVERS, decodeIceServer),
      };
    case 'allocated':
    case 'claimed':
      return { type, nameplate: fields.nameplate('nameplate'), mailbox: fields.id('mailbox') };
    case 'stamp_wanted':
      return { type, nameplate: fields.nameplate('nameplate'), bits: fields.integer('bits', U8) };
    case 'nearby':
      return { type, devices: fields.list('devices', NEARBY_DEVICES, decodeListedDevice) };
    case 'dialed':
      return { type, device: fields.id('device'), mailbox: fields.id('mailbox') };
    case 'error': {
      const error = {
        type,
        code: fields.word('code', ERROR_CODES),
        message: fields.text('message', SIGNALING_MESSAGE_BYTES),
      } as const;
      return fields.has('mailbox') ? { ...error, mailbox: fields.id('mailbox') } : error;
    }
    default:
      throw new DecodeError('type', 'not a message this version knows');
  }
}

export function decodeListedDevice(input: unknown, path: string): ListedDevice {
  const fields = new Fields(input, path);
  return {
    device: fields.id('device'),
    name: fields.name('name', DEVICE_NAME_BYTES),
    platform: fields.word('platform', PLATFORMS),
    source: fields.word('source', SOURCES),
  };
}

function decodeIceServer(input: unknown, path: string): IceServer {
  const fields = new Fields(input, path);
  const server: IceServer = { urls: fields.list('urls', ICE_SERVERS, textItem(ICE_TEXT_BYTES)) };
  if (fields.has('username')) server.username = fields.text('username', ICE_TEXT_BYTES);
  if (fields.has('credential')) server.credential = fields.text('credential', ICE_TEXT_BYTES);
  return server;
}
