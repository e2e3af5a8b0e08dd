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
  /** Makes room for a file of that many bytes. Opening twice keeps what is there. */
  open(transfer: string, file: number, sizeBytes: number): Promise<void>;
  write(transfer: string, file: number, offset: number, bytes: Uint8Array): Promise<void>;
  /** What was written survives a crash of the page, as far as the browser can promise. */
  sync(transfer: string, files: readonly number[]): Promise<void>;
  /** The file is whole: from here on it may be read, and is kept until it is removed. */
  place(transfer: string, file: number): Promise<void>;
  /** A placed file, to be handed to the browser's downloads. */
  read(transfer: string, file: number): Promise<Blob>;
  discard(transfer: string, files: readonly number[]): Promise<void>;
  /** The transfer is over: what was not placed is removed. */
  forget(transfer: string): Promise<void>;
  /** Removes everything of the transfer, placed files too. */
  remove(transfer: string): Promise<void>;
  /** Bytes that may still be received; `null` when it is not known. */
  freeBytes(): Promise<number | null>;
}
