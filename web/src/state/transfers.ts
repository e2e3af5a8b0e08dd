/** The rows of transfers, offers and texts: what the engines tell, in the form that the screens draw. */
import type { CancelReason } from '../core/protocol/generated/CancelReason';
import type { DeclineReason } from '../core/protocol/generated/DeclineReason';
import type { FileFailure } from '../core/protocol/generated/FileFailure';
import type { PauseReason } from '../core/protocol/generated/PauseReason';
import type { Exchange, OfferedEntry, Party } from '../core/session/exchange';
import type { Environment } from './environment';
import {
  MAX_LISTED_FILES,
  type DeviceView,
  type Model,
  type OfferView,
  type SpaceView,
  type TransferFailure,
  type TransferState,
  type TransferView,
  type Trust,
} from './model';
import type { Toasts } from './toasts';

/** Time to answer an offer. */
const ANSWER_MS = 60_000;
/** Offers that wait for an answer at once; more are told that this device is busy. */
const WAITING_OFFERS = 8;
/** Entries of an offer that are shown. */
const SHOWN_ENTRIES = 200;
/** Ended rows that are kept. */
const ENDED_ROWS = 100;

interface Transfer {
  exchange: Exchange;
  deviceId: string;
  direction: 'send' | 'receive';
  entries: readonly OfferedEntry[];
  doneFiles: number;
  failedFiles: number;
  /** Of the files that failed: why, to be said when nothing arrived. */
  failure: TransferFailure | null;
}

export class Transfers {
  readonly #model: Model;
  readonly #environment: Environment;
  readonly #toasts: Toasts;
  readonly #transfers = new Map<string, Transfer>();
  readonly #expiries = new Map<string, () => void>();

  constructor(model: Model, environment: Environment, toasts: Toasts) {
    this.#model = model;
    this.#environment = environment;
    this.#toasts = toasts;
  }

  /** Something moves or may move, so that progress is worth a look. */
  get busy(): boolean {
    return this.#model.transfers.some(({ endedAtMs }) => endedAtMs === null);
  }

  /** This device offers. */
  offered(id: string, exchange: Exchange, device: DeviceView, entries: readonly OfferedEntry[]): void {
    this.#add(id, exchange, device, 'send', entries, { kind: 'waiting' });
  }

  /** The other device offers. */
  handleOffered(id: string, exchange: Exchange, device: DeviceView, trust: Trust, entries: readonly OfferedEntry[], totalBytes: number): void {
    if (this.#model.offers.length >= WAITING_OFFERS) {
      exchange.decline(id, 'busy');
      return;
    }
    const offer: OfferView = {
      id,
      deviceId: device.id,
      deviceName: device.name,
      platform: device.platform,
      trust,
      entries: entries.slice(0, SHOWN_ENTRIES).map(({ kind, path, sizeBytes }) => ({ kind, path, sizeBytes })),
      entryCount: entries.length,
      fileCount: entries.filter(({ kind }) => kind === 'file').length,
      totalBytes,
      space: { state: 'checking' },
      expiresAtMs: 0,
    };
    this.#model.offers.push(offer);
    this.#transfers.set(id, {
      exchange,
      deviceId: device.id,
      direction: 'receive',
      entries,
      doneFiles: 0,
      failedFiles: 0,
      failure: null,
    });
    this.extendOffer(id);
    this.#checkSpace(id, totalBytes).catch(() => {
      this.#setSpace(id, { state: 'fits', freeBytes: null });
    });
  }

  /** Another while to answer. */
  extendOffer(id: string): void {
    const offer = this.#model.offers.find((one) => one.id === id);
    if (offer === undefined) return;
    offer.expiresAtMs = this.#environment.wallClock() + ANSWER_MS;
    this.#expiries.get(id)?.();
    this.#expiries.set(
      id,
      this.#environment.clock.after(ANSWER_MS, () => {
        this.declineOffer(id, 'no_answer');
      }),
    );
  }

  acceptOffer(id: string): void {
    const offer = this.#model.offers.find((one) => one.id === id);
    const transfer = this.#transfers.get(id);
    if (offer?.space.state !== 'fits' || transfer === undefined) return;
    this.#removeOffer(id);
    this.#addRow(id, offer.deviceId, offer.deviceName, transfer, { kind: 'moving' });
    transfer.exchange.accept(id);
  }

  declineOffer(id: string, reason: DeclineReason): void {
    const offer = this.#model.offers.find((one) => one.id === id);
    const exchange = this.#transfers.get(id)?.exchange;
    if (offer === undefined || exchange === undefined) return;
    this.#removeOffer(id);
    this.#transfers.delete(id);
    exchange.decline(id, reason);
  }

  handleAccepted(id: string): void {
    this.#setState(id, { kind: 'moving' });
  }

  handleDeclined(id: string, reason: DeclineReason): void {
    const row = this.#row(id);
    if (row === undefined) return;
    this.#end(id, { kind: 'declined', reason: declined(reason) });
    this.#toasts.show({ kind: 'offer_declined', name: row.deviceName });
  }

  handlePaused(id: string, reason: PauseReason, by: Party): void {
    this.#setState(id, { kind: 'paused', by, reason: reason === 'no_space' ? 'space' : 'person' });
  }

  handleUnpaused(id: string): void {
    this.#setState(id, { kind: 'moving' });
  }

  handleFileDone(id: string, file: number): void {
    const transfer = this.#transfers.get(id);
    const row = this.#row(id);
    if (transfer === undefined || row === undefined || transfer.entries[file]?.kind !== 'file') return;
    transfer.doneFiles += 1;
    row.doneFiles = transfer.doneFiles;
    const view = row.files.find((one) => one.id === file);
    if (view !== undefined) {
      view.state = 'done';
      view.doneBytes = view.sizeBytes;
    }
  }

  handleFileFailed(id: string, file: number, reason: FileFailure): void {
    const transfer = this.#transfers.get(id);
    if (transfer === undefined) return;
    const failure = fileFailure(reason, transfer.direction);
    transfer.failedFiles += 1;
    transfer.failure = failure;
    const view = this.#row(id)?.files.find((one) => one.id === file);
    if (view !== undefined) {
      view.state = 'failed';
      view.failure = failure;
    }
  }

  handleFinished(id: string): void {
    const transfer = this.#transfers.get(id);
    const row = this.#row(id);
    if (transfer === undefined || row === undefined) return;
    const { failedFiles, doneFiles, failure } = transfer;
    // The engine has let go of an ended transfer, and with it of the last figures.
    if (failedFiles === 0) row.doneBytes = row.totalBytes;
    if (failedFiles === 0) this.#end(id, { kind: 'done' });
    else if (doneFiles > 0) this.#end(id, { kind: 'partly_done', failedFiles });
    else this.#end(id, { kind: 'failed', failure: failure ?? 'protocol' });
    const { title, fileCount, direction } = row;
    if (doneFiles > 0 || failedFiles === 0) {
      this.#toasts.show({ kind: 'transfer_done', transferId: id, title, fileCount, direction });
    } else {
      this.#toasts.show({ kind: 'transfer_failed', transferId: id, title, failure: failure ?? 'protocol' });
    }
  }

  handleCancelled(id: string, reason: CancelReason, by: Party): void {
    // Before the answer a cancelled offer just goes away.
    this.#removeOffer(id);
    const row = this.#row(id);
    if (row === undefined) {
      this.#transfers.delete(id);
      return;
    }
    if (row.endedAtMs !== null) return;
    if (reason === 'by_person') {
      this.#end(id, { kind: 'cancelled', by });
      this.#toasts.show({ kind: 'transfer_cancelled', transferId: id, title: row.title, by });
    } else {
      const failure = reason === 'failed' ? 'not_written' : 'device_gone';
      this.#end(id, { kind: 'failed', failure });
      this.#toasts.show({ kind: 'transfer_failed', transferId: id, title: row.title, failure });
    }
  }

  /** The device's link is lost: what moved stands still, and goes on by itself. */
  handleDeviceAway(deviceId: string): void {
    for (const row of this.#rowsOf(deviceId)) {
      if (row.state.kind === 'moving') row.state = { kind: 'interrupted', sinceMs: this.#environment.wallClock() };
      row.bytesPerSecond = null;
      row.etaSeconds = null;
      row.route = null;
    }
  }

  handleDeviceBack(deviceId: string): void {
    for (const row of this.#rowsOf(deviceId)) {
      if (row.state.kind === 'interrupted') row.state = { kind: 'moving' };
    }
  }

  /** The device is gone for good, and with it everything unfinished. */
  handleDeviceGone(deviceId: string, failure: TransferFailure): void {
    for (const offer of this.#model.offers.filter((one) => one.deviceId === deviceId)) {
      this.#removeOffer(offer.id);
      this.#transfers.delete(offer.id);
    }
    for (const row of this.#rowsOf(deviceId)) this.#end(row.id, { kind: 'failed', failure });
  }

  pause(id: string): void {
    this.#transfers.get(id)?.exchange.pause(id);
  }

  resume(id: string): void {
    this.#transfers.get(id)?.exchange.resume(id);
  }

  /** Stops it, or takes an ended one off the list. */
  cancel(id: string): void {
    const row = this.#row(id);
    if (row === undefined) return;
    if (row.endedAtMs !== null) {
      this.remove(id);
      return;
    }
    this.#transfers.get(id)?.exchange.cancel(id);
    // The engine says so too, at once or when the link is back.
    if (this.#row(id)?.endedAtMs === null) this.#end(id, { kind: 'cancelled', by: 'us' });
  }

  /** Removes the row and what was received. */
  remove(id: string): void {
    const row = this.#row(id);
    if (row === undefined || row.endedAtMs === null) return;
    this.#model.transfers = this.#model.transfers.filter((one) => one.id !== id);
    this.#transfers.delete(id);
    if (row.direction === 'receive') void this.#environment.sink.remove(id).catch(() => undefined);
  }

  async saveFile(id: string, file: number): Promise<void> {
    const entry = this.#transfers.get(id)?.entries[file];
    if (entry?.kind !== 'file') return;
    this.#environment.save(baseName(entry.path), await this.#environment.sink.read(id, file));
  }

  /** A single file as it is, several as one zip. */
  async saveAll(id: string): Promise<void> {
    const row = this.#row(id);
    const transfer = this.#transfers.get(id);
    if (row === undefined || transfer === undefined || !row.canSave) return;
    const files = transfer.entries.flatMap((entry, file) => (entry.kind === 'file' ? [{ path: entry.path, file }] : []));
    const [only] = files;
    if (only !== undefined && transfer.entries.length === 1) {
      await this.saveFile(id, only.file);
      return;
    }
    const { downloadZip } = await import('client-zip');
    const { sink } = this.#environment;
    const parts = async function* () {
      for (const [file, entry] of transfer.entries.entries()) {
        if (entry.kind === 'folder') {
          yield { name: `${entry.path}/` };
          continue;
        }
        const content = await sink.read(id, file).catch(() => null);
        if (content !== null) yield { name: entry.path, input: content.stream(), size: content.size };
      }
    };
    this.#environment.save(zipName(transfer.entries), await downloadZip(parts()).blob());
  }

  /** Brings the figures of everything that moves up to date. */
  refresh(): void {
    for (const row of this.#model.transfers) {
      const transfer = this.#transfers.get(row.id);
      if (transfer === undefined || row.endedAtMs !== null) continue;
      const progress = transfer.exchange.progress(row.id);
      if (progress === null) continue;
      row.totalBytes = progress.totalBytes;
      row.doneBytes = progress.verifiedBytes;
      const moving = row.state.kind === 'moving';
      row.bytesPerSecond = moving && progress.bytesPerSecond > 0 ? progress.bytesPerSecond : null;
      row.etaSeconds = moving ? progress.secondsLeft : null;
      const [only] = row.files;
      if (only !== undefined && row.fileCount === 1 && only.state !== 'failed') {
        only.doneBytes = progress.verifiedBytes;
        if (only.state === 'waiting' && progress.verifiedBytes > 0) only.state = 'moving';
      }
    }
  }

  #add(
    id: string,
    exchange: Exchange,
    device: DeviceView,
    direction: 'send' | 'receive',
    entries: readonly OfferedEntry[],
    state: TransferState,
  ): void {
    const transfer = { exchange, deviceId: device.id, direction, entries, doneFiles: 0, failedFiles: 0, failure: null };
    this.#transfers.set(id, transfer);
    this.#addRow(id, device.id, device.name, transfer, state);
  }

  #addRow(id: string, deviceId: string, deviceName: string, transfer: Transfer, state: TransferState): void {
    const files = transfer.entries.flatMap((entry, file) => (entry.kind === 'file' ? [{ ...entry, file }] : []));
    const row: TransferView = {
      id,
      deviceId,
      deviceName,
      direction: transfer.direction,
      title: titleOf(transfer.entries),
      fileCount: files.length,
      doneFiles: 0,
      files: files.slice(0, MAX_LISTED_FILES).map(({ file, path, sizeBytes }) => ({
        id: file,
        path,
        sizeBytes,
        doneBytes: 0,
        state: 'waiting',
        failure: null,
      })),
      state,
      totalBytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      doneBytes: 0,
      bytesPerSecond: null,
      etaSeconds: null,
      route: null,
      startedAtMs: this.#environment.wallClock(),
      endedAtMs: null,
      canSave: false,
      storage: this.#environment.sink.storage,
    };
    const ended = this.#model.transfers.filter(({ endedAtMs }) => endedAtMs !== null);
    for (const old of ended.slice(ENDED_ROWS)) this.remove(old.id);
    this.#model.transfers.unshift(row);
  }

  async #checkSpace(id: string, totalBytes: number): Promise<void> {
    const { sink } = this.#environment;
    const freeBytes = await sink.freeBytes();
    const tooLarge = freeBytes !== null && totalBytes > freeBytes;
    this.#setSpace(
      id,
      tooLarge ? { state: 'too_large', limitBytes: freeBytes, where: sink.storage } : { state: 'fits', freeBytes },
    );
  }

  #setSpace(id: string, space: SpaceView): void {
    const offer = this.#model.offers.find((one) => one.id === id);
    if (offer !== undefined) offer.space = space;
  }

  #removeOffer(id: string): void {
    this.#expiries.get(id)?.();
    this.#expiries.delete(id);
    this.#model.offers = this.#model.offers.filter((one) => one.id !== id);
  }

  #row(id: string): TransferView | undefined {
    return this.#model.transfers.find((one) => one.id === id);
  }

  #rowsOf(deviceId: string): TransferView[] {
    return this.#model.transfers.filter((row) => row.deviceId === deviceId && row.endedAtMs === null);
  }

  #setState(id: string, state: TransferState): void {
    const row = this.#row(id);
    if (row?.endedAtMs === null) row.state = state;
  }

  #end(id: string, state: TransferState): void {
    const row = this.#row(id);
    if (row === undefined) return;
    row.state = state;
    row.endedAtMs = this.#environment.wallClock();
    row.bytesPerSecond = null;
    row.etaSeconds = null;
    // What is whole can be saved, however the rest of it ended.
    row.canSave = row.direction === 'receive' && row.doneFiles > 0;
  }
}

function declined(reason: DeclineReason): Extract<TransferState, { kind: 'declined' }>['reason'] {
  switch (reason) {
    case 'no_answer':
      return 'no_answer';
    case 'no_space':
      return 'space';
    case 'bad_manifest':
      return 'unsupported';
    case 'declined':
    case 'busy':
    case 'other':
      return 'person';
  }
}

function fileFailure(reason: FileFailure, direction: 'send' | 'receive'): TransferFailure {
  switch (reason) {
    case 'changed':
    case 'unreadable':
      return reason;
    case 'cannot_write':
      return 'not_written';
    case 'damaged':
      return 'hash_mismatch';
    case 'cancelled':
    case 'other':
      return direction === 'send' ? 'not_written' : 'unreadable';
  }
}

/** The first name of the batch; of a folder, the folder's. */
function titleOf(entries: readonly OfferedEntry[]): string {
  return entries[0]?.path.split('/')[0] ?? '';
}

function baseName(path: string): string {
  return path.split('/').at(-1) ?? path;
}

/** After the folder that everything is in, if there is one. */
function zipName(entries: readonly OfferedEntry[]): string {
  const [first, ...others] = new Set(entries.map(({ path }) => path.split('/')[0] ?? ''));
  return others.length === 0 && first !== undefined && first !== '' ? `${first}.zip` : 'Lanyard.zip';
}
