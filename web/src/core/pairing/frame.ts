// The form of a handshake message in a mailbox (PA-10).
//
//   offset  bytes  field
//   0       1      version, 0x01
//   1       1      method
//   2       1      step
//   3       ...    payload of that step
//
// At most 4096 bytes in all. Nothing here is trusted: version and method are also in the Noise prologue.

import { concat } from './bytes';
import { PairingError } from './pairing-error';

/** The longest handshake message in bytes, header included. */
export const MAX_MESSAGE_BYTES = 4096;

const VERSION = 1;
const HEADER_BYTES = 3;

/** `initiator` scans, types or taps and is second in the mailbox; `responder` shows or is asked, and makes the offer. */
export type Role = 'initiator' | 'responder';

/** How two devices meet. */
export type Method = 'link' | 'code' | 'nearby' | 'remembered' | 'resumed';

const METHOD_BYTE: Record<Method, number> = { link: 1, code: 2, nearby: 3, remembered: 4, resumed: 5 };

export type Step =
  | 'pake'
  | 'm1'
  | 'm2'
  | 'm3'
  | 'commit'
  | 'nonce'
  | 'reveal'
  | 'confirm_i'
  | 'confirm_r'
  | 'abort';

/** Byte and sender of each step; an abort comes from either side. */
const STEPS: Record<Step, { readonly byte: number; readonly sender?: Role }> = {
  pake: { byte: 0x01, sender: 'responder' },
  m1: { byte: 0x11, sender: 'initiator' },
  m2: { byte: 0x12, sender: 'responder' },
  m3: { byte: 0x13, sender: 'initiator' },
  commit: { byte: 0x21, sender: 'initiator' },
  nonce: { byte: 0x22, sender: 'responder' },
  reveal: { byte: 0x23, sender: 'initiator' },
  confirm_i: { byte: 0x24, sender: 'initiator' },
  confirm_r: { byte: 0x25, sender: 'responder' },
  abort: { byte: 0xff },
};

const STEP_NAMES: readonly Step[] = [
  'pake',
  'm1',
  'm2',
  'm3',
  'commit',
  'nonce',
  'reveal',
  'confirm_i',
  'confirm_r',
  'abort',
];

export function methodByte(method: Method): number {
  return METHOD_BYTE[method];
}

export function encodeFrame(method: Method, step: Step, payload: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(VERSION, METHOD_BYTE[method], STEPS[step].byte), payload);
}

/** Whether a body of the mailbox is one of the handshake; a sealed one begins with another byte. */
export function isHandshake(body: Uint8Array): boolean {
  return body[0] === VERSION;
}

/**
 * Splits a message for `receiver`, who meets by `method`.
 *
 * @throws {PairingError} when it is not for them.
 */
export function decodeFrame(
  message: Uint8Array,
  method: Method,
  receiver: Role,
): { step: Step; payload: Uint8Array } {
  if (message.length > MAX_MESSAGE_BYTES) throw new PairingError('too_long');
  const [version, byte, stepByte] = message;
  if (version === undefined || byte === undefined || stepByte === undefined) throw new PairingError('malformed');
  if (version > VERSION) throw new PairingError('newer_version');
  if (version < VERSION) throw new PairingError('older_version');
  if (byte !== METHOD_BYTE[method]) throw new PairingError('wrong_method');
  const step = STEP_NAMES.find((name) => STEPS[name].byte === stepByte);
  if (step === undefined) throw new PairingError('malformed');
  if (STEPS[step].sender === receiver) throw new PairingError('wrong_role');
  return { step, payload: message.subarray(HEADER_BYTES) };
}
