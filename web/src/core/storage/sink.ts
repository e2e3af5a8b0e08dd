/** Where received files are kept until the person saves them. */

/** Why bytes could not be kept. */
export type SinkFailure = 'no_space' | 'failed';

export class SinkError extends Error {
  constructor(readonly failure: SinkFailure) {
    super(failure === 'no_space' ? 'no space is left' : 'the file cannot be written');
    this.name = 'SinkError';
  }
}

/** The files of all transfers, each named by its transfer and its number there. Every method may throw `SinkError`. */
export interface Sink {
  readonly storage: 'memory' | 'disk';
  /** So many bytes are about to come: asks the browser not to throw them away by itself. */
  expect(totalBytes: number): void;
  /** Makes room for a file of that many bytes. Opening twice keeps what is there. */
  open(transfer: string, file: number, sizeBytes: number): Promise<void>;
  write(transfer: string, file: number, offset: number, bytes: Uint8Array): Promise<void>;
  /** What was written survives a crash of the page, as far as the browser can promise. */
  sync(transfer: string, files: readonly number[]): Promise<void>;
  /** Exactly `length` bytes of a file that need not be whole. */
  readPart(transfer: string, file: number, offset: number, length: number): Promise<Uint8Array>;
  /** Cuts off what is beyond `sizeBytes`; nothing happens to a file that is shorter or not there. */
  truncate(transfer: string, file: number, sizeBytes: number): Promise<void>;
  /** The file is whole: from here on it may be read, and is kept until it is removed. */
  place(transfer: string, file: number): Promise<void>;
  /** A placed file, to be handed to the browser's downloads. */
  read(transfer: string, file: number): Promise<Blob>;
  discard(transfer: string, files: readonly number[]): Promise<void>;
  /** Removes everything of the transfer, placed files too. */
  remove(transfer: string): Promise<void>;
  /** Every transfer of which something is there, of earlier pages too. */
  transfers(): Promise<string[]>;
  /** The files of one transfer that are there, and their sizes. */
  parts(transfer: string): Promise<ReadonlyMap<number, number>>;
  /** Bytes that may still be received; `null` when it is not known. */
  freeBytes(): Promise<number | null>;
}
