/** Everything that two devices move between them, over whatever link there is; the twin of `crates/transfer`. */
import { assertNever } from '../assert';
import { decodeControlMessage, encodeControlMessage } from '../protocol/control';
import { DecodeError } from '../protocol/decode';
import { type Frame, FrameError, PIECE_BYTES, decodeFrames } from '../protocol/frame';
import type { CancelReason } from '../protocol/generated/CancelReason';
import type { ControlMessage } from '../protocol/generated/ControlMessage';
import type { DeclineReason } from '../protocol/generated/DeclineReason';
import type { PauseReason } from '../protocol/generated/PauseReason';
import type { Span } from '../protocol/generated/Span';
import type { ViolationCode } from '../protocol/generated/ViolationCode';
import { TEXT_BYTES } from '../protocol/limits';
import { type Config, DEFAULT_CONFIG, clamped } from './config';
import { Grant, type TakenPiece } from './credit';
import { type PieceHasher, sameHash } from './hash';
import { type Ended, EndedTransfers } from './ended';
import { Listing } from './incoming';
import { IncomingTransfers, setInOrder } from './incoming-transfers';
import type { Kept } from './journal';
import { Lane, MessageBuilder } from './lane';
import { Link } from './link';
import type { Manifest } from './manifest';
import { Outgoing } from './outgoing';
import { Outbox, type Output, type Party, type ReadRequest, type ReadResult, Violation, type WriteFailure } from './output';
import type { Progress } from './progress';
import { Receiving } from './receiving';
import { areAscending } from './spans';
import { Texts } from './texts';

/** Messages that wait because the other side does not read; more of them, and it is flooding this side. */
const MESSAGES_WAITING = 4096;

export type TransferProblem = 'unknown' | 'exists' | 'too_many' | 'out_of_turn' | 'entries';

/** It cannot be done with this transfer: see `TransferError` in `crates/transfer`. */
export class TransferError extends Error {
  constructor(readonly problem: TransferProblem) {
    super(`the transfer cannot do that: ${problem}`);
    this.name = 'TransferError';
  }
}

export interface ExchangeOptions {
  pieceHash: PieceHasher;
  config?: Partial<Config>;
  /** Numbers of 0 to 1: chooses what is read back after a restart. */
  random?: () => number;
}

/**
 * Lives as long as the session, over any number of links, one after the other. The shell hands in what happened, does what
 * `pollOutput` says, sends what `pollControl` and `pollData` give while their channels have room, and calls `handleTimeout`
 * at `pollTimeout`. `now` is monotonic milliseconds.
 */
export class Exchange {
  #config: Config;
  readonly #pieceHash: PieceHasher;
  readonly #random: () => number;
  readonly #out = new Outbox();
  #link: Link | null = null;
  #closed = false;
  readonly #outgoing = new Map<string, Outgoing>();
  /** Who sends next; each gets a piece in turn. */
  #turns: string[] = [];
  readonly #ended = new EndedTransfers();
  readonly #incoming = new IncomingTransfers(this.#out, this.#ended);
  readonly #grant: Grant;
  /** Bytes of writes that are not answered. */
  readonly #writes = new Map<string, number>();
  readonly #texts = new Texts();

  constructor({ pieceHash, config = {}, random = Math.random }: ExchangeOptions) {
    this.#config = clamped({ ...DEFAULT_CONFIG, ...config });
    this.#pieceHash = pieceHash;
    this.#random = random;
    this.#grant = new Grant(this.#config.windowBytes);
  }

  // --- the link ---

  /** An authenticated link is open. `maxMessageBytes` is what one message of its data channel may hold. */
  linkUp(now: number, maxMessageBytes: number): void {
    if (this.#closed) return;
    if (this.#link !== null) this.linkLost(now);
    this.#out.linkIsUp = true;
    this.#grant.restart();
    const link = new Link(now, maxMessageBytes, this.#config);
    for (const outgoing of this.#outgoing.values()) outgoing.handleLinkUp(link.takeNumber(), this.#out);
    this.#incoming.handleLinkUp();
    this.#ended.sayAgain(this.#out);
    for (const text of this.#texts.repeated()) this.#out.say(text);
    this.#link = link;
  }

  /** The link is gone, or given up for another one. Transfers wait for the next. */
  linkLost(now: number): void {
    this.#out.linkIsUp = false;
    this.#out.messages = [];
    const link = this.#link;
    this.#link = null;
    if (link === null) return;
    if (link.openPiece !== null) this.#grant.release(now, link.openPiece.filled);
    for (const outgoing of this.#outgoing.values()) outgoing.handleLinkLost();
    this.#incoming.handleLinkLost();
  }

  /** A message of the control channel. */
  handleControl(now: number, text: string): void {
    if (!this.#hear(now)) return;
    this.#settle(now, () => {
      this.#handleMessage(now, decodeControlMessage(text));
    });
  }

  /** A message of the data channel. */
  handleData(now: number, message: Uint8Array): void {
    if (!this.#hear(now)) return;
    this.#settle(now, () => {
      if (!this.#grant.receive(now, message.length)) throw new Violation('over_credit');
      for (const frame of decodeFrames(message)) this.#handleFrame(now, frame);
    });
  }

  /** Time has passed: call it when `pollTimeout` says so. Calling it earlier does no harm. */
  handleTimeout(now: number): void {
    if (this.#link !== null && this.#link.liveness.pollTimeout() <= now) {
      const { ping, event } = this.#link.liveness.handleTimeout(now);
      if (ping !== null) this.#out.say(ping);
      if (event !== null) this.#out.tell(event);
    }
    this.#settle(now);
  }

  /** The link itself brought a sign of life, and nothing for this engine. */
  handleAlive(now: number): void {
    this.#hear(now);
  }

  /** Counts as a sign of life; `false` when nothing is taken any more. */
  #hear(now: number): boolean {
    if (this.#link === null) return false;
    const event = this.#link.liveness.handleHeard(now);
    if (event !== null) this.#out.tell(event);
    return !this.#closed;
  }

  // --- what there is to do ---

  /** The next thing the world must do. Drain it after every other call. */
  pollOutput(): Output | null {
    return this.#out.outputs.shift() ?? null;
  }

  /** The next message for the control channel. Drain it while that channel's own buffer is short. */
  pollControl(now: number): string | null {
    if (!this.#out.linkIsUp) return null;
    const message = this.#pollMessage(now);
    // The last word about a transfer may end it.
    if (message !== null && !this.#closed) this.#settle(now);
    return message === null ? null : encodeControlMessage(message);
  }

  #pollMessage(now: number): ControlMessage | null {
    const credit = this.#closed ? null : this.#grant.poll(now);
    const said = credit ?? this.#out.messages.shift() ?? null;
    if (said !== null || this.#closed) return said;
    const incoming = this.#incoming.pollMessage();
    if (incoming !== null) return incoming;
    for (const outgoing of this.#outgoing.values()) {
      const message = outgoing.pollMessage();
      if (message !== null) return message;
    }
    return null;
  }

  /** The next message for the data channel. Ask only while that channel has room: this is the back-pressure. */
  pollData(now: number): Uint8Array<ArrayBuffer> | null {
    const link = this.#link;
    if (link === null || this.#closed) return null;
    const builder = new MessageBuilder(Math.min(link.messageBytes(now), link.allowance.left));
    const pieces: TakenPiece[] = [];
    for (;;) {
      link.lane ??= this.#nextLane();
      if (link.lane?.fill(builder) !== true) break;
      const { transfer, pieceBytes } = link.lane;
      if (pieceBytes !== null) pieces.push({ transfer, bytes: pieceBytes });
      link.lane = null;
    }
    const message = builder.build();
    if (message === null) return null;
    link.allowance.send(message.length, pieces);
    for (const outgoing of this.#outgoing.values()) outgoing.pull(this.#config, this.#out);
    return message;
  }

  /** Takes the next dispatch from the transfer whose turn it is. */
  #nextLane(): Lane | null {
    for (const transfer of this.#turns) {
      const outgoing = this.#outgoing.get(transfer);
      const dispatch = outgoing?.pollDispatch(this.#out) ?? null;
      if (outgoing === undefined || dispatch === null) continue;
      this.#turns = [...this.#turns.filter((turn) => turn !== transfer), transfer];
      return new Lane(transfer, outgoing.number, dispatch);
    }
    return null;
  }

  /** When to call `handleTimeout` next; `null` when only other calls can change anything. */
  pollTimeout(): number | null {
    if (this.#closed) return null;
    const due: number[] = [];
    if (this.#link !== null) due.push(this.#link.liveness.pollTimeout(), this.#grant.pollTimeout() ?? Infinity);
    for (const receiving of this.#incoming.allReceiving()) due.push(receiving.pollTimeout(this.#config) ?? Infinity);
    const next = Math.min(...due);
    return next === Infinity ? null : next;
  }

  // --- what people decide ---

  /** Offers files. The entries stay readable under their index until `forget`. Throws `TransferError`. */
  offer(transfer: string, manifest: Manifest): void {
    this.#addOutgoing(new Outgoing(transfer, manifest, this.#pieceHash));
  }

  /**
   * Carries on a transfer that was accepted before this page was loaded; `wanted` is what was accepted. Before `linkUp`.
   * Whatever the receiver holds is read again and compared. Throws `TransferError`.
   */
  restoreOutgoing(transfer: string, manifest: Manifest, wanted: readonly Span[]): void {
    if (!areAscending(wanted, manifest.summary.entries)) throw new TransferError('entries');
    this.#addOutgoing(Outgoing.restored(transfer, manifest, wanted, this.#pieceHash));
  }

  #addOutgoing(outgoing: Outgoing): void {
    const { id } = outgoing;
    if (this.#outgoing.has(id) || this.#ended.find(id) !== null) throw new TransferError('exists');
    if (this.#outgoing.size >= this.#config.transfers || this.#closed) throw new TransferError('too_many');
    if (this.#link !== null) outgoing.handleLinkUp(this.#link.takeNumber(), this.#out);
    setInOrder(this.#outgoing, id, outgoing);
    this.#turns.push(id);
  }

  /** Carries on a transfer from its journal. Before `linkUp`. Part of it is read back first. Throws `TransferError`. */
  restoreIncoming(now: number, kept: Kept): void {
    if (this.#incoming.get(kept.transfer) !== null) throw new TransferError('exists');
    this.#incoming.restore(Receiving.restored(now, kept, this.#pieceHash, this.#random));
    this.#settle(now);
  }

  /** Takes an offer, or part of it. From here on bytes may be written. Throws `TransferError`. */
  accept(now: number, transfer: string, wanted: readonly Span[]): void {
    const incoming = this.#incoming.get(transfer);
    if (incoming === null) throw new TransferError('unknown');
    if (incoming.state.kind !== 'offered') throw new TransferError('out_of_turn');
    const { manifest } = incoming.state;
    if (wanted.length === 0 || !areAscending(wanted, manifest.summary.entries)) throw new TransferError('entries');
    const receiving = Receiving.accept(now, transfer, manifest, wanted, this.#pieceHash, this.#out);
    incoming.state = { kind: 'receiving', receiving };
    if (incoming.knownOnLink) receiving.answerAccept(this.#out);
    this.#settle(now);
  }

  /** Refuses an offer. Throws `TransferError`. */
  decline(transfer: string, reason: DeclineReason): void {
    const incoming = this.#incoming.get(transfer);
    if (incoming === null) throw new TransferError('unknown');
    if (incoming.state.kind === 'receiving') throw new TransferError('out_of_turn');
    if (incoming.knownOnLink) this.#out.say({ type: 'decline', transfer, reason });
    this.#incoming.end(transfer, { kind: 'declined', reason });
  }

  /** Stops a transfer for now, from either side. Throws `TransferError`. */
  pause(transfer: string): void {
    const reason: PauseReason = 'by_person';
    const outgoing = this.#outgoing.get(transfer);
    if (outgoing === undefined) {
      const receiving = this.#receiving(transfer);
      if (receiving === null) throw new TransferError('unknown');
      receiving.pause(reason, this.#out);
      return;
    }
    const wasPaused = outgoing.pausedByUs !== null;
    outgoing.pausedByUs = reason;
    if (wasPaused) return;
    this.#out.say({ type: 'pause', transfer, reason });
    this.#out.tell({ type: 'paused', transfer, reason, by: 'us' });
  }

  /** Goes on after `pause`, or after a pause for want of space. Throws `TransferError`. */
  unpause(now: number, transfer: string): void {
    const machine = this.#outgoing.get(transfer) ?? this.#receiving(transfer);
    if (machine === null) throw new TransferError('unknown');
    if (machine.pausedByUs === null) throw new TransferError('out_of_turn');
    if (machine instanceof Receiving) machine.unpause();
    else machine.pausedByUs = null;
    this.#out.say({ type: 'unpause', transfer });
    if (machine.pausedByThem === null) this.#out.tell({ type: 'unpaused', transfer });
    this.#settle(now);
  }

  /** Gives up a whole transfer, from either side. Part files go; what was placed stays. Throws `TransferError`. */
  cancel(transfer: string, reason: CancelReason): void {
    if (!this.#isKnown(transfer) || this.#receiving(transfer)?.isComplete === true) throw new TransferError('unknown');
    this.#out.say({ type: 'cancel', transfer, reason });
    this.#out.tell({ type: 'cancelled', transfer, reason, by: 'us' });
    this.#endTransfer(transfer, { kind: 'cancelled', reason, byUs: true });
  }

  /** Gives up one file, from either side; the others go on. Throws `TransferError`. */
  cancelFile(now: number, transfer: string, file: number): void {
    const machine = this.#outgoing.get(transfer) ?? this.#receiving(transfer);
    if (machine === null) throw new TransferError('unknown');
    const givenUp = machine.giveUp(file, 'cancelled', this.#out);
    this.#settle(now);
    if (!givenUp) throw new TransferError('out_of_turn');
  }

  /** Sends a text; `id` is drawn at random, 0 to 2⁵³ − 1. Acknowledged by `text_delivered`. Throws `TextError`. */
  sendText(id: number, text: string): void {
    this.#out.say(this.#texts.send(id, text, this.#config.texts));
  }

  /** Changes how much this side takes in before it is written. What was promised on this link stays promised. */
  setWindow(now: number, windowBytes: number): void {
    this.#config = clamped({ ...this.#config, windowBytes });
    this.#grant.resize(now, this.#config.windowBytes);
  }

  // --- what the disk says ---

  /** Answer to `read`. */
  handleRead(now: number, request: ReadRequest, result: ReadResult): void {
    const { transfer, file, offset } = request;
    const outgoing = this.#outgoing.get(transfer);
    if (outgoing !== undefined) outgoing.handleRead(request, result, this.#out);
    else this.#receiving(transfer)?.handleReadBack(file, offset, result.ok ? result.bytes : null, this.#out);
    this.#settle(now);
  }

  /** Answer to `write`: the bytes have left this page's memory. */
  handleWritten(now: number, transfer: string, file: number, offset: number): void {
    this.#releaseWrite(now, transfer, file, offset);
    this.#receiving(transfer)?.handleWritten(now, file, offset, this.#out);
    this.#settle(now);
  }

  /** Answer to `write`: they could not be written. */
  handleWriteFailed(now: number, transfer: string, file: number, offset: number, error: WriteFailure): void {
    this.#releaseWrite(now, transfer, file, offset);
    this.#receiving(transfer)?.handleWriteFailed(file, offset, error, this.#out);
    this.#settle(now);
  }

  /** Answer to `sync`. */
  handleSynced(now: number, transfer: string): void {
    this.#receiving(transfer)?.handleSynced(this.#out);
    this.#settle(now);
  }

  /** Answer to `place`, once for each of its entries; `error` is `null` when it worked. */
  handlePlaced(now: number, transfer: string, file: number, error: WriteFailure | null): void {
    this.#receiving(transfer)?.handlePlaced(now, file, error, this.#out);
    this.#settle(now);
  }

  #releaseWrite(now: number, transfer: string, file: number, offset: number): void {
    const key = writeKey(transfer, file, offset);
    this.#grant.release(now, this.#writes.get(key) ?? 0);
    this.#writes.delete(key);
  }

  // --- what can be seen ---

  /** Whether the session was closed for a breach of the protocol. */
  get isClosed(): boolean {
    return this.#closed;
  }

  /** Whether nothing is waiting for the other side: no transfer under way, and no text. */
  get isIdle(): boolean {
    return this.#incoming.isIdle && this.#outgoing.size === 0 && !this.#texts.areWaiting;
  }

  /** What is being sent. */
  outgoing(): string[] {
    return [...this.#outgoing.keys()];
  }

  /** What is offered to this side or being received. */
  incoming(): string[] {
    return this.#incoming.keys();
  }

  /** What a transfer consists of; `null` while it is still being told. */
  manifest(transfer: string): Manifest | null {
    const outgoing = this.#outgoing.get(transfer);
    if (outgoing !== undefined) return outgoing.manifest;
    const state = this.#incoming.get(transfer)?.state;
    if (state === undefined || state.kind === 'listing') return null;
    return state.kind === 'offered' ? state.manifest : state.receiving.manifest;
  }

  /** Which entries of an outgoing transfer were accepted: to be kept for `restoreOutgoing`. */
  accepted(transfer: string): Span[] | null {
    const outgoing = this.#outgoing.get(transfer);
    return outgoing?.isAccepted === true ? outgoing.wanted : null;
  }

  /** How far an accepted transfer is. */
  progress(now: number, transfer: string): Progress | null {
    const outgoing = this.#outgoing.get(transfer);
    if (outgoing !== undefined) return outgoing.isAccepted ? outgoing.progress(now) : null;
    return this.#receiving(transfer)?.progress(now) ?? null;
  }

  // --- messages ---

  #handleMessage(now: number, message: ControlMessage): void {
    switch (message.type) {
      case 'ping':
        // Only the last one is answered: a flood of questions must not become one of answers.
        this.#out.messages = this.#out.messages.filter(({ type }) => type !== 'pong');
        this.#out.say({ type: 'pong', nonce: message.nonce });
        return;
      case 'pong':
        return;
      case 'credit':
        this.#handleCredit(now, message.limit_bytes);
        return;
      case 'text':
        this.#handleText(message.id, message.text);
        return;
      case 'text_received':
        if (this.#texts.handleReceived(message.id)) this.#out.tell({ type: 'text_delivered', id: message.id });
        return;
      case 'error':
        this.#close(message.code, 'us');
        return;
      case 'offer':
        this.#handleOffer(message.transfer, message.number, new Listing(message.summary));
        return;
      case 'entries':
        this.#incoming.handleEntries(message.transfer, message.first, message.entries);
        return;
      case 'resume':
        this.#link?.noteNumber(message.transfer, message.number);
        this.#incoming.handleResume(message.transfer);
        return;
      case 'finished':
        this.#incoming.handleFinished(message.transfer);
        return;
      case 'cancel':
        this.#handleCancel(message.transfer, message.reason);
        return;
      case 'fail': {
        const machine = this.#outgoing.get(message.transfer) ?? this.#receiving(message.transfer);
        if (machine === null) this.#ended.require(message.transfer);
        for (const { file, reason } of message.files) machine?.handleFail(file, reason, this.#out);
        return;
      }
      case 'pause':
        this.#handlePause(message.transfer, message.reason);
        return;
      case 'unpause':
        this.#handlePause(message.transfer, null);
        return;
      case 'accept':
        this.#theOutgoing(message.transfer)?.handleAccept(message.wanted, message.last, this.#out);
        return;
      case 'decline':
        this.#handleDecline(message.transfer, message.reason);
        return;
      case 'have': {
        const { transfer, done, failed, files, last } = message;
        this.#theOutgoing(transfer)?.handleHave(done, failed, files, last, this.#out);
        return;
      }
      case 'again':
        this.#theOutgoing(message.transfer)?.handleAgain(message.pieces);
        return;
      case 'received':
        this.#theOutgoing(message.transfer)?.handleReceived(message.files, this.#out);
        return;
      default:
        assertNever(message);
    }
  }

  #handleCredit(now: number, limitBytes: number): void {
    const link = this.#link;
    if (link === null) return;
    if (!link.allowance.handleCredit(limitBytes)) throw new Violation('bad_value');
    for (const { transfer, bytes } of link.allowance.pollTaken()) {
      link.speed.add(now, bytes);
      this.#outgoing.get(transfer)?.handleTaken(now, bytes);
    }
  }

  #handleText(id: number, text: string): void {
    if (text === '' || new TextEncoder().encode(text).length > TEXT_BYTES) throw new Violation('bad_value');
    this.#out.say({ type: 'text_received', id });
    if (this.#texts.isNew(id)) this.#out.tell({ type: 'text', id, text });
  }

  #handleOffer(transfer: string, number: number, listing: Listing): void {
    this.#link?.noteNumber(transfer, number);
    if (this.#outgoing.has(transfer)) throw new Violation('duplicate_offer');
    this.#incoming.handleOffer(transfer, listing, this.#config.transfers);
  }

  /** Telling of transfers that this side does not know is no breach: it may have forgotten. */
  #handleCancel(transfer: string, reason: CancelReason): void {
    if (this.#receiving(transfer)?.isComplete === true) {
      this.#incoming.end(transfer, { kind: 'finished' });
    } else if (this.#isKnown(transfer)) {
      this.#out.tell({ type: 'cancelled', transfer, reason, by: 'them' });
      this.#endTransfer(transfer, { kind: 'cancelled', reason, byUs: false });
    }
  }

  #handlePause(transfer: string, reason: PauseReason | null): void {
    const machine = this.#outgoing.get(transfer) ?? this.#receiving(transfer);
    if (machine === null) {
      // An offer may be paused before it is accepted; its sender holds back by itself.
      if (this.#incoming.get(transfer) === null) this.#ended.require(transfer);
      return;
    }
    const before = machine.pausedByThem;
    machine.pausedByThem = reason;
    if (reason !== null && before === null) this.#out.tell({ type: 'paused', transfer, reason, by: 'them' });
    if (reason === null && before !== null && machine.pausedByUs === null) this.#out.tell({ type: 'unpaused', transfer });
  }

  #handleDecline(transfer: string, reason: DeclineReason): void {
    const outgoing = this.#theOutgoing(transfer);
    if (outgoing === null) return;
    if (!outgoing.mayBeDeclined) throw new Violation('out_of_turn');
    this.#out.tell({ type: 'declined', transfer, reason });
    this.#endTransfer(transfer, { kind: 'declined', reason });
  }

  /** `null` when it is over. */
  #theOutgoing(transfer: string): Outgoing | null {
    const outgoing = this.#outgoing.get(transfer);
    if (outgoing === undefined) this.#ended.require(transfer);
    return outgoing ?? null;
  }

  #isKnown(transfer: string): boolean {
    return this.#outgoing.has(transfer) || this.#incoming.get(transfer) !== null;
  }

  // --- data ---

  #handleFrame(now: number, { number, file, offset, body }: Frame): void {
    const link = this.#link;
    if (link === null) return;
    const transfer = link.numbers.get(number);
    if (transfer === undefined) throw new Violation('unknown_transfer');
    const state = this.#incoming.get(transfer)?.state;
    // It was given up here; the sender does not know yet.
    if (state === undefined) return;
    if (state.kind !== 'receiving') throw new Violation('data_before_accept');
    const { receiving } = state;
    switch (body.kind) {
      case 'chunk':
        link.collect(receiving, file, offset, body.bytes, this.#grant, this.#out);
        return;
      case 'piece_end':
        this.#endPiece(now, link, receiving, file, offset, body.hash);
        return;
      case 'file_end':
        receiving.handleFileEnd(now, file, offset, body.root, this.#out);
        return;
      case 'restate':
        receiving.handleRestate(file, offset, body.version, body.modifiedMs, this.#config.growthBytes, this.#out);
        return;
      default:
        assertNever(body);
    }
  }

  #endPiece(now: number, link: Link, receiving: Receiving, file: number, offset: number, hash: Uint8Array): void {
    if (offset % PIECE_BYTES !== 0) throw new Violation('bad_value');
    const piece = offset / PIECE_BYTES;
    if (!receiving.handleChunk(file, offset, offset, this.#out)) return;
    const open = link.openPiece;
    if (open === null || !link.isOpen(receiving.id, file, piece)) throw new Violation('gap');
    link.openPiece = null;
    const length = open.filled;
    if (length !== receiving.pieceLength(file, piece)) throw new Violation('gap');
    if (sameHash(this.#pieceHash(open.bytes), hash)) {
      const key = writeKey(receiving.id, file, offset);
      this.#writes.set(key, (this.#writes.get(key) ?? 0) + length);
      receiving.handlePiece(file, piece, open.bytes, hash.slice(), this.#out);
    } else {
      this.#grant.release(now, length);
      receiving.handleDamaged(file, piece, this.#config.pieceTries);
    }
  }

  // --- afterwards ---

  /** Does `input`, and then what it may have made due. */
  #settle(now: number, input: () => void = () => undefined): void {
    try {
      input();
      if (this.#out.messages.length > MESSAGES_WAITING) throw new Violation('too_many');
    } catch (error) {
      const code = violationOf(error);
      this.#out.messages = [];
      this.#out.say({ type: 'error', code });
      this.#close(code, 'them');
    }
    if (this.#closed) return;
    for (const receiving of this.#incoming.allReceiving()) receiving.pull(now, this.#config, this.#out);
    for (const receiving of this.#incoming.allReceiving()) {
      if (receiving.takeFinished()) this.#out.tell({ type: 'finished', transfer: receiving.id });
    }
    for (const outgoing of this.#outgoing.values()) outgoing.pull(this.#config, this.#out);
    for (const [transfer, outgoing] of this.#outgoing) {
      if (!outgoing.isFinished) continue;
      this.#out.say({ type: 'finished', transfer });
      this.#out.tell({ type: 'finished', transfer });
      this.#endTransfer(transfer, { kind: 'finished' });
    }
    this.#dropStalePiece(now);
  }

  /** A piece whose file or transfer was given up is collected no further. */
  #dropStalePiece(now: number): void {
    const link = this.#link;
    const open = link?.openPiece ?? null;
    if (link === null || open === null || this.#receiving(open.transfer)?.isArriving(open.file) === true) return;
    link.openPiece = null;
    this.#grant.release(now, open.filled);
  }

  #close(code: ViolationCode, by: Party): void {
    if (!this.#closed) this.#out.push({ kind: 'close', code, by });
    this.#closed = true;
  }

  #endTransfer(transfer: string, how: Ended): void {
    if (this.#outgoing.delete(transfer)) {
      this.#turns = this.#turns.filter((turn) => turn !== transfer);
      this.#out.push({ kind: 'forget', transfer });
      this.#ended.remember(transfer, how);
    } else {
      this.#incoming.end(transfer, how);
    }
  }

  #receiving(transfer: string): Receiving | null {
    return this.#incoming.receiving(transfer);
  }
}

function writeKey(transfer: string, file: number, offset: number): string {
  return `${transfer}/${String(file)}/${String(offset)}`;
}

/** The code that an error of reading or handling closes the session with; anything else is a mistake of ours. */
function violationOf(error: unknown): ViolationCode {
  if (error instanceof Violation) return error.code;
  if (error instanceof DecodeError) return 'malformed_message';
  if (error instanceof FrameError) return 'malformed_frame';
  throw error;
}
