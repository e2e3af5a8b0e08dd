/** What is on its way onto the data channel: the piece being cut into chunks, and the short frames around it. */
import { HEADER_BYTES, PIECE_BYTES, type Frame, type FrameBody, encodeFrame, frameBytes } from '../protocol/frame';
import type { Dispatch } from './outgoing';

/** A chunk is not made smaller than this only to fill a message. */
const LEAST_CHUNK_BYTES = 4096;

/** One message of the data channel in the making. */
export class MessageBuilder {
  readonly #frames: Frame[] = [];
  #bytes = 0;

  constructor(private readonly limit: number) {}

  get room(): number {
    return this.limit - this.#bytes;
  }

  /** Whether it fitted. */
  add(frame: Frame): boolean {
    const bytes = frameBytes(frame.body);
    if (bytes > this.room) return false;
    this.#frames.push(frame);
    this.#bytes += bytes;
    return true;
  }

  /** `null` when there is no frame. */
  build(): Uint8Array<ArrayBuffer> | null {
    if (this.#frames.length === 0) return null;
    const message = new Uint8Array(this.#bytes);
    this.#frames.reduce((at, frame) => encodeFrame(frame, message, at), 0);
    return message;
  }
}

/**
 * One dispatch of one transfer, and how much of it was sent. It is always sent to its end, whatever becomes of the transfer
 * meanwhile, so that the receiver never has to guess where a piece breaks off (TR-24).
 */
export class Lane {
  #sent = 0;

  constructor(
    readonly transfer: string,
    private readonly number: number,
    private readonly dispatch: Dispatch,
  ) {}

  /** Adds what fits; says whether all of it is sent now. */
  fill(message: MessageBuilder): boolean {
    const { dispatch } = this;
    const { file } = dispatch;
    switch (dispatch.kind) {
      case 'restate': {
        const body: FrameBody = { kind: 'restate', version: dispatch.version, modifiedMs: dispatch.modifiedMs };
        return this.#addShort(message, { number: this.number, file, offset: dispatch.sizeBytes, body });
      }
      case 'file_end': {
        const body: FrameBody = { kind: 'file_end', root: dispatch.root };
        return this.#addShort(message, { number: this.number, file, offset: dispatch.sizeBytes, body });
      }
      case 'piece': {
        const start = dispatch.piece * PIECE_BYTES;
        while (this.#sent < dispatch.bytes.length) {
          const left = dispatch.bytes.length - this.#sent;
          const space = message.room - HEADER_BYTES;
          if (space < Math.min(left, LEAST_CHUNK_BYTES)) return false;
          const bytes = dispatch.bytes.subarray(this.#sent, this.#sent + Math.min(left, space));
          message.add({ number: this.number, file, offset: start + this.#sent, body: { kind: 'chunk', bytes } });
          this.#sent += bytes.length;
        }
        return this.#addShort(message, { number: this.number, file, offset: start, body: { kind: 'piece_end', hash: dispatch.hash } });
      }
    }
  }

  /** Bytes of the piece, when it is one. */
  get pieceBytes(): number | null {
    return this.dispatch.kind === 'piece' ? this.dispatch.bytes.length : null;
  }

  /** Short frames all ask for the room of the longest, as in Rust, so that both fill messages alike. */
  #addShort(message: MessageBuilder, frame: Frame): boolean {
    return message.room >= HEADER_BYTES + 32 && message.add(frame);
  }
}
