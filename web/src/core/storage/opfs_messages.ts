/** What the page and its storage worker say to each other. Both are ours, so nothing here is decoded. */
import type { SinkFailure } from './sink';

export type OpfsTask =
  /** First: finds out whether files can be written synchronously. */
  | { op: 'begin' }
  | { op: 'open'; transfer: string; file: number; sizeBytes: number }
  | { op: 'write'; transfer: string; file: number; offset: number; bytes: Uint8Array<ArrayBuffer> }
  | { op: 'read'; transfer: string; file: number; offset: number; length: number }
  | { op: 'truncate'; transfer: string; file: number; sizeBytes: number }
  | { op: 'sync'; transfer: string; files: readonly number[] }
  | { op: 'place'; transfer: string; file: number }
  | { op: 'discard'; transfer: string; files: readonly number[] }
  | { op: 'remove'; transfer: string };

export interface OpfsRequest {
  id: number;
  task: OpfsTask;
}

export interface OpfsReply {
  id: number;
  failure: SinkFailure | null;
  /** Of `read`. */
  bytes: Uint8Array<ArrayBuffer> | null;
}
