/** The rows of transfers, offers and texts: what the engines tell, in the form that the screens draw. */
import type { CancelReason } from '../core/protocol/generated/CancelReason';
import type { DeclineReason } from '../core/protocol/generated/DeclineReason';
import type { FileFailure } from '../core/protocol/generated/FileFailure';
import type { PauseReason } from '../core/protocol/generated/PauseReason';
import type { ManifestEntry } from '../core/protocol/generated/ManifestEntry';
import type { Platform } from '../core/protocol/generated/Platform';
import { manifestEntry, type Exchange, type OfferedEntry, type Party } from '../core/session/exchange';
import type { PeerId } from '../core/session/keeper';
import { findAgain, fingerprint } from '../core/storage/again';
import { PIECE_BYTES } from '../core/protocol/frame';
import type { KeptTransfer } from '../core/storage/ledger';
import { indicesOf, spansOf } from '../core/transfer/spans';
import type { Environment } from './environment';
import {
  MAX_LISTED_FILES,
  type DeviceView,
  type Model,
  type OfferView,
  type SendItem,
  type SpaceView,
  type TransferFailure,
  type TransferState,
  type TransferView,
  type Trust,
} from './model';
import type { Toasts } from './toasts';
import { baseName, declined, fileFailure, hrefOf, titleOf, zipName } from './transfer_terms';

/** Time to answer an offer. */
const ANSWER_MS = 60_000;
/** An agent that is there has made its links sooner. */
const LINKS_MS = 10_000;
/** Offers that wait for an answer at once; more are told that this device is busy. */
const WAITING_OFFERS = 8;
/** Entries of an offer that are shown. */
const SHOWN_ENTRIES = 200;
/** Ended rows that are kept. */
const ENDED_ROWS = 100;

/** Of so many files that are sent the ends are read once more, so that a person who picks them again can be told of another one. */
const FINGERPRINTS = 200;

interface Transfer {
  /** `null` while there is no session with the device. */
  exchange: Exchange | null;
  deviceId: string;
  peer: PeerId;
  platform: Platform;
  direction: 'send' | 'receive';
  entries: readonly OfferedEntry[];
  /** What a person chose to send, as long as this page remembers. */
  items: readonly SendItem[];
  /** It is written where the person chose, and needs no saving. */
  picked: boolean;
  /** Entries that are whole at the receiver. */
  done: Set<number>;
  failed: Set<number>;
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

  /** Shows what earlier visits left. */
  restore(): void {
    for (const kept of this.#environment.ledger.all().reverse()) {
      if (this.#row(kept.id) === undefined) this.#restoreRow(kept);
    }
  }

  #restoreRow(kept: KeptTransfer): void {
    const { id, direction, peer, platform, deviceName } = kept;
    const journal = direction === 'receive' ? this.#environment.ledger.journal(id) : null;
    const entries = kept.entries.map(offeredEntry);
    const done = new Set(indicesOf(kept.done));
    for (const [file, { fate }] of journal?.files ?? []) if (fate.kind === 'placed') done.add(file);
    const files = { picked: false, done, failed: new Set<number>(), failure: null };
    const transfer = { exchange: null, deviceId: peer, peer, platform, direction, entries, items: [], ...files };
    this.#transfers.set(id, transfer);
    const row = this.#addRow(id, peer, deviceName, transfer, { kind: 'kept', needs: this.#needs(id) });
    row.startedAtMs = kept.startedAtMs;
    for (const file of done) this.#showDone(row, transfer, file);
    row.doneBytes = [...done].reduce((sum, file) => sum + (entries[file]?.sizeBytes ?? 0), 0);
    for (const { pieces, fate } of journal?.files.values() ?? []) {
      if (fate.kind !== 'placed') row.doneBytes = Math.min(row.doneBytes + pieces.size * PIECE_BYTES, row.totalBytes);
    }
    if (kept.endedAtMs === null) return;
    const missing = row.fileCount - row.doneFiles;
    this.#show(row, missing === 0 ? { kind: 'done' } : { kind: 'partly_done', failedFiles: missing }, kept.endedAtMs);
  }

  /** A session with the device begins: what was broken off goes on over it. */
  handleMet(device: DeviceView, peer: PeerId, exchange: Exchange): void {
    for (const kept of this.#environment.ledger.all()) {
      const transfer = this.#transfers.get(kept.id);
      if (kept.peer !== peer || transfer === undefined) continue;
      transfer.exchange = exchange;
      transfer.deviceId = device.id;
      const row = this.#row(kept.id);
      if (row !== undefined) row.deviceId = device.id;
      this.#carryOn(kept.id);
    }
  }

  #carryOn(id: string): void {
    const row = this.#row(id);
    const carried = this.#transfers.get(id)?.exchange?.carryOn(id) ?? false;
    if (row?.state.kind !== 'kept') return;
    const connected = this.#model.devices.some((device) => device.id === row.deviceId && device.presence === 'connected');
    if (!carried) row.state = { kind: 'kept', needs: this.#needs(id) };
    else if (connected) row.state = { kind: 'moving' };
    else row.state = { kind: 'interrupted', sinceMs: this.#environment.wallClock() };
  }

  /** What has to be there before a transfer that was broken off can go on. */
  #needs(id: string): 'device' | 'permission' | 'files' {
    const { ledger } = this.#environment;
    const kept = ledger.get(id);
    if (kept?.direction !== 'send' || ledger.files(id) !== null) return 'device';
    const files = kept.entries.flatMap((entry, at) => (entry.kind === 'file' ? [kept.sources[at]?.handle ?? null] : []));
    return files.every((handle) => handle !== null) ? 'permission' : 'files';
  }

  /** The browser kept a way to the files: asks the person whether they may be read again, and goes on. */
  async readAgain(id: string): Promise<void> {
    const kept = this.#environment.ledger.get(id);
    if (kept === null) return;
    const items: SendItem[] = [];
    for (const [at, entry] of kept.entries.entries()) {
      const handle = kept.sources[at]?.handle ?? null;
      const file = handle === null ? null : await openAgain(handle);
      if (file !== null) items.push({ kind: 'file', path: entry.path, file });
    }
    await this.pickAgain(id, items);
  }

  /** The person chose the files once more: they are compared with those that were being sent. */
  async pickAgain(id: string, items: readonly SendItem[]): Promise<void> {
    const { ledger, hashPiece } = this.#environment;
    const kept = ledger.get(id);
    const row = this.#row(id);
    if (kept === null || row?.state.kind !== 'kept') return;
    const found = await findAgain(kept, items, hashPiece);
    if (found.kind === 'other') {
      this.#toasts.show({ kind: 'other_file', title: found.path, why: found.why });
      if (row.state.needs === 'permission') row.state = { kind: 'kept', needs: 'files' };
      return;
    }
    ledger.setFiles(id, found.files);
    row.state = { kind: 'kept', needs: 'device' };
    this.#carryOn(id);
  }

  /** This device offers. */
  offered(id: string, exchange: Exchange, device: DeviceView, peer: PeerId, items: readonly SendItem[]): void {
    const entries = items.map((item) => offeredEntry(manifestEntry(item)));
    const transfer = newTransfer(exchange, device, peer, 'send', entries, items);
    this.#transfers.set(id, transfer);
    this.#addRow(id, device.id, device.name, transfer, { kind: 'waiting' });
  }

  /** The other device offers. */
  handleOffered(
    id: string,
    exchange: Exchange,
    device: DeviceView,
    peer: PeerId,
    trust: Trust,
    entries: readonly OfferedEntry[],
    totalBytes: number,
    byPolicy: boolean,
  ): void {
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
      byPolicy,
      download: 'not_asked',
      expiresAtMs: 0,
    };
    this.#model.offers.push(offer);
    this.#transfers.set(id, newTransfer(exchange, device, peer, 'receive', entries, []));
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
    if (offer === undefined || transfer === undefined) return;
    if (offer.space.state === 'pick') void this.#acceptInto(id, transfer);
    if (offer.space.state !== 'fits') return;
    this.#environment.sink.expect(offer.totalBytes);
    const entries = transfer.entries.map(keptEntry);
    this.#keep(id, offer.deviceName, transfer, entries, [{ first: 0, count: entries.length }]);
    this.#accept(offer, transfer);
  }

  /** Into a file that the person chooses. Nothing of it is kept over a reload. */
  async #acceptInto(id: string, transfer: Transfer): Promise<void> {
    const name = baseName(transfer.entries[0]?.path ?? '');
    const chosen = (await this.#environment.pickPlace?.(id, name)) ?? false;
    // The time to answer may be over meanwhile.
    const offer = this.#model.offers.find((one) => one.id === id);
    if (!chosen || offer === undefined) return;
    transfer.picked = true;
    this.#accept(offer, transfer);
  }

  #accept({ id, deviceId, deviceName }: OfferView, transfer: Transfer): void {
    this.#removeOffer(id);
    this.#addRow(id, deviceId, deviceName, transfer, { kind: 'moving' });
    transfer.exchange?.accept(id);
  }

  /** The person wants the browser to download it. The device to ask for links; `null` when it need not be asked. */
  askForLinks(id: string): string | null {
    const offer = this.#model.offers.find((one) => one.id === id);
    if (offer?.space.state !== 'too_large' || offer.download === 'asked') return null;
    offer.download = 'asked';
    this.extendOffer(id);
    this.#environment.clock.after(LINKS_MS, () => {
      const waiting = this.#model.offers.find((one) => one.id === id);
      if (waiting?.download === 'asked') waiting.download = 'unanswered';
    });
    return offer.deviceId;
  }

  /** The links are there: the offer is over, and the browser goes on outside of this page (HT-31). */
  handleLinks(id: string, base: string): void {
    const offer = this.#model.offers.find((one) => one.id === id);
    const transfer = this.#transfers.get(id);
    if (offer?.download !== 'asked' || transfer === undefined) return;
    this.#removeOffer(id);
    transfer.exchange?.decline(id, 'other');
    const row = this.#addRow(id, offer.deviceId, offer.deviceName, transfer, { kind: 'by_browser' });
    this.#show(row, { kind: 'by_browser' }, this.#environment.wallClock());
    row.listHref = base;
    for (const file of row.files) {
      const entry = transfer.entries[file.id];
      file.href = hrefOf(base, entry?.offeredPath ?? file.path);
    }
    const [only] = row.files;
    // More than one at a time is what browsers ask their person about.
    if (row.fileCount === 1 && only?.href !== null && only !== undefined) this.#environment.download(only.href);
    this.#toasts.show({ kind: 'by_browser', title: row.title, fileCount: row.fileCount });
  }

  declineOffer(id: string, reason: DeclineReason): void {
    const offer = this.#model.offers.find((one) => one.id === id);
    const exchange = this.#transfers.get(id)?.exchange;
    if (offer === undefined || exchange === undefined) return;
    this.#removeOffer(id);
    this.#transfers.delete(id);
    exchange?.decline(id, reason);
  }

  handleAccepted(id: string): void {
    this.#setState(id, { kind: 'moving' });
    const transfer = this.#transfers.get(id);
    const row = this.#row(id);
    if (transfer === undefined || row === undefined) return;
    const entries = transfer.items.map(manifestEntry);
    this.#keep(id, row.deviceName, transfer, entries, transfer.exchange?.accepted(id) ?? []);
    void this.#keepFingerprints(id, transfer.items);
  }

  /** From here on it outlives the session and, where there is a disk, the page. */
  #keep(id: string, deviceName: string, transfer: Transfer, entries: ManifestEntry[], wanted: KeptTransfer['wanted']): void {
    const { ledger, wallClock } = this.#environment;
    const { direction, peer, platform, items } = transfer;
    const files = direction === 'send' ? items.map((item) => (item.kind === 'file' ? item.file : null)) : null;
    const sources = items.map((item) => ({ handle: (item.kind === 'file' ? item.handle : null) ?? null, first: null, last: null }));
    const times = { startedAtMs: wallClock(), updatedAtMs: wallClock(), endedAtMs: null, savedAtMs: null };
    ledger.begin({ id, direction, peer, deviceName, platform, entries, wanted, done: [], sources, ...times }, files);
  }

  async #keepFingerprints(id: string, items: readonly SendItem[]): Promise<void> {
    const { ledger, hashPiece, wallClock } = this.#environment;
    if (!ledger.durable || items.length > FINGERPRINTS) return;
    const sources = [];
    for (const item of items) {
      const handle = (item.kind === 'file' ? item.handle : null) ?? null;
      const ends = item.kind === 'file' ? await fingerprint(item.file, hashPiece).catch(() => null) : null;
      sources.push({ handle, first: ends?.first ?? null, last: ends?.last ?? null });
    }
    if (ledger.get(id)?.endedAtMs === null) ledger.change(id, wallClock(), { sources });
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
    if (transfer === undefined || row === undefined || transfer.done.has(file)) return;
    transfer.done.add(file);
    transfer.failed.delete(file);
    this.#showDone(row, transfer, file);
  }

  #showDone(row: TransferView, transfer: Transfer, file: number): void {
    if (transfer.entries[file]?.kind !== 'file') return;
    row.doneFiles += 1;
    const view = row.files.find((one) => one.id === file);
    if (view === undefined) return;
    view.state = 'done';
    view.doneBytes = view.sizeBytes;
  }

  handleFileFailed(id: string, file: number, reason: FileFailure): void {
    const transfer = this.#transfers.get(id);
    if (transfer === undefined) return;
    const failure = fileFailure(reason, transfer.direction);
    transfer.failed.add(file);
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
    // One that was carried on may have been over before.
    if (transfer === undefined || row === undefined || row.endedAtMs !== null) return;
    const { failure } = transfer;
    const failedFiles = transfer.failed.size;
    const { doneFiles } = row;
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
    for (const row of this.#rowsOf(deviceId)) {
      const transfer = this.#transfers.get(row.id);
      if (transfer !== undefined) transfer.exchange = null;
      // A break is a pause: what was accepted waits for the device.
      if (failure === 'device_gone' && this.#environment.ledger.get(row.id) !== null) this.#putAside(row);
      else this.#end(row.id, { kind: 'failed', failure });
    }
  }

  #putAside(row: TransferView): void {
    row.state = { kind: 'kept', needs: this.#needs(row.id) };
    row.bytesPerSecond = null;
    row.etaSeconds = null;
    row.route = null;
  }

  pause(id: string): void {
    this.#transfers.get(id)?.exchange?.pause(id);
  }

  resume(id: string): void {
    this.#transfers.get(id)?.exchange?.resume(id);
  }

  /** Stops it, or takes an ended one off the list. */
  cancel(id: string): void {
    const row = this.#row(id);
    if (row === undefined) return;
    if (row.endedAtMs !== null) {
      this.remove(id);
      return;
    }
    this.#transfers.get(id)?.exchange?.cancel(id);
    // The engine says so too, at once or when the link is back.
    if (this.#row(id)?.endedAtMs === null) this.#end(id, { kind: 'cancelled', by: 'us' });
  }

  /** Gives up one file; the others go on. */
  cancelFile(id: string, file: number): void {
    this.#transfers.get(id)?.exchange?.cancelFile(id, file);
  }

  /** What of a sent batch did not arrive, to be offered once more. */
  failedItems(id: string): { deviceId: string; items: SendItem[] } | null {
    const transfer = this.#transfers.get(id);
    if (transfer === undefined) return null;
    const items = transfer.items.filter((_, at) => transfer.failed.has(at));
    return items.length === 0 ? null : { deviceId: transfer.deviceId, items };
  }

  /** Removes the row and what was received. */
  remove(id: string): void {
    const row = this.#row(id);
    if (row === undefined || row.endedAtMs === null) return;
    this.#model.transfers = this.#model.transfers.filter((one) => one.id !== id);
    this.#transfers.delete(id);
    this.#dropCopy(id, row.direction);
  }

  #dropCopy(id: string, direction: 'send' | 'receive'): void {
    const { sink, ledger } = this.#environment;
    if (direction === 'receive') void sink.remove(id).catch(() => undefined);
    void ledger.drop(id);
  }

  async saveFile(id: string, file: number): Promise<void> {
    const entry = this.#transfers.get(id)?.entries[file];
    if (entry?.kind !== 'file') return;
    const { path } = entry;
    await this.#environment.save(baseName(path), [{ path, content: await this.#environment.sink.read(id, file) }]);
  }

  /** A single file as it is, several as one zip. */
  async saveAll(id: string): Promise<void> {
    const { sink, ledger, wallClock, save } = this.#environment;
    const transfer = this.#transfers.get(id);
    if (this.#row(id)?.canSave !== true || transfer === undefined) return;
    const parts: { path: string; content: Blob | null }[] = [];
    for (const [file, { kind, path }] of transfer.entries.entries()) {
      const content = kind === 'file' ? await sink.read(id, file).catch(() => null) : null;
      if (kind === 'folder' || content !== null) parts.push({ path, content });
    }
    const [only] = transfer.entries;
    const alone = transfer.entries.length === 1 && only !== undefined;
    await save(alone ? baseName(only.path) : zipName(transfer.entries), parts);
    ledger.change(id, wallClock(), { savedAtMs: wallClock() });
  }

  /** Brings the figures of everything that moves up to date. */
  refresh(): void {
    for (const row of this.#model.transfers) {
      const transfer = this.#transfers.get(row.id);
      if (transfer === undefined || row.endedAtMs !== null) continue;
      const progress = transfer.exchange?.progress(row.id) ?? null;
      if (progress === null || row.state.kind === 'kept') continue;
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

  #addRow(id: string, deviceId: string, deviceName: string, transfer: Transfer, state: TransferState): TransferView {
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
        href: null,
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
      canRetry: false,
      storage: this.#environment.sink.storage,
      listHref: null,
    };
    const ended = this.#model.transfers.filter(({ endedAtMs }) => endedAtMs !== null);
    for (const old of ended.slice(ENDED_ROWS)) this.remove(old.id);
    this.#model.transfers.unshift(row);
    // The one in the model is what the screens follow.
    return this.#row(id) ?? row;
  }

  async #checkSpace(id: string, totalBytes: number): Promise<void> {
    const { sink } = this.#environment;
    const freeBytes = await sink.freeBytes();
    const pickable = this.#environment.pickPlace !== null && this.#transfers.get(id)?.entries.length === 1;
    if (pickable && freeBytes !== null && totalBytes > freeBytes / 2) {
      this.#setSpace(id, { state: 'pick', freeBytes });
      return;
    }
    const tooLarge = freeBytes !== null && totalBytes > freeBytes;
    this.#setSpace(
      id,
      tooLarge ? { state: 'too_large', limitBytes: freeBytes, where: sink.storage } : { state: 'fits', freeBytes },
    );
  }

  #setSpace(id: string, space: SpaceView): void {
    const offer = this.#model.offers.find((one) => one.id === id);
    if (offer === undefined) return;
    offer.space = space;
    if (!offer.byPolicy) return;
    if (space.state === 'fits') this.acceptOffer(id);
    // It does not fit: a person has to know.
    else offer.byPolicy = false;
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
    const transfer = this.#transfers.get(id);
    if (row === undefined || transfer === undefined) return;
    this.#show(row, state, this.#environment.wallClock());
    if (row.canSave) this.#environment.ledger.end(id, this.#environment.wallClock(), spansOf([...transfer.done].sort((one, other) => one - other)));
    else this.#dropCopy(id, row.direction);
    // An engine removes what it did not finish; where there is none, nobody else does.
    if (row.canSave && transfer.exchange === null) void this.#dropParts(id, transfer.done);
  }

  async #dropParts(id: string, done: ReadonlySet<number>): Promise<void> {
    const { sink, ledger } = this.#environment;
    ledger.forgetJournal(id);
    const parts = [...(await sink.parts(id)).keys()];
    await sink.discard(
      id,
      parts.filter((file) => !done.has(file)),
    );
  }

  #show(row: TransferView, state: TransferState, endedAtMs: number): void {
    row.state = state;
    row.endedAtMs = endedAtMs;
    row.bytesPerSecond = null;
    row.etaSeconds = null;
    // What is whole can be saved, however the rest of it ended.
    row.canSave = row.direction === 'receive' && row.doneFiles > 0 && this.#transfers.get(row.id)?.picked !== true;
    row.canRetry = row.direction === 'send' && (this.#transfers.get(row.id)?.failed.size ?? 0) > 0;
  }
}

function newTransfer(
  exchange: Exchange,
  device: DeviceView,
  peer: PeerId,
  direction: 'send' | 'receive',
  entries: readonly OfferedEntry[],
  items: readonly SendItem[],
): Transfer {
  const { id: deviceId, platform } = device;
  const files = { picked: false, done: new Set<number>(), failed: new Set<number>(), failure: null };
  return { exchange, deviceId, peer, platform, direction, entries, items, ...files };
}

function offeredEntry(entry: ManifestEntry): OfferedEntry {
  return { kind: entry.kind, path: entry.path, sizeBytes: entry.kind === 'file' ? entry.size_bytes : 0 };
}

function keptEntry({ kind, path, sizeBytes }: OfferedEntry): ManifestEntry {
  return kind === 'file' ? { kind, path, size_bytes: sizeBytes } : { kind, path };
}

interface Asking extends FileSystemFileHandle {
  requestPermission?(wish: { mode: 'read' }): Promise<PermissionState>;
}

/** The file behind a handle, if the person and the disk still give it. */
async function openAgain(handle: FileSystemFileHandle): Promise<File | null> {
  try {
    // Not in every browser that has handles, and not in the types.
    const asking: Asking = handle;
    const answer = (await asking.requestPermission?.({ mode: 'read' })) ?? 'granted';
    if (answer !== 'granted') return null;
    return await handle.getFile();
  } catch {
    return null;
  }
}
