/** An accepted transfer as its receiver sees it: verify, write, make durable, place, acknowledge. */
import { PIECE_BYTES } from '../protocol/frame';
import type { ControlMessage } from '../protocol/generated/ControlMessage';
import type { FailedFile } from '../protocol/generated/FailedFile';
import type { FileFailure } from '../protocol/generated/FileFailure';
import type { ManifestEntry } from '../protocol/generated/ManifestEntry';
import type { PauseReason } from '../protocol/generated/PauseReason';
import type { Span } from '../protocol/generated/Span';
import type { Config } from './config';
import { type PieceHasher, fileRoot, pieceCount, pieceLength, sameHash } from './hash';
import { HAVE_START, HaveBuilder, type HaveFile, type HavePlace } from './have';
import { type JournalRecord, type Kept, type KeptFile, joinHashes } from './journal';
import { type Manifest, sizeOf } from './manifest';
import { type Outbox, type Placement, Violation, type WriteFailure } from './output';
import { Meter, type Progress } from './progress';
import { Recheck } from './recheck';
import { PieceSet, indicesOf, spansOf } from './spans';

/** Runs in one `accept` or `received` message, and pieces in one `again`: at most 48 KiB of JSON. */
const ITEMS_IN_MESSAGE = 1000;
/** Entries of one `entries` record. */
const ENTRIES_IN_RECORD = 256;

type Fate = 'unwanted' | 'arriving' | 'ready' | 'placing' | 'placed' | 'failed';

interface Piece {
  hash: Uint8Array;
  version: number;
  stage: 'writing' | 'written' | 'durable';
}

interface InFile {
  fate: Fate;
  failure: FileFailure;
  isFolder: boolean;
  sizeBytes: number;
  modifiedMs: number | null;
  version: number;
  pieces: Map<number, Piece>;
  /** How many of `pieces` are written. */
  written: number;
  root: Uint8Array | null;
  isOpen: boolean;
  damaged: number;
}

/** What is to be said about the offer on this link. */
type Answer = { kind: 'given' } | { kind: 'accept'; from: number } | { kind: 'have'; place: HavePlace };

export class Receiving {
  pausedByUs: PauseReason | null = null;
  pausedByThem: PauseReason | null = null;
  readonly #files: InFile[];
  /** Wanted entries that are neither ready to be placed, placed nor failed. */
  #arriving = 0;
  /** Wanted entries that are neither placed nor failed. */
  #open = 0;
  #grownBytes = 0;
  /** Pieces that are written and not durable. */
  #dirty = new PieceSet();
  #dirtyBytes = 0;
  #dirtySince: number | null = null;
  #syncing: PieceSet | null = null;
  #ready: number[] = [];
  #readySince: number | null = null;
  #readyAtOnce = false;
  readonly #placing = new Set<number>();
  #placed: number[] = [];
  #recheck = new Recheck();
  #answer: Answer = { kind: 'given' };
  /** Pieces to be asked for once more, and those that wait for space first. */
  readonly #again = new PieceSet();
  readonly #noRoomFor = new PieceSet();
  #unacknowledged = new Set<number>();
  #untold: FailedFile[] = [];
  #toldFinished = false;
  readonly #meter = new Meter();

  private constructor(
    readonly id: string,
    readonly manifest: Manifest,
    wanted: readonly Span[],
    private readonly pieceHash: PieceHasher,
  ) {
    this.#files = manifest.entries.map(newFile);
    for (const file of indicesOf(wanted)) {
      const state = this.#files[file];
      if (state === undefined) continue;
      state.fate = 'arriving';
      this.#arriving += 1;
      this.#open += 1;
    }
  }

  /** A person, or a policy in their place, took the offer: the only way to what can write. */
  static accept(now: number, id: string, manifest: Manifest, wanted: readonly Span[], pieceHash: PieceHasher, out: Outbox): Receiving {
    const receiving = new Receiving(id, manifest, wanted, pieceHash);
    const { entries } = manifest;
    const records: JournalRecord[] = [
      { record: 'accepted', version: 1, transfer: id, entries: entries.length, wanted: [...wanted] },
    ];
    for (let at = 0; at < entries.length; at += ENTRIES_IN_RECORD) {
      records.push({ record: 'entries', entries: entries.slice(at, at + ENTRIES_IN_RECORD) });
    }
    out.push({ kind: 'journal', transfer: id, records, sync: true });
    receiving.#makeFoldersReady(now);
    return receiving;
  }

  /** Carries on what a journal kept; part of it is read back before any of it is claimed (TR-64). */
  static restored(now: number, kept: Kept, pieceHash: PieceHasher, random: () => number): Receiving {
    const receiving = new Receiving(kept.transfer, kept.manifest, kept.wanted, pieceHash);
    for (const [file, keptFile] of kept.files) receiving.#restoreFile(file, keptFile);
    const held = kept.written.filter(({ file, piece }) => {
      const state = receiving.#files[file];
      return state?.fate === 'arriving' && state.pieces.has(piece);
    });
    receiving.#recheck = Recheck.choose(held, random);
    receiving.#makeFoldersReady(now);
    return receiving;
  }

  #restoreFile(file: number, kept: KeptFile): void {
    const state = this.#files[file];
    if (state === undefined || state.fate === 'unwanted') return;
    state.version = kept.version;
    if (kept.restated !== null) {
      this.#grownBytes += Math.max(kept.restated.sizeBytes - state.sizeBytes, 0);
      state.sizeBytes = kept.restated.sizeBytes;
      state.modifiedMs = kept.restated.modifiedMs;
    }
    if (kept.fate.kind === 'partial' || kept.fate.kind === 'placing') {
      const pieces = pieceCount(state.sizeBytes);
      for (const [piece, { version, hash }] of kept.pieces) {
        if (piece < pieces) state.pieces.set(piece, { hash, version, stage: 'durable' });
      }
      state.written = state.pieces.size;
      return;
    }
    state.fate = kept.fate.kind;
    if (kept.fate.kind === 'failed') state.failure = kept.fate.reason;
    this.#arriving -= 1;
    this.#open -= 1;
  }

  #makeFoldersReady(now: number): void {
    this.#files.forEach((state, file) => {
      if (state.isFolder && state.fate === 'arriving') this.#makeReady(now, file, state);
    });
  }

  /** Whether bytes of this file are still wanted. */
  isArriving(file: number): boolean {
    return this.#files[file]?.fate === 'arriving';
  }

  /** Whether every wanted entry is placed or failed. */
  get isComplete(): boolean {
    return this.#open === 0;
  }

  /** `true` once, when it becomes complete. */
  takeFinished(): boolean {
    if (this.#open > 0 || this.#toldFinished) return false;
    this.#toldFinished = true;
    return true;
  }

  // --- links ---

  handleLinkUp(): void {
    this.pausedByThem = null;
  }

  handleLinkLost(): void {
    this.#answer = { kind: 'given' };
    this.#again.clear();
    this.#noRoomFor.clear();
    this.#meter.restart();
    for (const state of this.#files) if (state.fate === 'arriving') state.root = null;
  }

  /** The offer is known on this link: says that it is accepted, and what is held. */
  answerAccept(out: Outbox): void {
    this.#answer = { kind: 'accept', from: 0 };
    this.#sayPaused(out);
  }

  /** The sender carries on: says what is held. */
  answerHave(out: Outbox): void {
    this.#beginHave();
    this.#sayPaused(out);
  }

  #beginHave(): void {
    // It says all of this; what comes up while it is being said is said after it.
    this.#untold = [];
    this.#unacknowledged.clear();
    this.#answer = { kind: 'have', place: HAVE_START };
  }

  #sayPaused(out: Outbox): void {
    if (this.pausedByUs !== null) out.say({ type: 'pause', transfer: this.id, reason: this.pausedByUs });
  }

  // --- data ---

  /** Whether bytes of `file` from `offset` to `end` are to be collected; otherwise they are let go. */
  handleChunk(file: number, offset: number, end: number, out: Outbox): boolean {
    const state = this.#file(file);
    if (state.fate === 'failed') return false;
    if (end > state.sizeBytes) throw new Violation('offset_out_of_range');
    const piece = Math.floor(offset / PIECE_BYTES);
    const held = state.pieces.get(piece);
    if (held?.version === state.version || state.fate !== 'arriving') return false;
    if (held !== undefined) this.#dropPiece(file, state, piece, out);
    return true;
  }

  pieceLength(file: number, piece: number): number {
    return pieceLength(this.#files[file]?.sizeBytes ?? 0, piece);
  }

  /** A piece was collected and its hash is right: has it written. */
  handlePiece(file: number, piece: number, bytes: Uint8Array, hash: Uint8Array, out: Outbox): void {
    const state = this.#file(file);
    if (!state.isOpen) this.#openPart(file, state, out);
    state.pieces.set(piece, { hash, version: state.version, stage: 'writing' });
    out.push({ kind: 'write', transfer: this.id, file, offset: piece * PIECE_BYTES, bytes });
  }

  #openPart(file: number, state: InFile, out: Outbox): void {
    state.isOpen = true;
    const path = this.manifest.paths[file];
    if (path !== undefined) out.push({ kind: 'open', transfer: this.id, file, path, sizeBytes: state.sizeBytes });
  }

  /** A piece was collected and its hash is wrong. */
  handleDamaged(file: number, piece: number, tries: number): void {
    const state = this.#file(file);
    state.damaged += 1;
    if (state.damaged >= tries) throw new Violation('piece_corrupt');
    this.#again.add(file, piece);
  }

  handleFileEnd(now: number, file: number, sizeBytes: number, root: Uint8Array, out: Outbox): void {
    const state = this.#file(file);
    if (state.fate !== 'arriving') return;
    if (state.sizeBytes !== sizeBytes) throw new Violation('offset_out_of_range');
    // The message it came in goes back to the channel.
    state.root = root.slice();
    this.#checkWhole(now, file, state, out);
  }

  handleRestate(file: number, sizeBytes: number, version: number, modifiedMs: number, growthBytes: number, out: Outbox): void {
    const transfer = this.id;
    const state = this.#file(file);
    if (state.fate !== 'arriving') return;
    if (version <= state.version) throw new Violation('bad_value');
    const oldBytes = state.sizeBytes;
    const cut = sortedKeys(state.pieces).filter((piece) => pieceLength(sizeBytes, piece) !== pieceLength(oldBytes, piece));
    state.version = version;
    state.sizeBytes = sizeBytes;
    state.modifiedMs = modifiedMs > 0 ? modifiedMs : null;
    state.root = null;
    state.isOpen = false;
    this.#grownBytes += Math.max(sizeBytes - oldBytes, 0);
    if (this.#grownBytes > growthBytes) {
      this.giveUp(file, 'changed', out);
      return;
    }
    const restated: JournalRecord = { record: 'restated', file, version, size_bytes: sizeBytes };
    if (state.modifiedMs !== null) restated.modified_ms = state.modifiedMs;
    const records: JournalRecord[] = [restated];
    for (const piece of cut) {
      this.#removePiece(file, state, piece);
      records.push({ record: 'dropped', file, piece });
    }
    out.push({ kind: 'journal', transfer, records, sync: true });
    out.tell({ type: 'restated', transfer, file, sizeBytes });
  }

  /** A piece is about to be written over; the journal must not vouch for it any more. */
  #dropPiece(file: number, state: InFile, piece: number, out: Outbox): void {
    this.#removePiece(file, state, piece);
    out.push({ kind: 'journal', transfer: this.id, records: [{ record: 'dropped', file, piece }], sync: true });
  }

  #removePiece(file: number, state: InFile, piece: number): void {
    const removed = state.pieces.get(piece);
    state.pieces.delete(piece);
    if (removed !== undefined && removed.stage !== 'writing') state.written -= 1;
    if (this.#dirty.delete(file, piece)) this.#forgetBytes(pieceLength(state.sizeBytes, piece));
  }

  #forgetBytes(bytes: number): void {
    this.#dirtyBytes = Math.max(this.#dirtyBytes - bytes, 0);
  }

  // --- what the disk says ---

  handleWritten(now: number, file: number, offset: number, out: Outbox): void {
    const piece = Math.floor(offset / PIECE_BYTES);
    const state = this.#files[file];
    const held = state?.pieces.get(piece);
    if (state === undefined || held?.stage !== 'writing') return;
    const length = pieceLength(state.sizeBytes, piece);
    held.stage = 'written';
    state.written += 1;
    this.#meter.add(now, length);
    this.#dirty.add(file, piece);
    this.#dirtyBytes += length;
    this.#dirtySince ??= now;
    this.#checkWhole(now, file, state, out);
  }

  handleWriteFailed(file: number, offset: number, error: WriteFailure, out: Outbox): void {
    const state = this.#files[file];
    if (state?.fate !== 'arriving') return;
    if (error === 'failed') {
      this.giveUp(file, 'cannot_write', out);
      return;
    }
    const piece = Math.floor(offset / PIECE_BYTES);
    state.isOpen = false;
    if (state.pieces.get(piece)?.stage === 'writing') {
      state.pieces.delete(piece);
      this.#noRoomFor.add(file, piece);
    }
    this.pause('no_space', out);
  }

  handleSynced(out: Outbox): void {
    const synced = this.#syncing?.sorted() ?? [];
    this.#syncing = null;
    const runs: { file: number; version: number; first: number; hashes: Uint8Array[] }[] = [];
    for (const { file, piece } of synced) {
      const state = this.#files[file];
      const held = state?.pieces.get(piece);
      if (state?.fate !== 'arriving' || held?.stage !== 'written') continue;
      held.stage = 'durable';
      const last = runs.at(-1);
      const goesOn = last?.file === file && last.version === held.version && last.first + last.hashes.length === piece;
      if (goesOn) last.hashes.push(held.hash);
      else runs.push({ file, version: held.version, first: piece, hashes: [held.hash] });
    }
    if (runs.length === 0) return;
    const records = runs.map((run): JournalRecord => ({ record: 'pieces', ...run, hashes: joinHashes(run.hashes) }));
    out.push({ kind: 'journal', transfer: this.id, records, sync: false });
  }

  #checkWhole(now: number, file: number, state: InFile, out: Outbox): void {
    if (state.root === null || state.fate !== 'arriving' || state.written < pieceCount(state.sizeBytes)) return;
    const hashes = sortedPieces(state).map(([, { hash }]) => hash);
    if (!sameHash(fileRoot(state.sizeBytes, hashes), state.root)) {
      this.giveUp(file, 'damaged', out);
      return;
    }
    // An empty file, or one that was whole before this page was loaded.
    if (!state.isOpen) this.#openPart(file, state, out);
    this.#makeReady(now, file, state);
  }

  #makeReady(now: number, file: number, state: InFile): void {
    state.fate = 'ready';
    state.isOpen = true;
    this.#readyAtOnce ||= state.sizeBytes >= PIECE_BYTES;
    this.#arriving -= 1;
    // Placing makes it durable as a whole.
    this.#forgetDirty(file, state);
    this.#ready.push(file);
    this.#readySince ??= now;
  }

  #forgetDirty(file: number, state: InFile): void {
    for (const piece of this.#dirty.takeFile(file)) this.#forgetBytes(pieceLength(state.sizeBytes, piece));
    if (this.#dirty.size === 0) {
      this.#dirtySince = null;
      this.#dirtyBytes = 0;
    }
  }

  handlePlaced(now: number, file: number, error: WriteFailure | null, out: Outbox): void {
    const transfer = this.id;
    const state = this.#files[file];
    if (!this.#placing.delete(file) || state === undefined) return;
    switch (error) {
      case null:
        state.fate = 'placed';
        state.pieces.clear();
        this.#open -= 1;
        this.#placed.push(file);
        out.tell({ type: 'file_done', transfer, file });
        break;
      case 'no_space':
        state.fate = 'ready';
        this.#ready.push(file);
        this.#readySince ??= now;
        this.pause('no_space', out);
        break;
      case 'failed':
        state.fate = 'ready';
        this.giveUp(file, 'cannot_write', out);
        break;
    }
    if (this.#placing.size > 0 || this.#placed.length === 0) return;
    const records = this.#placed.map((placed): JournalRecord => ({ record: 'placed', file: placed }));
    out.push({ kind: 'journal', transfer, records, sync: false });
    for (const placed of this.#placed) this.#unacknowledged.add(placed);
    this.#placed = [];
  }

  handleReadBack(file: number, offset: number, bytes: Uint8Array | null, out: Outbox): void {
    const piece = Math.floor(offset / PIECE_BYTES);
    const state = this.#files[file];
    const hash = bytes === null ? undefined : this.pieceHash(bytes);
    const matches = sameHash(state?.pieces.get(piece)?.hash, hash);
    if (this.#recheck.handleRead({ file, piece }, matches) && !matches && state !== undefined) {
      this.#dropPiece(file, state, piece, out);
    }
  }

  // --- what people and the other side decide ---

  /** This side gives a file up; `false` when it is settled already. */
  giveUp(file: number, reason: FileFailure, out: Outbox): boolean {
    const failed = this.#fail(file, reason, out);
    if (failed) this.#untold.push({ file, reason });
    return failed;
  }

  /** The other side gives a file up. */
  handleFail(file: number, reason: FileFailure, out: Outbox): void {
    if (this.#wanted(file) === null) throw new Violation('unknown_file');
    this.#fail(file, reason, out);
  }

  #fail(file: number, reason: FileFailure, out: Outbox): boolean {
    const transfer = this.id;
    const state = this.#wanted(file);
    // What is being placed either arrives or fails by itself a moment later.
    if (state === null || (state.fate !== 'arriving' && state.fate !== 'ready')) return false;
    if (state.fate === 'arriving') this.#arriving -= 1;
    state.fate = 'failed';
    state.failure = reason;
    state.pieces.clear();
    this.#open -= 1;
    this.#forgetDirty(file, state);
    this.#ready = this.#ready.filter((ready) => ready !== file);
    this.#again.takeFile(file);
    this.#noRoomFor.takeFile(file);
    out.push({ kind: 'discard', transfer, files: [file] });
    out.push({ kind: 'journal', transfer, records: [{ record: 'failed', file, reason }], sync: false });
    out.tell({ type: 'file_failed', transfer, file, reason });
    return true;
  }

  pause(reason: PauseReason, out: Outbox): void {
    if (this.pausedByUs !== null) return;
    this.pausedByUs = reason;
    out.say({ type: 'pause', transfer: this.id, reason });
    out.tell({ type: 'paused', transfer: this.id, reason, by: 'us' });
  }

  /** After a pause for want of space, what could not be stored is asked for again. */
  unpause(): void {
    this.pausedByUs = null;
    for (const { file, piece } of this.#noRoomFor.sorted()) this.#again.add(file, piece);
    this.#noRoomFor.clear();
  }

  #wanted(file: number): InFile | null {
    const state = this.#files[file];
    return state === undefined || state.fate === 'unwanted' ? null : state;
  }

  /** Folders carry no bytes. */
  #file(file: number): InFile {
    const state = this.#wanted(file);
    if (state === null || state.isFolder) throw new Violation('unknown_file');
    return state;
  }

  // --- batches ---

  /** Has written bytes made durable, whole files placed and old bytes read back, when it is time. */
  pull(now: number, config: Config, out: Outbox): void {
    const transfer = this.id;
    this.#recheck.pull(({ file, piece }) => {
      const { version = 0, sizeBytes = 0 } = this.#files[file] ?? {};
      const request = { transfer, file, version, offset: piece * PIECE_BYTES, length: pieceLength(sizeBytes, piece) };
      out.push({ kind: 'read', request });
    });
    if ((this.#syncDue(config) ?? Infinity) <= now) this.#sync(out);
    if ((this.#placeDue(config) ?? Infinity) <= now) this.#place(now, config, out);
  }

  pollTimeout(config: Config): number | null {
    const due = Math.min(this.#syncDue(config) ?? Infinity, this.#placeDue(config) ?? Infinity);
    return due === Infinity ? null : due;
  }

  #syncDue(config: Config): number | null {
    if (this.#dirtySince === null || this.#syncing !== null) return null;
    return this.#dirtyBytes >= config.syncBytes ? this.#dirtySince : this.#dirtySince + config.syncAfterMs;
  }

  #sync(out: Outbox): void {
    this.#dirtySince = null;
    this.#dirtyBytes = 0;
    this.#syncing = this.#dirty;
    this.#dirty = new PieceSet();
    const files = [...new Set(this.#syncing.sorted().map(({ file }) => file))];
    out.push({ kind: 'sync', transfer: this.id, files });
  }

  #placeDue(config: Config): number | null {
    const standsStill = this.pausedByUs === 'no_space';
    if (this.#readySince === null || this.#placing.size > 0 || standsStill) return null;
    const atOnce = this.#readyAtOnce || this.#arriving === 0 || this.#ready.length >= config.commitFiles;
    return atOnce ? this.#readySince : this.#readySince + config.commitAfterMs;
  }

  #place(now: number, config: Config, out: Outbox): void {
    const transfer = this.id;
    const batch = this.#ready.splice(0, config.commitFiles);
    this.#readySince = this.#ready.length > 0 ? now : null;
    this.#readyAtOnce = false;
    const entries: Placement[] = [];
    const records: JournalRecord[] = [];
    for (const file of batch) {
      const state = this.#files[file];
      const path = this.manifest.paths[file];
      if (state === undefined || path === undefined) continue;
      state.fate = 'placing';
      this.#placing.add(file);
      entries.push({ file, path, isFolder: state.isFolder, modifiedMs: state.modifiedMs });
      records.push({ record: 'placing', file });
    }
    out.push({ kind: 'journal', transfer, records, sync: true });
    out.push({ kind: 'place', transfer, entries });
  }

  // --- long lists, made when there is room ---

  pollMessage(): ControlMessage | null {
    const transfer = this.id;
    if (this.#answer.kind === 'accept') return this.#acceptPart(this.#answer.from);
    if (this.#answer.kind === 'have') return this.#recheck.isDone ? this.#havePart(this.#answer.place) : null;
    if (this.#again.size > 0 && this.pausedByUs === null) {
      return { type: 'again', transfer, pieces: this.#again.take(ITEMS_IN_MESSAGE) };
    }
    if (this.#untold.length > 0) {
      return { type: 'fail', transfer, files: this.#untold.splice(0, ITEMS_IN_MESSAGE / 2) };
    }
    if (this.#unacknowledged.size > 0) {
      const waiting = [...this.#unacknowledged].sort((one, other) => one - other);
      this.#unacknowledged = new Set(waiting.slice(ITEMS_IN_MESSAGE));
      return { type: 'received', transfer, files: spansOf(waiting.slice(0, ITEMS_IN_MESSAGE)) };
    }
    return null;
  }

  #acceptPart(from: number): ControlMessage {
    const all = [...this.#files.keys()].filter((file) => file >= from && this.#wanted(file) !== null);
    const spans = spansOf(all);
    const wanted = spans.slice(0, ITEMS_IN_MESSAGE);
    const last = spans.length <= ITEMS_IN_MESSAGE;
    const end = wanted.at(-1);
    if (last) this.#beginHave();
    else this.#answer = { kind: 'accept', from: end === undefined ? 0 : end.first + end.count };
    return { type: 'accept', transfer: this.id, wanted, last };
  }

  #havePart(place: HavePlace): ControlMessage {
    const have = new HaveBuilder();
    const next = have.fill(place, this.#files.map(asHeld));
    this.#answer = next === null ? { kind: 'given' } : { kind: 'have', place: next };
    return { type: 'have', transfer: this.id, done: have.done, failed: have.failed, files: have.held, last: next === null };
  }

  // --- what can be seen ---

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
    for (const state of this.#files) {
      if (state.fate === 'unwanted') continue;
      progress.entries += 1;
      if (state.fate === 'failed') {
        progress.failed += 1;
        continue;
      }
      progress.totalBytes += state.sizeBytes;
      if (state.fate === 'placed') {
        progress.done += 1;
        progress.verifiedBytes += state.sizeBytes;
        progress.durableBytes += state.sizeBytes;
      }
      for (const [piece, { stage }] of state.pieces) {
        const length = pieceLength(state.sizeBytes, piece);
        if (stage !== 'writing') progress.verifiedBytes += length;
        if (stage === 'durable') progress.durableBytes += length;
      }
    }
    progress.secondsLeft = this.#meter.secondsLeft(now, progress.totalBytes - progress.verifiedBytes);
    return progress;
  }
}

function newFile(entry: ManifestEntry): InFile {
  return {
    fate: 'unwanted',
    failure: 'other',
    isFolder: entry.kind === 'folder',
    sizeBytes: sizeOf(entry),
    modifiedMs: entry.kind === 'file' ? (entry.modified_ms ?? null) : null,
    version: 0,
    pieces: new Map(),
    written: 0,
    root: null,
    isOpen: false,
    damaged: 0,
  };
}

function sortedKeys(pieces: Map<number, Piece>): number[] {
  return [...pieces.keys()].sort((one, other) => one - other);
}

function sortedPieces(state: InFile): [number, Piece][] {
  return [...state.pieces].sort(([one], [other]) => one - other);
}

function asHeld(state: InFile): HaveFile {
  return {
    isPlaced: state.fate === 'placed',
    failure: state.fate === 'failed' ? state.failure : null,
    version: state.version,
    pieces: () => sortedPieces(state).map(([piece, { hash }]) => [piece, hash]),
  };
}
