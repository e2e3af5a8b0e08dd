/** What lives as long as one link. */
import { HEADER_BYTES, PIECE_BYTES } from '../protocol/frame';
import type { Config } from './config';
import { Allowance, type Grant } from './credit';
import type { Lane } from './lane';
import { Liveness } from './liveness';
import { type Outbox, Violation } from './output';
import { Meter } from './progress';
import type { Receiving } from './receiving';

/** Messages of the data channel until the other side's speed is known, and bounds after. */
const FIRST_MESSAGE_BYTES = 64 * 1024;
const LEAST_MESSAGE_BYTES = 4 * 1024;
/** One message is to take no longer than this on its way, so that a slow link is not taken for a dead one. */
const MESSAGE_TIME_MS = 250;
/** Offers of the other side on one link. */
const OFFERS_ON_LINK = 65_536;

/** The piece that is being collected. */
interface OpenPiece {
  transfer: string;
  file: number;
  piece: number;
  bytes: Uint8Array;
  filled: number;
}

export class Link {
  readonly liveness: Liveness;
  readonly allowance = new Allowance();
  readonly speed = new Meter();
  lane: Lane | null = null;
  openPiece: OpenPiece | null = null;
  /** Transfers that the other side numbered. */
  readonly numbers = new Map<number, string>();
  readonly #offered = new Set<string>();
  #highestNumber = -1;
  #nextNumber = 1;
  readonly #maxMessageBytes: number;

  constructor(now: number, maxMessageBytes: number, config: Config) {
    this.#maxMessageBytes = Math.min(Math.max(maxMessageBytes, LEAST_MESSAGE_BYTES + 2 * HEADER_BYTES), PIECE_BYTES);
    this.liveness = new Liveness(now, config);
  }

  /** A number for a transfer of ours. */
  takeNumber(): number {
    this.#nextNumber += 1;
    return this.#nextNumber - 1;
  }

  /** Notes what the other side calls a transfer on this link. Numbers rise, and a transfer has one on each link. */
  noteNumber(transfer: string, number: number): void {
    if (this.#offered.size >= OFFERS_ON_LINK) throw new Violation('too_many');
    if (number <= this.#highestNumber || this.#offered.has(transfer)) throw new Violation('duplicate_offer');
    this.#highestNumber = number;
    this.#offered.add(transfer);
    this.numbers.set(number, transfer);
  }

  /** How long the next message of the data channel may be. */
  messageBytes(now: number): number {
    const speed = this.speed.bytesPerSecond(now);
    const perMessage = speed === 0 ? FIRST_MESSAGE_BYTES : Math.floor(speed / 1000) * MESSAGE_TIME_MS;
    return Math.min(Math.max(perMessage, LEAST_MESSAGE_BYTES + HEADER_BYTES), this.#maxMessageBytes);
  }

  /** Adds a chunk to the piece it belongs to. */
  collect(receiving: Receiving, file: number, offset: number, bytes: Uint8Array, grant: Grant, out: Outbox): void {
    if (!receiving.handleChunk(file, offset, offset + bytes.length, out)) return;
    const transfer = receiving.id;
    const piece = Math.floor(offset / PIECE_BYTES);
    const within = offset % PIECE_BYTES;
    if (this.openPiece === null && within === 0) {
      this.openPiece = { transfer, file, piece, bytes: new Uint8Array(receiving.pieceLength(file, piece)), filled: 0 };
    }
    const open = this.openPiece;
    if (open === null || !this.isOpen(transfer, file, piece) || within > open.filled) throw new Violation('gap');
    const known = Math.min(bytes.length, open.filled - within);
    for (let at = 0; at < known; at += 1) if (open.bytes[within + at] !== bytes[at]) throw new Violation('overlap');
    // A file that was restated while its piece was open may have become longer or shorter.
    if (within + bytes.length > open.bytes.length) throw new Violation('gap');
    open.bytes.set(bytes.subarray(known), within + known);
    open.filled += bytes.length - known;
    grant.hold(bytes.length - known);
  }

  isOpen(transfer: string, file: number, piece: number): boolean {
    const open = this.openPiece;
    return open !== null && open.transfer === transfer && open.file === file && open.piece === piece;
  }
}
