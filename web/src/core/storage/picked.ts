/**
 * Files that the person chose a place for, because this browser lends the page too little room (FACTS §2). The browser
 * writes to a file of its own beside them until they are whole: a crash or a reload loses it.
 */
import { SinkError, type Sink, type SinkFailure } from './sink';

interface Target {
  handle: FileSystemFileHandle;
  /** Opened by the first write. */
  stream: Promise<FileSystemWritableFileStream> | null;
}

/** Everything else goes to the sink below. */
export class PickingSink implements Sink {
  readonly #below: Sink;
  readonly #targets = new Map<string, Target>();

  constructor(below: Sink) {
    this.#below = below;
  }

  get storage(): 'memory' | 'disk' {
    return this.#below.storage;
  }

  /** The one file of this transfer goes there. */
  pick(transfer: string, handle: FileSystemFileHandle): void {
    this.#targets.set(transfer, { handle, stream: null });
  }

  isPicked(transfer: string): boolean {
    return this.#targets.has(transfer);
  }

  expect(totalBytes: number): void {
    this.#below.expect(totalBytes);
  }

  async open(transfer: string, file: number, sizeBytes: number): Promise<void> {
    const target = this.#targets.get(transfer);
    if (target === undefined) await this.#below.open(transfer, file, sizeBytes);
    else await attempt(async () => (await opened(target)).truncate(sizeBytes));
  }

  async write(transfer: string, file: number, offset: number, bytes: Uint8Array): Promise<void> {
    const target = this.#targets.get(transfer);
    if (target === undefined) {
      await this.#below.write(transfer, file, offset, bytes);
      return;
    }
    await attempt(async () => (await opened(target)).write({ type: 'write', position: offset, data: new Uint8Array(bytes) }));
  }

  async sync(transfer: string, files: readonly number[]): Promise<void> {
    if (!this.#targets.has(transfer)) await this.#below.sync(transfer, files);
  }

  readPart(transfer: string, file: number, offset: number, length: number): Promise<Uint8Array> {
    return this.#targets.has(transfer) ? Promise.reject(new SinkError('failed')) : this.#below.readPart(transfer, file, offset, length);
  }

  async truncate(transfer: string, file: number, sizeBytes: number): Promise<void> {
    if (!this.#targets.has(transfer)) await this.#below.truncate(transfer, file, sizeBytes);
  }

  async place(transfer: string, file: number): Promise<void> {
    const target = this.#targets.get(transfer);
    if (target === undefined) await this.#below.place(transfer, file);
    // From here on it is under the name that the person chose.
    else await attempt(async () => (await opened(target)).close());
  }

  async read(transfer: string, file: number): Promise<Blob> {
    const target = this.#targets.get(transfer);
    return target === undefined ? this.#below.read(transfer, file) : attempt(() => target.handle.getFile());
  }

  async discard(transfer: string, files: readonly number[]): Promise<void> {
    const target = this.#targets.get(transfer);
    if (target === undefined) await this.#below.discard(transfer, files);
    else if (files.length > 0) await abort(target);
  }

  async remove(transfer: string): Promise<void> {
    const target = this.#targets.get(transfer);
    this.#targets.delete(transfer);
    if (target === undefined) await this.#below.remove(transfer);
    else await abort(target);
  }

  transfers(): Promise<string[]> {
    return this.#below.transfers();
  }

  parts(transfer: string): Promise<ReadonlyMap<number, number>> {
    return this.#targets.has(transfer) ? Promise.resolve(new Map()) : this.#below.parts(transfer);
  }

  freeBytes(): Promise<number | null> {
    return this.#below.freeBytes();
  }
}

function opened(target: Target): Promise<FileSystemWritableFileStream> {
  target.stream ??= target.handle.createWritable();
  return target.stream;
}

/** Leaves what was there before as it was; nothing happens to a file that is whole. */
async function abort(target: Target): Promise<void> {
  await (await target.stream?.catch(() => null))?.abort().catch(() => undefined);
  target.stream = null;
}

async function attempt<Value>(step: () => Promise<Value>): Promise<Value> {
  try {
    return await step();
  } catch (error) {
    const failure: SinkFailure = error instanceof DOMException && error.name === 'QuotaExceededError' ? 'no_space' : 'failed';
    throw new SinkError(failure);
  }
}
