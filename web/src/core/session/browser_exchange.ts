/** The transfer engine with what a page has: files to read, a sink to write to, links and timers. */
import type { Clock } from '../clock';
import type { RandomBytes } from '../pairing';
import type { Link } from '../peer/link';
import { encodeBase64Url } from '../protocol/base64url';
import type { DeclineReason } from '../protocol/generated/DeclineReason';
import type { ManifestEntry } from '../protocol/generated/ManifestEntry';
import type { Span } from '../protocol/generated/Span';
import type { KeptTransfer, Ledger } from '../storage/ledger';
import { SinkError, type Sink, type SinkFailure } from '../storage/sink';
import { BlobSource } from '../storage/source';
import {
  Exchange as Engine,
  Manifest,
  ManifestError,
  TextError,
  TransferError,
  type JournalRecord,
  type Output,
  type PieceHasher,
  type ReadRequest,
  type TransferEvent,
} from '../transfer';
import { manifestEntry, type Exchange, type ExchangeEvents, type ExchangeProgress, type OfferedEntry, type OutgoingItem } from './exchange';
import { Pace } from './pace';

/** Bytes in flight towards a phone: half of what a desktop page takes (FACTS §3). */
const SMALL_WINDOW_BYTES = 4 * 1024 * 1024;

export interface BrowserExchangeOptions {
  clock: Clock;
  random: RandomBytes;
  hashPiece: PieceHasher;
  sink: Sink;
  /** Where the journals of what is received go; the transfers in it are begun and ended by others. */
  ledger: Ledger;
  events: ExchangeEvents;
  /** A phone or tablet: smaller windows. */
  small: boolean;
}

/** One turn takes no longer, but for its last step: a quarter of what a page may keep a person waiting (UX §10). */
const TURN_MS = 12;

export class BrowserExchange implements Exchange {
  readonly #clock: Clock;
  readonly #random: RandomBytes;
  readonly #sink: Sink;
  readonly #ledger: Ledger;
  readonly #events: ExchangeEvents;
  readonly #engine: Engine;
  /** By transfer and number of the entry. */
  readonly #sources = new Map<string, (BlobSource | null)[]>();
  /** Received files that are whole, by transfer. */
  readonly #placed = new Map<string, Set<number>>();
  /** Journals that must be durable before anything else is done for their transfer. */
  readonly #holds = new Map<string, Promise<void>>();
  #link: Link | null = null;
  /** Of the link that is up. */
  #pace = new Pace();
  #cancelTimer: () => void = () => undefined;
  #turning = false;
  #over = false;

  constructor({ clock, random, hashPiece, sink, ledger, events, small }: BrowserExchangeOptions) {
    this.#clock = clock;
    this.#random = random;
    this.#sink = sink;
    this.#ledger = ledger;
    this.#events = events;
    this.#engine = new Engine({
      pieceHash: hashPiece,
      config: small ? { windowBytes: SMALL_WINDOW_BYTES } : {},
      random: () => this.#drawId() / 2 ** 53,
    });
  }

  handleUp(link: Link): void {
    this.#link = link;
    this.#pace = new Pace();
    this.#engine.linkUp(this.#clock.now(), link.maxMessageBytes);
    this.#turn();
  }

  handleDown(): void {
    this.#link = null;
    this.#engine.linkLost(this.#clock.now());
    this.#turn();
  }

  handleControl(text: string): void {
    this.#engine.handleControl(this.#clock.now(), text);
    this.#turn();
  }

  handleAlive(): void {
    this.#engine.handleAlive(this.#clock.now());
    this.#turn();
  }

  handleData(frame: Uint8Array): void {
    this.#engine.handleData(this.#clock.now(), frame);
    this.#turn();
  }

  handleWritable(): void {
    this.#turn();
  }

  handleOver(): void {
    this.#over = true;
    this.#link = null;
    this.#cancelTimer();
    this.#sources.clear();
  }

  offer(items: readonly OutgoingItem[]): string | null {
    const transfer = encodeBase64Url(this.#random(16));
    this.#sources.set(
      transfer,
      items.map((item) => (item.kind === 'file' ? new BlobSource(item.file) : null)),
    );
    const done = this.#try(() => {
      this.#engine.offer(transfer, Manifest.of(items.map(manifestEntry)));
    });
    if (!done) this.#sources.delete(transfer);
    return done ? transfer : null;
  }

  carryOn(transfer: string): boolean {
    const kept = this.#ledger.get(transfer);
    if (kept === null) return false;
    return kept.direction === 'send' ? this.#carryOnSending(kept) : this.#carryOnReceiving(transfer);
  }

  #carryOnSending({ id, entries, wanted }: KeptTransfer): boolean {
    const files = this.#ledger.files(id);
    if (files === null) return false;
    this.#sources.set(
      id,
      files.map((file) => (file === null ? null : new BlobSource(file))),
    );
    const done = this.#try(() => {
      this.#engine.restoreOutgoing(id, Manifest.of(entries), wanted);
    });
    if (!done) this.#sources.delete(id);
    return done;
  }

  #carryOnReceiving(transfer: string): boolean {
    const journal = this.#ledger.journal(transfer);
    if (journal === null) return false;
    const placed = [...journal.files].filter(([, { fate }]) => fate.kind === 'placed').map(([file]) => file);
    this.#placed.set(transfer, new Set(placed));
    return this.#try(() => {
      this.#engine.restoreIncoming(this.#clock.now(), journal);
    });
  }

  sendText(text: string): number | null {
    const id = this.#drawId();
    const done = this.#try(() => {
      this.#engine.sendText(id, text);
    });
    return done ? id : null;
  }

  accept(transfer: string): void {
    const entries = this.#engine.manifest(transfer)?.entries.length ?? 0;
    this.#try(() => {
      this.#engine.accept(this.#clock.now(), transfer, [{ first: 0, count: entries }]);
    });
  }

  decline(transfer: string, reason: DeclineReason): void {
    this.#try(() => {
      this.#engine.decline(transfer, reason);
    });
  }

  cancel(transfer: string): void {
    this.#try(() => {
      this.#engine.cancel(transfer, 'by_person');
    });
  }

  cancelFile(transfer: string, file: number): void {
    this.#try(() => {
      this.#engine.cancelFile(this.#clock.now(), transfer, file);
    });
  }

  accepted(transfer: string): readonly Span[] | null {
    return this.#engine.accepted(transfer);
  }

  pause(transfer: string): void {
    this.#try(() => {
      this.#engine.pause(transfer);
    });
  }

  resume(transfer: string): void {
    this.#try(() => {
      this.#engine.unpause(this.#clock.now(), transfer);
    });
  }

  progress(transfer: string): ExchangeProgress | null {
    return this.#engine.progress(this.#clock.now(), transfer);
  }

  /** Whether the engine took it. What it does not take (a transfer that just ended, say) needs no answer. */
  #try(step: () => void): boolean {
    if (this.#over) return false;
    let taken = true;
    try {
      step();
    } catch (error) {
      if (!(error instanceof TransferError || error instanceof ManifestError || error instanceof TextError)) throw error;
      taken = false;
    }
    this.#turn();
    return taken;
  }

  /**
   * Does and sends what there is to do and to send, for as long as the screen can wait. What that brings about is done in
   * the same turn, and what is left in the next one.
   */
  #turn(): void {
    if (this.#turning || this.#over) return;
    this.#turning = true;
    const end = this.#clock.now() + TURN_MS;
    let more = true;
    try {
      while (more && this.#clock.now() < end) more = this.#step();
    } finally {
      this.#turning = false;
    }
    this.#lookAtPace();
    if (more) this.#rest();
    else this.#wait();
  }

  /** Lets the page do something else before the next turn. */
  #rest(): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.after(0, () => {
      this.#turn();
    });
  }

  #step(): boolean {
    if (this.#over) return false;
    const output = this.#engine.pollOutput();
    if (output !== null) {
      this.#carryOut(output);
      return true;
    }
    const link = this.#link;
    if (link === null) return false;
    const text = this.#engine.pollControl(this.#clock.now());
    if (text !== null) {
      link.sendControl(text);
      return true;
    }
    const message = link.writable ? this.#engine.pollData(this.#clock.now()) : null;
    if (message === null) return false;
    link.sendData(message);
    return true;
  }

  /** Whether the link moves what waits for it (LK-46). */
  #lookAtPace(): void {
    const link = this.#link;
    if (this.#over || link === null) return;
    if (this.#pace.handleLook(this.#clock.now(), link.movedBytes, !link.writable)) this.#events.onSlow();
  }

  #wait(): void {
    this.#cancelTimer();
    if (this.#over) return;
    const engine = this.#engine.pollTimeout();
    const pace = this.#link === null ? null : this.#pace.pollTimeout();
    if (engine === null && pace === null) return;
    const at = Math.min(engine ?? Infinity, pace ?? Infinity);
    this.#cancelTimer = this.#clock.after(Math.max(at - this.#clock.now(), 0), () => {
      this.#engine.handleTimeout(this.#clock.now());
      this.#turn();
    });
  }

  #carryOut(output: Output): void {
    const { kind } = output;
    switch (kind) {
      case 'read': {
        const { request } = output;
        this.#answer(
          this.#read(request),
          (now, bytes) => {
            this.#engine.handleRead(now, request, { ok: true, bytes });
          },
          (now) => {
            this.#engine.handleRead(now, request, { ok: false, error: 'unreadable' });
          },
        );
        break;
      }
      case 'close_source':
        this.#sources.get(output.transfer)?.[output.file]?.close();
        break;
      case 'open':
        this.#after(output.transfer, () => this.#sink.open(output.transfer, output.file, output.sizeBytes)).catch((error: unknown) => {
          this.#later((now) => {
            this.#engine.handleWriteFailed(now, output.transfer, output.file, 0, failureOf(error));
          });
        });
        break;
      case 'write': {
        const { transfer, file, offset, bytes } = output;
        this.#answer(
          this.#after(transfer, () => this.#sink.write(transfer, file, offset, bytes)),
          (now) => {
            this.#engine.handleWritten(now, transfer, file, offset);
          },
          (now, error) => {
            this.#engine.handleWriteFailed(now, transfer, file, offset, failureOf(error));
          },
        );
        break;
      }
      case 'sync':
        this.#answer(
          this.#after(output.transfer, () => this.#sink.sync(output.transfer, output.files)).catch(() => undefined),
          (now) => {
            this.#engine.handleSynced(now, output.transfer);
          },
          () => undefined,
        );
        break;
      case 'journal':
        this.#note(output.transfer, output.records, output.sync);
        break;
      case 'place':
        for (const { file, isFolder } of output.entries) {
          this.#answer(
            this.#after(output.transfer, () => (isFolder ? Promise.resolve() : this.#sink.place(output.transfer, file))),
            (now) => {
              const placed = this.#placed.get(output.transfer) ?? new Set<number>();
              this.#placed.set(output.transfer, placed.add(file));
              this.#engine.handlePlaced(now, output.transfer, file, null);
            },
            (now, error) => {
              this.#engine.handlePlaced(now, output.transfer, file, failureOf(error));
            },
          );
        }
        break;
      case 'discard':
        void this.#after(output.transfer, () => this.#sink.discard(output.transfer, output.files)).catch(() => undefined);
        break;
      case 'forget':
        if (!this.#sources.delete(output.transfer)) void this.#forget(output.transfer).catch(() => undefined);
        break;
      case 'event':
        this.#tell(output.event);
        break;
      case 'close':
        this.#events.onViolation(output.by);
        break;
    }
  }

  /** Of a file that is sent, or back from the sink of one that is received. */
  #read({ transfer, file, offset, length }: ReadRequest): Promise<Uint8Array> {
    const sources = this.#sources.get(transfer);
    if (sources === undefined) return this.#sink.readPart(transfer, file, offset, length);
    return sources[file]?.read(offset, length) ?? Promise.reject(new Error('no such source'));
  }

  #note(transfer: string, records: readonly JournalRecord[], durable: boolean): void {
    const noted = this.#ledger.append(transfer, records, durable);
    if (!durable) return;
    this.#holds.set(transfer, noted);
    void noted.then(() => {
      if (this.#holds.get(transfer) === noted) this.#holds.delete(transfer);
    });
  }

  /** In the order of the outputs: nothing overtakes a journal that must be durable first. */
  #after<Value>(transfer: string, step: () => Promise<Value>): Promise<Value> {
    const hold = this.#holds.get(transfer);
    return hold === undefined ? step() : hold.then(step);
  }

  /** The transfer is over: what is not whole is removed. */
  async #forget(transfer: string): Promise<void> {
    const placed = this.#placed.get(transfer);
    this.#placed.delete(transfer);
    this.#ledger.forgetJournal(transfer);
    const parts = [...(await this.#sink.parts(transfer)).keys()];
    await this.#sink.discard(
      transfer,
      parts.filter((file) => placed?.has(file) !== true),
    );
  }

  #tell(event: TransferEvent): void {
    const events = this.#events;
    switch (event.type) {
      case 'offered': {
        const manifest = this.#engine.manifest(event.transfer);
        const entries = manifest?.entries.map((entry, at) => offeredEntry(entry, manifest.paths[at]?.text ?? '')) ?? [];
        const totalBytes = entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
        events.onOffered(event.transfer, entries, totalBytes);
        break;
      }
      case 'accepted':
        events.onAccepted(event.transfer);
        break;
      case 'declined':
        events.onDeclined(event.transfer, event.reason);
        break;
      case 'paused':
        events.onPaused(event.transfer, event.reason, event.by);
        break;
      case 'unpaused':
        events.onUnpaused(event.transfer);
        break;
      case 'refused':
        // Names that cannot be kept, or more entries than anybody sends: the engine has said no, nobody needs to be asked.
        break;
      case 'restated':
        break;
      case 'file_done':
        events.onFileDone(event.transfer, event.file);
        break;
      case 'file_failed':
        events.onFileFailed(event.transfer, event.file, event.reason);
        break;
      case 'finished':
        events.onFinished(event.transfer);
        break;
      case 'cancelled':
        events.onCancelled(event.transfer, event.reason, event.by);
        break;
      case 'text':
        events.onText(event.id, event.text);
        break;
      case 'text_delivered':
        events.onTextDelivered(event.id);
        break;
      case 'silent':
        events.onSilent();
        break;
      case 'heard':
        events.onHeard();
        break;
    }
  }

  /** Tells the engine what became of something it asked for, if anybody still cares. */
  #answer<Value>(work: Promise<Value>, done: (now: number, value: Value) => void, failed: (now: number, error: unknown) => void): void {
    work.then(
      (value) => {
        this.#later((now) => {
          done(now, value);
        });
      },
      (error: unknown) => {
        this.#later((now) => {
          failed(now, error);
        });
      },
    );
  }

  #later(step: (now: number) => void): void {
    if (this.#over) return;
    step(this.#clock.now());
    this.#turn();
  }

  /** 53 random bits, so that two texts never share a number. */
  #drawId(): number {
    const view = new DataView(new Uint8Array(this.#random(8)).buffer);
    return (view.getUint32(0) & 0x1f_ffff) * 2 ** 32 + view.getUint32(4);
  }
}

/** Shown and saved under the safe form of its path, never under what was sent. */
function offeredEntry(entry: ManifestEntry, path: string): OfferedEntry {
  const offered: OfferedEntry = { kind: entry.kind, path, sizeBytes: entry.kind === 'file' ? entry.size_bytes : 0 };
  return entry.path === path ? offered : { ...offered, offeredPath: entry.path };
}

function failureOf(error: unknown): SinkFailure {
  return error instanceof SinkError ? error.failure : 'failed';
}
