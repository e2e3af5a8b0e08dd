/** Device ↔ device on the data channel: bytes of files in binary frames. The layout is drawn in `crates/protocol/src/frame.rs`. */

/** Bytes of a file that are hashed and verified together; the last piece of a file may be shorter. */
export const PIECE_BYTES = 1024 * 1024;

/** Bytes before the body. */
export const HEADER_BYTES = 20;

const CHUNK = 1;
const PIECE_END = 2;
const FILE_END = 3;
const RESTATE = 4;

/** What a frame carries; meaning of `offset` by kind. */
export type FrameBody =
  | { kind: 'chunk'; bytes: Uint8Array }
  | { kind: 'piece_end'; hash: Uint8Array }
  | { kind: 'file_end'; root: Uint8Array }
  | { kind: 'restate'; version: number; modifiedMs: number };

export interface Frame {
  /** The transfer, as this link's `offer` or `resume` numbered it. */
  number: number;
  /** Which entry of its manifest. */
  file: number;
  /** At most 2⁵³ − 1. */
  offset: number;
  body: FrameBody;
}

/** The bytes are not a frame. */
export class FrameError extends Error {
  constructor(problem: string) {
    super(problem);
    this.name = 'FrameError';
  }
}

/** Bytes that `encodeFrame` takes. */
export function frameBytes(body: FrameBody): number {
  return HEADER_BYTES + bodyBytes(body);
}

/** Writes the frame at `at` and says where it ends. */
export function encodeFrame(frame: Frame, message: Uint8Array, at: number): number {
  const { body } = frame;
  const view = new DataView(message.buffer, message.byteOffset + at);
  const length = bodyBytes(body);
  view.setUint32(0, length);
  view.setUint8(0, kindOf(body));
  view.setUint32(4, frame.number);
  view.setUint32(8, frame.file);
  view.setBigUint64(12, BigInt(frame.offset));
  switch (body.kind) {
    case 'chunk':
      message.set(body.bytes, at + HEADER_BYTES);
      break;
    case 'piece_end':
      message.set(body.hash, at + HEADER_BYTES);
      break;
    case 'file_end':
      message.set(body.root, at + HEADER_BYTES);
      break;
    case 'restate':
      view.setUint32(HEADER_BYTES, body.version);
      view.setBigUint64(HEADER_BYTES + 4, BigInt(body.modifiedMs));
      break;
  }
  return at + HEADER_BYTES + length;
}

/** The frames of one message, in order; bodies are views of it. Throws `FrameError`, and nothing after a bad frame can be read. */
export function* decodeFrames(message: Uint8Array): Generator<Frame, void, undefined> {
  let at = 0;
  while (at < message.length) {
    const frame = decodeFrame(message, at);
    yield frame;
    at += frameBytes(frame.body);
  }
}

function decodeFrame(message: Uint8Array, at: number): Frame {
  if (message.length - at < HEADER_BYTES) throw new FrameError('shorter than its header');
  const view = new DataView(message.buffer, message.byteOffset + at, message.length - at);
  const kind = view.getUint8(0);
  const length = view.getUint32(0) & 0xff_ffff;
  if (message.length - at < HEADER_BYTES + length) throw new FrameError('shorter than its body');
  const offset = integer(view, 12);
  const bytes = message.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length);
  return { number: view.getUint32(4), file: view.getUint32(8), offset, body: decodeBody(kind, offset, bytes) };
}

function decodeBody(kind: number, offset: number, bytes: Uint8Array): FrameBody {
  switch (kind) {
    case CHUNK:
      if (bytes.length === 0 || bytes.length > PIECE_BYTES) throw new FrameError('length does not fit the kind');
      if ((offset % PIECE_BYTES) + bytes.length > PIECE_BYTES) throw new FrameError('chunk crosses the end of its piece');
      return { kind: 'chunk', bytes };
    case PIECE_END:
      return { kind: 'piece_end', hash: exactly(bytes, 32) };
    case FILE_END:
      return { kind: 'file_end', root: exactly(bytes, 32) };
    case RESTATE: {
      const { buffer, byteOffset } = exactly(bytes, 12);
      const view = new DataView(buffer, byteOffset, 12);
      return { kind: 'restate', version: view.getUint32(0), modifiedMs: integer(view, 4) };
    }
    default:
      throw new FrameError('unknown kind');
  }
}

function kindOf(body: FrameBody): number {
  switch (body.kind) {
    case 'chunk':
      return CHUNK;
    case 'piece_end':
      return PIECE_END;
    case 'file_end':
      return FILE_END;
    case 'restate':
      return RESTATE;
  }
}

function bodyBytes(body: FrameBody): number {
  switch (body.kind) {
    case 'chunk':
      return body.bytes.length;
    case 'piece_end':
    case 'file_end':
      return 32;
    case 'restate':
      return 12;
  }
}

function exactly(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length !== length) throw new FrameError('length does not fit the kind');
  return bytes;
}

function integer(view: DataView, at: number): number {
  const value = Number(view.getBigUint64(at));
  if (!Number.isSafeInteger(value)) throw new FrameError('number is beyond 2^53 - 1');
  return value;
}
