/** One transfer as its sender sees it: offer, wait, read ahead, send, collect acknowledgements. */
import { MAX_INTEGER, decodeHashes } from '../protocol/control';
import { PIECE_BYTES } from '../protocol/frame';
import type { ControlMessage } from '../protocol/generated/ControlMessage';
import type { FailedFile } from '../protocol/generated/FailedFile';
import type { FileFailure } from '../protocol/generated/FileFailure';
import type { HeldFile } from '../protocol/generated/HeldFile';
import type { ManifestEntry } from '../protocol/generated/ManifestEntry';
import type { PauseReason } from '../protocol/generated/PauseReason';
import type { PieceRef } from '../protocol/generated/PieceRef';
import type { Span } from '../protocol/generated/Span';
import type { Config } from './config';
import { type PieceHasher, fileRoot, pieceCount, pieceLength, sameHash } from './hash';
import { type Manifest, sizeOf } from './manifest';
import { type Outbox, type ReadRequest, type ReadResult, Violation } from './output';
import { Meter, type Progress } from './progress';
import { PieceSet, areAscending, indicesOf, spansOf } from './spans';

/** Entries and bytes of their paths in one `entries` message: at most 60 KiB of JSON. */
const ENTRIES_IN_MESSAGE = 128;
const PATH_BYTES_IN_MESSAGE = 24 * 1024;
/** Failures in one `fail` message. */
const FAILURES_IN_MESSAGE = 500;
/** Pieces that wait to be sent once more: more than any window holds. */
const PIECES_AGAIN = 65_536;

/** What goes over the data channel next, in the order of the file. */
export type Dispatch =
  | { kind: 'restate'; file: number; sizeBytes: number; version: number; modifiedMs: number }
  | { kind: 'piece'; file: number; piece: number; bytes: Uint8Array; hash: Uint8Array }
  | { kind: 'file_end'; file: number; sizeBytes: number; root: Uint8Array };

type Stage =
  /** Entries from `next` on are still to be told. */
  | { kind: 'offering'; next: number }
  /** The whole offer is out; `wanted` collects a long answer. */
  | { kind: 'offered'; wanted: Span[] }
  /** Accepted; waiting for what the receiver holds on this link. */
  | { kind: 'asking' }
  | { kind: 'sending' };

type Fate = 'unwanted' | 'pending' | 'sent' | 'received' | 'failed';

interface OutFile {
  fate: Fate;
  failure: FileFailure;
  sizeBytes: number;
  modifiedMs: number | null;
  /** As the receiver counts. */
  version: number;
  /** How often this page found it changed. */
  changes: number;
  /** Of the present version, as this page read it. */
  hashes: Map<number, Uint8Array>;
  /** What the receiver says it holds, until it was compared. */
  claims: Map<number, Uint8Array>;
  /** The next piece must be announced as part of another version. */
  restate: boolean;
  restatedOnLink: boolean;
  askedInPass: boolean;
  /** The other side said so itself. */
  failureTold: boolean;
}

type Work =
  | { kind: 'read'; piece: number }
  | { kind: 'send'; piece: number; bytes: Uint8Array; hash: Uint8Array }
  | { kind: 'check_end' }
  | { kind: 'end' };

interface Slot {
  file: number;
  work: Work;
}

const encoder = new TextEncoder();

export class Outgoing {
  number = 0;
  pausedByUs: PauseReason | null = null;
  pausedByThem: PauseReason | null = null;
  #stage: Stage = { kind: 'offering', next: 0 };
  readonly #files: OutFile[];
  /** The file being read, and its next piece. */
  #current: { file: number; piece: number } | null = null;
  /** The next file in the order of the manifest. */
  #next = 0;
  /** Files to be read from their start once more. */
  #redo: number[] = [];
  #pipeline: Slot[] = [];
  /** Bytes of the pipeline, read or asked for. */
  #readAhead = 0;
  /** Pieces to be sent once more. */
  readonly #again = new PieceSet();
  /** Failures to be told. */
  #untold: FailedFile[] = [];
  /** Wanted entries that are neither received nor failed. */
  #open = 0;
  readonly #meter = new Meter();
  #takenBytes = 0;

  constructor(
    readonly id: string,
    readonly manifest: Manifest,
    private readonly pieceHash: PieceHasher,
  ) {
    this.#files = manifest.entries.map(newFile);
  }

  /** After a restart: everything in `wanted` is taken to be accepted, and nothing to be known about the files. */
  static restored(id: string, manifest: Manifest, wanted: readonly Span[], pieceHash: PieceHasher): Outgoing {
    const outgoing = new Outgoing(id, manifest, pieceHash);
    outgoing.#want(wanted);
    outgoing.#stage = { kind: 'asking' };
    return outgoing;
  }

  get isAccepted(): boolean {
    return this.#stage.kind === 'asking' || this.#stage.kind === 'sending';
  }

  /** Whether every wanted entry is settled and the other side knows. */
  get isFinished(): boolean {
    return this.#stage.kind === 'sending' && this.#open === 0 && this.#untold.length === 0;
  }

  /** Whether the offer is out and not answered. */
  get mayBeDeclined(): boolean {
    return !this.isAccepted;
  }

  /** Entries that the other side accepted. */
  get wanted(): Span[] {
    return spansOf([...this.#files.keys()].filter((file) => this.#files[file]?.fate !== 'unwanted'));
  }

  #want(wanted: readonly Span[]): void {
    for (const file of indicesOf(wanted)) {
      const state = this.#files[file];
      if (state === undefined) continue;
      state.fate = 'pending';
      this.#open += 1;
    }
  }

  // --- links ---

  handleLinkUp(number: number, out: Outbox): void {
    this.number = number;
    this.pausedByThem = null;
    const transfer = this.id;
    if (this.isAccepted) {
      this.#stage = { kind: 'asking' };
      out.say({ type: 'resume', transfer, number });
    } else {
      this.#stage = { kind: 'offering', next: 0 };
      out.say({ type: 'offer', transfer, number, summary: this.manifest.summary });
    }
    this.#sayPaused(out);
  }

  #sayPaused(out: Outbox): void {
    if (this.pausedByUs !== null) out.say({ type: 'pause', transfer: this.id, reason: this.pausedByUs });
  }

  handleLinkLost(): void {
    this.#clearPipeline();
    this.#meter.restart();
    for (const state of this.#files) {
      state.failureTold = false;
      // Said on a link that is gone: a receiver that crashed since may hold less.
      state.claims.clear();
    }
    if (this.#stage.kind === 'sending') this.#stage = { kind: 'asking' };
  }

  #clearPipeline(): void {
    this.#pipeline = [];
    this.#again.clear();
    this.#readAhead = 0;
  }

  // --- what the receiver says ---

  handleAccept(spans: readonly Span[], last: boolean, out: Outbox): void {
    if (this.#stage.kind !== 'offered') throw new Violation('out_of_turn');
    const wanted = [...this.#stage.wanted, ...spans];
    if (!areAscending(wanted, this.#files.length)) throw new Violation('bad_value');
    this.#stage = { kind: 'offered', wanted };
    if (last) {
      this.#want(wanted);
      this.#stage = { kind: 'asking' };
      out.tell({ type: 'accepted', transfer: this.id });
      // Said while it was only offered, it was not for the receiver.
      this.#sayPaused(out);
    }
  }

  handleHave(done: readonly Span[], failed: readonly FailedFile[], held: readonly HeldFile[], last: boolean, out: Outbox): void {
    if (this.#stage.kind !== 'asking') throw new Violation('out_of_turn');
    if (!areAscending(done, this.#files.length)) throw new Violation('bad_value');
    for (const file of indicesOf(done)) this.#settleReceived(file, out);
    for (const { file, reason } of failed) this.handleFail(file, reason, out);
    for (const { file, version, runs } of held) {
      const state = this.#wantedFile(file);
      state.version = Math.max(state.version, version);
      const pieces = pieceCount(state.sizeBytes);
      for (const run of runs) {
        (decodeHashes(run.hashes) ?? []).forEach((hash, index) => {
          if (run.first + index < pieces) state.claims.set(run.first + index, hash);
        });
      }
    }
    if (last) this.#beginPass();
  }

  /** Starts to go through everything that is not received. */
  #beginPass(): void {
    this.#clearPipeline();
    this.#untold = [];
    this.#current = null;
    this.#next = 0;
    this.#redo = [];
    this.#takenBytes = 0;
    this.#files.forEach((state, file) => {
      state.askedInPass = false;
      state.restatedOnLink = false;
      if (state.fate === 'sent') state.fate = 'pending';
      if (state.fate === 'received') this.#takenBytes += state.sizeBytes;
      if (state.fate === 'failed' && !state.failureTold) this.#untold.push({ file, reason: state.failure });
    });
    this.#stage = { kind: 'sending' };
  }

  handleAgain(pieces: readonly PieceRef[]): void {
    this.#requireSending();
    for (const { file, piece } of pieces) {
      const state = this.#wantedFile(file);
      if (piece >= pieceCount(state.sizeBytes)) throw new Violation('offset_out_of_range');
      if (state.fate === 'pending' || state.fate === 'sent') this.#again.add(file, piece);
      if (this.#again.size > PIECES_AGAIN) throw new Violation('too_many');
    }
  }

  handleReceived(spans: readonly Span[], out: Outbox): void {
    this.#requireSending();
    if (!areAscending(spans, this.#files.length)) throw new Violation('bad_value');
    for (const file of indicesOf(spans)) this.#settleReceived(file, out);
  }

  #settleReceived(file: number, out: Outbox): void {
    const state = this.#wantedFile(file);
    if (state.fate === 'received') return;
    // Given up here while the receiver was already done with it: what arrived, arrived.
    if (state.fate !== 'failed') this.#open -= 1;
    state.fate = 'received';
    this.#letGo(file, state);
    out.tell({ type: 'file_done', transfer: this.id, file });
  }

  /** The other side gives a file up. */
  handleFail(file: number, reason: FileFailure, out: Outbox): void {
    if (!this.isAccepted) throw new Violation('out_of_turn');
    this.#wantedFile(file).failureTold = true;
    this.#fail(file, reason, out);
  }

  /** This side gives a file up; `false` when it is settled already. */
  giveUp(file: number, reason: FileFailure, out: Outbox): boolean {
    const failed = this.#fail(file, reason, out);
    if (failed) this.#untold.push({ file, reason });
    return failed;
  }

  #fail(file: number, reason: FileFailure, out: Outbox): boolean {
    const state = this.#files[file];
    if (state === undefined || (state.fate !== 'pending' && state.fate !== 'sent')) return false;
    state.fate = 'failed';
    state.failure = reason;
    this.#open -= 1;
    this.#letGo(file, state);
    out.push({ kind: 'close_source', transfer: this.id, file });
    out.tell({ type: 'file_failed', transfer: this.id, file, reason });
    return true;
  }

  /** Drops everything that is only needed while a file is on its way. */
  #letGo(file: number, state: OutFile): void {
    state.hashes.clear();
    state.claims.clear();
    this.#again.takeFile(file);
    this.#redo = this.#redo.filter((redo) => redo !== file);
    this.#dropSlots(file, state);
  }

  #dropSlots(file: number, state: OutFile): void {
    this.#pipeline = this.#pipeline.filter((slot) => {
      if (slot.file === file) this.#readAhead -= workBytes(slot.work, state);
      return slot.file !== file;
    });
  }

  #requireSending(): void {
    if (this.#stage.kind !== 'sending') throw new Violation('out_of_turn');
  }

  #wantedFile(file: number): OutFile {
    const state = this.#files[file];
    if (state === undefined || state.fate === 'unwanted') throw new Violation('unknown_file');
    return state;
  }

  // --- reading ---

  get #isPaused(): boolean {
    return this.pausedByUs !== null || this.pausedByThem !== null;
  }

  /** Asks for as much as may be read ahead. */
  pull(config: Config, out: Outbox): void {
    if (this.#stage.kind !== 'sending' || this.#isPaused) return;
    while (this.#readAhead < config.readAheadBytes && this.#pipeline.length < config.readAheadReads) {
      const [again] = this.#again.size > 0 ? this.#again.take(1) : [];
      if (again !== undefined) {
        const state = this.#files[again.file];
        state?.claims.delete(again.piece);
        if (state !== undefined) this.#readPiece(again.file, state, again.piece, out);
      } else if (!this.#pullNext(out)) {
        return;
      }
    }
  }

  /** Takes one step through the files; `false` at the end. */
  #pullNext(out: Outbox): boolean {
    if (this.#current === null) return this.#openNext();
    const { file, piece } = this.#current;
    const state = this.#files[file];
    if (state?.fate === 'pending' && piece < pieceCount(state.sizeBytes)) {
      this.#current.piece += 1;
      this.#pullPiece(file, state, piece, out);
      return true;
    }
    this.#current = null;
    if (state?.fate === 'pending') this.#pullEnd(file, state, out);
    return true;
  }

  #openNext(): boolean {
    const redo = this.#redo.shift();
    const file = redo ?? this.#next;
    const state = this.#files[file];
    if (state === undefined) return false;
    if (redo === undefined) this.#next += 1;
    // Folders have nothing to be read; the receiver makes them by itself.
    const isFile = this.manifest.entries[file]?.kind === 'file';
    this.#current = isFile && state.fate === 'pending' ? { file, piece: 0 } : null;
    return true;
  }

  #pullPiece(file: number, state: OutFile, piece: number, out: Outbox): void {
    if (sameHash(state.hashes.get(piece), state.claims.get(piece))) {
      // The receiver has it.
      state.claims.delete(piece);
      this.#takenBytes += pieceLength(state.sizeBytes, piece);
    } else {
      this.#readPiece(file, state, piece, out);
    }
  }

  #readPiece(file: number, state: OutFile, piece: number, out: Outbox): void {
    state.askedInPass = true;
    const length = pieceLength(state.sizeBytes, piece);
    this.#readAhead += length;
    this.#pipeline.push({ file, work: { kind: 'read', piece } });
    const request = { transfer: this.id, file, version: state.changes, offset: piece * PIECE_BYTES, length };
    out.push({ kind: 'read', request });
  }

  #pullEnd(file: number, state: OutFile, out: Outbox): void {
    if (state.askedInPass) {
      this.#pipeline.push({ file, work: { kind: 'end' } });
      return;
    }
    this.#pipeline.push({ file, work: { kind: 'check_end' } });
    const request = { transfer: this.id, file, version: state.changes, offset: state.sizeBytes, length: 0 };
    out.push({ kind: 'read', request });
  }

  handleRead(request: ReadRequest, result: ReadResult, out: Outbox): void {
    const { file, version, offset } = request;
    const state = this.#files[file];
    const slot = this.#pipeline.find(
      ({ file: of, work }) =>
        of === file && ((work.kind === 'read' && work.piece * PIECE_BYTES === offset) || work.kind === 'check_end'),
    );
    // Answers to what is no longer asked: the link was lost, or the file given up or changed, in between.
    if (slot === undefined || state === undefined || state.changes !== version) return;
    if (result.ok) this.#takeBytes(slot, state, result.bytes, out);
    else if (result.error === 'unreadable') this.giveUp(file, 'unreadable', out);
    else this.#handleChanged(file, state, result.sizeBytes, result.modifiedMs, out);
  }

  #takeBytes(slot: Slot, state: OutFile, bytes: Uint8Array, out: Outbox): void {
    if (slot.work.kind !== 'read') {
      slot.work = { kind: 'end' };
      return;
    }
    const { piece } = slot.work;
    const hash = this.pieceHash(bytes);
    const before = state.hashes.get(piece);
    state.hashes.set(piece, hash);
    const isShort = bytes.length !== pieceLength(state.sizeBytes, piece);
    // The same file gave other bytes before: it is being changed by somebody who restores its time.
    if (isShort || (before !== undefined && !sameHash(before, hash))) {
      this.giveUp(slot.file, 'changed', out);
      return;
    }
    const claim = state.claims.get(piece);
    state.claims.delete(piece);
    if (sameHash(claim, hash)) {
      // The receiver has it.
      this.#readAhead -= bytes.length;
      this.#takenBytes += bytes.length;
      this.#pipeline = this.#pipeline.filter((other) => other !== slot);
      return;
    }
    if (claim !== undefined && !state.restatedOnLink) {
      state.restate = true;
      state.restatedOnLink = true;
      state.version += 1;
    }
    slot.work = { kind: 'send', piece, bytes, hash };
  }

  /**
   * The file is not the one that was offered. Before anything of it was read, its present content is sent instead, and the
   * receiver told; afterwards it is given up, so that two contents never mix.
   */
  #handleChanged(file: number, state: OutFile, sizeBytes: number, modifiedMs: number | null, out: Outbox): void {
    if (state.hashes.size > 0 || state.restatedOnLink || sizeBytes > MAX_INTEGER) {
      this.giveUp(file, 'changed', out);
      return;
    }
    this.#dropSlots(file, state);
    state.version += 1;
    state.changes += 1;
    state.sizeBytes = sizeBytes;
    state.modifiedMs = modifiedMs;
    state.restate = true;
    state.restatedOnLink = true;
    state.askedInPass = false;
    const pieces = pieceCount(sizeBytes);
    for (const piece of state.claims.keys()) if (piece >= pieces) state.claims.delete(piece);
    this.#again.takeFile(file);
    if (this.#current?.file === file) this.#current.piece = 0;
    else this.#redo.push(file);
    out.tell({ type: 'restated', transfer: this.id, file, sizeBytes });
  }

  // --- sending ---

  /** What the data channel carries next, if it was read already. */
  pollDispatch(out: Outbox): Dispatch | null {
    if (this.#isPaused) return null;
    const slot = this.#pipeline[0];
    const state = slot === undefined ? undefined : this.#files[slot.file];
    if (slot === undefined || state === undefined) return null;
    const { file, work } = slot;
    if (work.kind === 'read' || work.kind === 'check_end') return null;
    if (state.restate) {
      state.restate = false;
      const { sizeBytes, version } = state;
      return { kind: 'restate', file, sizeBytes, version, modifiedMs: state.modifiedMs ?? 0 };
    }
    this.#pipeline.shift();
    if (work.kind === 'end') return this.#endFile(file, state, out);
    this.#readAhead -= work.bytes.length;
    return { kind: 'piece', file, piece: work.piece, bytes: work.bytes, hash: work.hash };
  }

  #endFile(file: number, state: OutFile, out: Outbox): Dispatch {
    state.fate = 'sent';
    out.push({ kind: 'close_source', transfer: this.id, file });
    const pieces = [...state.hashes].sort(([one], [other]) => one - other).map(([, hash]) => hash);
    return { kind: 'file_end', file, sizeBytes: state.sizeBytes, root: fileRoot(state.sizeBytes, pieces) };
  }

  /** The receiver stored bytes of it. */
  handleTaken(now: number, bytes: number): void {
    this.#takenBytes += bytes;
    this.#meter.add(now, bytes);
  }

  // --- long lists, made when there is room ---

  pollMessage(): ControlMessage | null {
    if (this.#stage.kind === 'offering') return this.#nextEntries(this.#stage.next);
    if (this.#untold.length === 0 || this.#stage.kind !== 'sending') return null;
    return { type: 'fail', transfer: this.id, files: this.#untold.splice(0, FAILURES_IN_MESSAGE) };
  }

  #nextEntries(first: number): ControlMessage {
    const entries: ManifestEntry[] = [];
    let pathBytes = 0;
    for (const entry of this.manifest.entries.slice(first, first + ENTRIES_IN_MESSAGE)) {
      pathBytes += encoder.encode(entry.path).length;
      if (pathBytes > PATH_BYTES_IN_MESSAGE) break;
      entries.push(entry);
    }
    const next = first + entries.length;
    this.#stage = next === this.#files.length ? { kind: 'offered', wanted: [] } : { kind: 'offering', next };
    return { type: 'entries', transfer: this.id, first, entries };
  }

  progress(now: number): Progress {
    const progress: Progress = {
      totalBytes: 0,
      verifiedBytes: 0,
      durableBytes: 0,
      entries: 0,
      done: 0,
      failed: 0,
      bytesPerSecond: this.#meter.bytesPerSecond(now),
      secondsLeft: null,
    };
    for (const { fate, sizeBytes } of this.#files) {
      if (fate === 'unwanted') continue;
      progress.entries += 1;
      if (fate === 'failed') progress.failed += 1;
      else progress.totalBytes += sizeBytes;
      if (fate === 'received') {
        progress.done += 1;
        progress.durableBytes += sizeBytes;
      }
    }
    progress.verifiedBytes = Math.min(Math.max(this.#takenBytes, progress.durableBytes), progress.totalBytes);
    progress.secondsLeft = this.#meter.secondsLeft(now, progress.totalBytes - progress.verifiedBytes);
    return progress;
  }
}

function newFile(entry: ManifestEntry): OutFile {
  return {
    fate: 'unwanted',
    failure: 'other',
    sizeBytes: sizeOf(entry),
    modifiedMs: entry.kind === 'file' ? (entry.modified_ms ?? null) : null,
    version: 0,
    changes: 0,
    hashes: new Map(),
    claims: new Map(),
    restate: false,
    restatedOnLink: false,
    askedInPass: false,
    failureTold: false,
  };
}

/** How much of the read-ahead the work takes. */
function workBytes(work: Work, state: OutFile): number {
  switch (work.kind) {
    case 'read':
      return pieceLength(state.sizeBytes, work.piece);
    case 'send':
      return work.bytes.length;
    case 'check_end':
    case 'end':
      return 0;
  }
}
