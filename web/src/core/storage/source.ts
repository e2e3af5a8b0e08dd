/** Reads the files that a person chose to send, in slabs: many small reads of a `File` are slow (FACTS §2). */

const SLAB_BYTES = 4 * 1024 * 1024;

/** The file is gone, or not the one any more that was chosen: the browser does not say which. */
export class UnreadableError extends Error {
  constructor() {
    super('the file cannot be read');
    this.name = 'UnreadableError';
  }
}

export class BlobSource {
  #slab: { start: number; bytes: Uint8Array } | null = null;
  /** Reads of one source go one after the other, so that two do not fetch the same slab. */
  #work: Promise<unknown> = Promise.resolve();

  constructor(private readonly blob: Blob) {}

  get sizeBytes(): number {
    return this.blob.size;
  }

  /** Exactly `length` bytes from `offset` on. Throws `UnreadableError`. */
  read(offset: number, length: number): Promise<Uint8Array> {
    const read = this.#work.then(() => this.#read(offset, length));
    this.#work = read.catch(() => undefined);
    return read;
  }

  /** Lets go of what was read ahead. */
  close(): void {
    this.#slab = null;
  }

  async #read(offset: number, length: number): Promise<Uint8Array> {
    if (offset < 0 || length < 0 || offset + length > this.blob.size) throw new UnreadableError();
    if (length === 0) {
      await this.#probe();
      return new Uint8Array();
    }
    const held = this.#held(offset, length);
    if (held !== null) return held;
    try {
      const end = Math.min(offset + Math.max(SLAB_BYTES, length), this.blob.size);
      const bytes = new Uint8Array(await this.blob.slice(offset, end).arrayBuffer());
      if (bytes.length !== end - offset) throw new UnreadableError();
      this.#slab = { start: offset, bytes };
    } catch {
      throw new UnreadableError();
    }
    return this.#held(offset, length) ?? new Uint8Array();
  }

  /** Whether the file is still there and the one that was chosen: a browser refuses to read it otherwise. */
  async #probe(): Promise<void> {
    try {
      await this.blob.slice(0, 1).arrayBuffer();
    } catch {
      throw new UnreadableError();
    }
  }

  /** A view into the slab, or `null` when it does not hold all of it. */
  #held(offset: number, length: number): Uint8Array | null {
    if (this.#slab === null) return null;
    const at = offset - this.#slab.start;
    return at >= 0 && at + length <= this.#slab.bytes.length ? this.#slab.bytes.subarray(at, at + length) : null;
  }
}
