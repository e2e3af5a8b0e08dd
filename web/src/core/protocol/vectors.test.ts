/** The same messages that `crates/protocol/tests/*_vectors.rs` reads. */
import { describe, expect, test } from 'vitest';
import peer from '../../../../crates/protocol/vectors/peer.json';
import signaling from '../../../../crates/protocol/vectors/signaling.json';
import { DecodeError } from './decode';
import * as limits from './limits';
import { decodePeerMessage, encodePeerMessage } from './peer';
import { decodeServerMessage } from './signaling';
import { PROTOCOL_VERSION, tooOld } from './version';

interface Invalid {
  name: string;
  text: string;
  pad_to_bytes?: number;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const padded = (vector: Invalid): string =>
  vector.text + ' '.repeat((vector.pad_to_bytes ?? 0) - (vector.pad_to_bytes === undefined ? 0 : bytes(vector.text).length));

describe('a message of the server', () => {
  test.each(signaling.server.valid)('is read: $name', ({ text, value }) => {
    expect(decodeServerMessage(text)).toEqual(value);
  });

  test.each<Invalid>(signaling.server.invalid)('is refused: $name', (vector) => {
    expect(() => decodeServerMessage(padded(vector))).toThrow(DecodeError);
  });
});

describe('a message of another device', () => {
  test.each(peer.valid)('is read: $name', ({ text, value }) => {
    const message = decodePeerMessage(bytes(text));
    expect(message).toEqual(value);
    expect(decodePeerMessage(encodePeerMessage(message))).toEqual(value);
  });

  test.each<Invalid>(peer.invalid)('is refused: $name', (vector) => {
    expect(() => decodePeerMessage(bytes(padded(vector)))).toThrow(DecodeError);
  });

  test('is refused when it is not UTF-8', () => {
    expect(() => decodePeerMessage(new Uint8Array([0x22, 0xff, 0x22]))).toThrow('not UTF-8');
  });
});

test('limits are those of the vectors', () => {
  expect({
    signaling_message_bytes: limits.SIGNALING_MESSAGE_BYTES,
    body_bytes: limits.BODY_BYTES,
    device_name_bytes: limits.DEVICE_NAME_BYTES,
    nearby_devices: limits.NEARBY_DEVICES,
    control_message_bytes: limits.CONTROL_MESSAGE_BYTES,
    text_bytes: limits.TEXT_BYTES,
    lane_payload_bytes: limits.LANE_PAYLOAD_BYTES,
    lane_message_bytes: limits.LANE_MESSAGE_BYTES,
  }).toEqual(signaling.limits);
});

test('versions are compared as the vectors say', () => {
  expect(PROTOCOL_VERSION).toBe(signaling.protocol_version);
  for (const { theirs, too_old } of signaling.versions) {
    expect(tooOld(theirs)).toBe(too_old);
  }
});
