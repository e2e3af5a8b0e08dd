/** Device ↔ device through the mailbox, after unsealing: the other device is not trusted to speak correctly. */
import { decodeBase64Url } from './base64url';
import { DecodeError, Fields, U16, U32, parseJson, textItem } from './decode';
import type { PeerMessage } from './generated/PeerMessage';
import type { Signal } from './generated/Signal';
import { BODY_BYTES, DOORS, DOOR_BYTES, NEARBY_DEVICES } from './limits';
import { decodeListedDevice } from './signaling';

/** Bytes of `/s/<token>/`. */
const LINK_BASE_BYTES = 26;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

export function encodePeerMessage(message: PeerMessage): Uint8Array {
  return encoder.encode(JSON.stringify(message));
}

/** Reads one unsealed message. Throws `DecodeError`. */
export function decodePeerMessage(bytes: Uint8Array): PeerMessage {
  const fields = new Fields(parseBytes(bytes));
  const type = fields.text('type', 32);
  switch (type) {
    case 'signal':
      return { type, attempt: fields.integer('attempt', U32), signal: decodeSignal(fields.object('signal')) };
    case 'reconnect':
      return {
        type,
        ...(isSet(fields, 'lane') && { lane: true }),
        ...(isSet(fields, 'slow') && { slow: true }),
        ...(isSet(fields, 'own_server') && { own_server: true }),
      };
    case 'bye':
      return { type };
    case 'here':
      return { type, device: fields.id('device') };
    case 'nearby':
      return { type, devices: fields.list('devices', NEARBY_DEVICES, decodeListedDevice) };
    case 'remember':
      return {
        type,
        wanted: fields.flag('wanted'),
        doors: fields.has('doors') ? fields.list('doors', DOORS, textItem(DOOR_BYTES)) : [],
      };
    case 'door':
      return fields.has('secure') ? { type, secure: securePage(fields.text('secure', DOOR_BYTES)) } : { type };
    case 'http_wanted':
      return { type, transfer: fields.id('transfer') };
    case 'http_links':
      return { type, transfer: fields.id('transfer'), base: linkBase(fields.text('base', LINK_BASE_BYTES)) };
    default:
      throw new DecodeError('type', 'not a message this version knows');
  }
}

/** `/s/<token>/`. */
function linkBase(text: string): string {
  const token = /^\/s\/([\w-]{22})\/$/.exec(text)?.[1];
  if (token === undefined || decodeBase64Url(token) === null) throw new DecodeError('base', 'not where a link begins');
  return text;
}

/** No user, query or fragment: what a person reads is where it leads. */
function securePage(text: string): string {
  if (!/^https:\/\/[\w.~:/[\]-]+\/$/.test(text)) throw new DecodeError('secure', 'not the address of a page over https');
  return text;
}

/** A flag that may be missing. */
function isSet(fields: Fields, name: string): boolean {
  return fields.has(name) && fields.flag(name);
}

function decodeSignal(fields: Fields): Signal {
  const kind = fields.text('kind', 32);
  switch (kind) {
    case 'offer':
    case 'answer':
      return { kind, sdp: fields.text('sdp', BODY_BYTES) };
    case 'candidate': {
      const signal: Signal = { kind, candidate: fields.text('candidate', BODY_BYTES) };
      if (fields.has('sdp_mid')) signal.sdp_mid = fields.text('sdp_mid', BODY_BYTES);
      if (fields.has('sdp_m_line_index')) signal.sdp_m_line_index = fields.integer('sdp_m_line_index', U16);
      return signal;
    }
    case 'end_of_candidates':
      return { kind };
    case 'lane':
      return { kind, ...(isSet(fields, 'own_server') && { own_server: true }) };
    default:
      throw new DecodeError('signal.kind', 'not a signal this version knows');
  }
}

function parseBytes(bytes: Uint8Array): unknown {
  if (bytes.length > BODY_BYTES) throw new DecodeError('', `longer than ${String(BODY_BYTES)} bytes`);
  try {
    return parseJson(utf8.decode(bytes), BODY_BYTES);
  } catch (error) {
    throw error instanceof DecodeError ? error : new DecodeError('', 'not UTF-8');
  }
}
