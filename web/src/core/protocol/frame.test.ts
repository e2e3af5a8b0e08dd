/** The same messages that `crates/protocol/tests/frame_vectors.rs` reads. */
import { describe, expect, test } from 'vitest';
import vectors from '../../../../crates/protocol/vectors/frame.json';
import { type Frame, type FrameBody, FrameError, decodeFrames, encodeFrame, frameBytes } from './frame';

interface Expected {
  kind: string;
  number: number;
  file: number;
  offset: number;
  hex?: string;
  version?: number;
  modified_ms?: number;
}

const bytesOf = (hex: string): Uint8Array => Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

function bodyOf({ kind, hex = '', version = 0, modified_ms = 0 }: Expected): FrameBody {
  switch (kind) {
    case 'chunk':
      return { kind, bytes: bytesOf(hex) };
    case 'piece_end':
      return { kind, hash: bytesOf(hex) };
    case 'file_end':
      return { kind, root: bytesOf(hex) };
    default:
      return { kind: 'restate', version, modifiedMs: modified_ms };
  }
}

describe('a message of the data channel', () => {
  test.each<{ name: string; hex: string; frames: Expected[] }>(vectors.valid)('is read and written: $name', ({ hex, frames }) => {
    const expected = frames.map((frame): Frame => ({ number: frame.number, file: frame.file, offset: frame.offset, body: bodyOf(frame) }));
    expect([...decodeFrames(bytesOf(hex))]).toEqual(expected);
    const written = new Uint8Array(expected.reduce((sum, { body }) => sum + frameBytes(body), 0));
    expected.reduce((at, frame) => encodeFrame(frame, written, at), 0);
    expect(written).toEqual(bytesOf(hex));
  });

  test.each(vectors.invalid)('is refused: $name', ({ hex }) => {
    expect(() => [...decodeFrames(bytesOf(hex))]).toThrow(FrameError);
  });
});
