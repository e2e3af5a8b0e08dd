/** Two exchanges back to back over queues, with disks in memory. For tests. */
import type { ManifestEntry } from '../protocol/generated/ManifestEntry';
import type { Config } from './config';
import { Exchange } from './exchange';
import type { PieceHasher } from './hash';
import { Kept, encodeRecords } from './journal';
import { Manifest } from './manifest';
import type { Output, ReadResult, TransferEvent, WriteFailure } from './output';

export interface NamedBytes {
  path: string;
  bytes: Uint8Array;
}

export function fileEntry({ path, bytes }: NamedBytes): ManifestEntry {
  return { kind: 'file', path, size_bytes: bytes.length, modified_ms: 1000 };
}

/** One side: an exchange and what its shell has. */
export class WiredDevice {
  exchange: Exchange;
  readonly sources = new Map<string, Uint8Array>();
  readonly parts = new Map<string, Uint8Array>();
  readonly journals = new Map<string, Uint8Array>();
  readonly placed = new Map<string, Uint8Array>();
  readonly folders: string[] = [];
  readonly events: TransferEvent[] = [];
  closed: string | null = null;
  accepts = true;
  writeError: WriteFailure | null = null;
  bytesWritten = 0;
  bytesSent = 0;

  constructor(
    private readonly pieceHash: PieceHasher,
    private readonly config: Partial<Config>,
  ) {
    this.exchange = new Exchange({ pieceHash, config, random: () => 0.5 });
  }

  offer(transfer: string, files: readonly NamedBytes[], folders: readonly string[] = []): Manifest {
    files.forEach(({ bytes }, file) => this.sources.set(`${transfer}/${String(file)}`, bytes));
    const entries: ManifestEntry[] = [...files.map(fileEntry), ...folders.map((path): ManifestEntry => ({ kind: 'folder', path }))];
    const manifest = Manifest.of(entries);
    this.exchange.offer(transfer, manifest);
    return manifest;
  }

  saw(type: TransferEvent['type']): boolean {
    return this.events.some((event) => event.type === type);
  }

  /** Does everything that is asked for, and answers at once. */
  work(now: number): void {
    for (let output = this.exchange.pollOutput(); output !== null; output = this.exchange.pollOutput()) {
      this.#carryOut(now, output);
    }
  }

  /** The page is reloaded; the disk keeps its files and its journal. */
  reload(now: number): void {
    const before = this.exchange;
    this.exchange = new Exchange({ pieceHash: this.pieceHash, config: this.config, random: () => 0.5 });
    for (const transfer of before.outgoing()) {
      const manifest = before.manifest(transfer);
      const accepted = before.accepted(transfer);
      if (manifest !== null && accepted !== null) this.exchange.restoreOutgoing(transfer, manifest, accepted);
    }
    for (const journal of this.journals.values()) {
      const kept = Kept.read(journal);
      for (const file of kept.parts()) if (!this.parts.has(`${kept.transfer}/${String(file)}`)) kept.partIsMissing(file);
      this.exchange.restoreIncoming(now, kept);
    }
  }

  #carryOut(now: number, output: Output): void {
    switch (output.kind) {
      case 'read': {
        const { transfer, file, offset, length } = output.request;
        const key = `${transfer}/${String(file)}`;
        const bytes = (this.sources.get(key) ?? this.parts.get(key))?.slice(offset, offset + length);
        const result: ReadResult = bytes === undefined ? { ok: false, error: 'unreadable' } : { ok: true, bytes };
        this.exchange.handleRead(now, output.request, result);
        return;
      }
      case 'open': {
        const key = `${output.transfer}/${String(output.file)}`;
        const part = new Uint8Array(output.sizeBytes);
        part.set((this.parts.get(key) ?? part).subarray(0, output.sizeBytes));
        this.parts.set(key, part);
        return;
      }
      case 'write': {
        const { transfer, file, offset, bytes } = output;
        if (this.writeError !== null) {
          this.exchange.handleWriteFailed(now, transfer, file, offset, this.writeError);
          return;
        }
        this.parts.get(`${transfer}/${String(file)}`)?.set(bytes, offset);
        this.bytesWritten += bytes.length;
        this.exchange.handleWritten(now, transfer, file, offset);
        return;
      }
      case 'sync':
        this.exchange.handleSynced(now, output.transfer);
        return;
      case 'journal': {
        const before = this.journals.get(output.transfer) ?? new Uint8Array();
        this.journals.set(output.transfer, new Uint8Array([...before, ...encodeRecords(output.records)]));
        return;
      }
      case 'place':
        for (const { file, path, isFolder } of output.entries) {
          const key = `${output.transfer}/${String(file)}`;
          const part = this.parts.get(key);
          if (isFolder) this.folders.push(path.text);
          else if (part !== undefined) this.placed.set(path.text, part);
          this.parts.delete(key);
          this.exchange.handlePlaced(now, output.transfer, file, this.writeError);
        }
        return;
      case 'discard':
        for (const file of output.files) this.parts.delete(`${output.transfer}/${String(file)}`);
        return;
      case 'forget':
        this.journals.delete(output.transfer);
        for (const key of this.parts.keys()) if (key.startsWith(output.transfer)) this.parts.delete(key);
        return;
      case 'event':
        this.events.push(output.event);
        if (output.event.type === 'offered' && this.accepts) {
          const { transfer } = output.event;
          const count = this.exchange.manifest(transfer)?.summary.entries ?? 0;
          this.exchange.accept(now, transfer, [{ first: 0, count }]);
        }
        return;
      case 'close':
        this.closed = output.code;
        return;
      case 'close_source':
        return;
    }
  }
}

/** Both sides. Whatever one says waits in a queue until `step` carries it over. */
export class WiredPair {
  now = 0;
  readonly a: WiredDevice;
  readonly b: WiredDevice;
  #control: [string[], string[]] = [[], []];
  #data: [Uint8Array[], Uint8Array[]] = [[], []];

  constructor(pieceHash: PieceHasher, config: Partial<Config> = {}) {
    this.a = new WiredDevice(pieceHash, config);
    this.b = new WiredDevice(pieceHash, config);
  }

  linkUp(maxMessageBytes = 65_536): void {
    this.a.exchange.linkUp(this.now, maxMessageBytes);
    this.b.exchange.linkUp(this.now, maxMessageBytes);
  }

  /** Whatever is on its way is lost. */
  linkLost(): void {
    this.a.exchange.linkLost(this.now);
    this.b.exchange.linkLost(this.now);
    this.#control = [[], []];
    this.#data = [[], []];
  }

  /** Carries over one message of each queue; `false` when nothing was on its way. */
  step(): boolean {
    this.#collect(this.a, 0);
    this.#collect(this.b, 1);
    const moved = [this.#deliver(0, this.b), this.#deliver(1, this.a)];
    this.a.work(this.now);
    this.b.work(this.now);
    return moved.includes(true);
  }

  /** Steps, and turns the clock when all stand still. */
  runUntil(done: () => boolean, most = 100_000): void {
    for (let count = 0; count < most; count += 1) {
      if (done()) return;
      if (!this.step()) this.tick();
    }
    throw new Error(`it never came to pass; A saw ${JSON.stringify(this.a.events)}, B saw ${JSON.stringify(this.b.events)}`);
  }

  run(): void {
    while (this.step());
  }

  tick(): void {
    const due = [this.a.exchange.pollTimeout(), this.b.exchange.pollTimeout()].filter((at) => at !== null);
    this.now = Math.max(this.now, due.length > 0 ? Math.min(...due) : this.now + 100);
    this.a.exchange.handleTimeout(this.now);
    this.b.exchange.handleTimeout(this.now);
  }

  #collect(device: WiredDevice, side: 0 | 1): void {
    device.work(this.now);
    for (let text = device.exchange.pollControl(this.now); text !== null; text = device.exchange.pollControl(this.now)) {
      this.#control[side].push(text);
    }
    while (this.#data[side].length < 8) {
      const message = device.exchange.pollData(this.now);
      if (message === null) break;
      device.bytesSent += message.length;
      this.#data[side].push(message);
      device.work(this.now);
    }
  }

  #deliver(side: 0 | 1, to: WiredDevice): boolean {
    const text = this.#control[side].shift();
    if (text !== undefined) to.exchange.handleControl(this.now, text);
    const message = this.#data[side].shift();
    if (message !== undefined) to.exchange.handleData(this.now, message);
    return text !== undefined || message !== undefined;
  }
}
