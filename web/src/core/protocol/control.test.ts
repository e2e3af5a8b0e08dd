/** The same messages that `crates/protocol/tests/control_vectors.rs` reads. */
import { describe, expect, test } from 'vitest';
import vectors from '../../../../crates/protocol/vectors/control.json';
import { decodeControlMessage, encodeControlMessage } from './control';
import { DecodeError } from './decode';

interface Invalid {
  name: string;
  text: string;
  pad_to_bytes?: number;
}

describe('a message of the control channel', () => {
  test.each(vectors.valid)('is read: $name', ({ text, value }) => {
    const message = decodeControlMessage(text);
    expect(message).toEqual(value);
    expect(decodeControlMessage(encodeControlMessage(message))).toEqual(value);
  });

  test.each<Invalid>(vectors.invalid)('is refused: $name', ({ text, pad_to_bytes = 0 }) => {
    expect(() => decodeControlMessage(text.padEnd(pad_to_bytes))).toThrow(DecodeError);
  });
});
