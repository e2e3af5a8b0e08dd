/** Received files in this page's memory: all there is on a plain-http page (FACTS §1). Nothing survives a reload. */
import { SinkError, type Sink } from './sink';

const MIB = 1024 * 1024;
/** Building Blobs beyond this ends tabs on phones (FACTS §2). */
export const PHONE_LIMIT_BYTES = 256 * MIB;
export const DESKTOP_LIMIT_BYTES = 1024 * MIB;

interface Held {
  sizeBytes: number;
  placed: boolean;
  /** By offset. A Blob a piece: browsers keep those outside the page's heap, and large ones on disk. */
  pieces: Map<number, Blob>;
}

export class MemorySink implements Sink {
  readonly storage = 'memory';
  readonly #transfers = new Map<string, Map<number, Held>>();
  /** Bytes promised to open files. */
  #reservedBytes = 0;

  constructor(private readonly limitBytes: number) {}

  expect(): void {
    // Memory is there or not.
  }

  open(transfer: string, file: number, sizeBytes: number): Promise<void> {
    const files = this.#transfers.get(transfer) ?? new Map<number, Held>();
    this.#transfers.set(transfer, files);
    const held = files.get(file) ?? { sizeBytes: 0, placed: false, pieces: new Map<number, Blob>() };
    const more = sizeBytes - held.sizeBytes;
    if (this.#reservedBytes + more > this.limitBytes) return Promise.reject(new SinkError('no_space'));
    this.#reservedBytes += more;
    held.sizeBytes = sizeBytes;
    for (const [offset, piece] of held.pieces) {
      if (offset + piece.size > sizeBytes) held.pieces.delete(offset);
    }
    files.set(file, held);
    return Promise.resolve();
  }

  write(transfer: string, file: number, offset: number, bytes: Uint8Array): Promise<void> {
    const held = this.#transfers.get(transfer)?.get(file);
    if (held === undefined || offset + bytes.length > held.sizeBytes) return Promise.reject(new SinkError('failed'));
    held.pieces.set(offset, new Blob([new Uint8Array(bytes)]));
    return Promise.resolve();
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }

  async readPart(transfer: string, file: number, offset: number, length: number): Promise<Uint8Array> {
    const piece = this.#transfers.get(transfer)?.get(file)?.pieces.get(offset);
    if (piece?.size !== length) throw new SinkError('failed');
    return new Uint8Array(await piece.arrayBuffer());
  }

  truncate(transfer: string, file: number, sizeBytes: number): Promise<void> {
    const held = this.#transfers.get(transfer)?.get(file);
    return held === undefined || held.sizeBytes <= sizeBytes ? Promise.resolve() : this.open(transfer, file, sizeBytes);
  }

  async place(transfer: string, file: number): Promise<void> {
    // An empty file was never written to.
    if (this.#transfers.get(transfer)?.get(file) === undefined) await this.open(transfer, file, 0);
    const held = this.#transfers.get(transfer)?.get(file);
    if (held === undefined) throw new SinkError('failed');
    let end = 0;
    for (const [offset, piece] of inOrder(held)) {
      if (offset !== end) throw new SinkError('failed');
      end += piece.size;
    }
    if (end !== held.sizeBytes) throw new SinkError('failed');
    held.placed = true;
  }

  read(transfer: string, file: number): Promise<Blob> {
    const held = this.#transfers.get(transfer)?.get(file);
    if (held?.placed !== true) return Promise.reject(new SinkError('failed'));
    return Promise.resolve(new Blob(inOrder(held).map(([, piece]) => piece)));
  }

  discard(transfer: string, files: readonly number[]): Promise<void> {
    const all = this.#transfers.get(transfer);
    for (const file of files) {
      this.#reservedBytes -= all?.get(file)?.sizeBytes ?? 0;
      all?.delete(file);
    }
    return Promise.resolve();
  }

  async remove(transfer: string): Promise<void> {
    await this.discard(transfer, [...(this.#transfers.get(transfer)?.keys() ?? [])]);
    this.#transfers.delete(transfer);
  }

  transfers(): Promise<string[]> {
    return Promise.resolve([...this.#transfers.keys()]);
  }

  parts(transfer: string): Promise<ReadonlyMap<number, number>> {
    return Promise.resolve(new Map([...(this.#transfers.get(transfer) ?? [])].map(([file, { sizeBytes }]) => [file, sizeBytes])));
  }

  freeBytes(): Promise<number | null> {
    return Promise.resolve(this.limitBytes - this.#reservedBytes);
  }
}

function inOrder(held: Held): [number, Blob][] {
  return [...held.pieces].sort(([one], [other]) => one - other);
}
