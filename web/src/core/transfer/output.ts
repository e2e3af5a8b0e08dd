/** What the shell must do, and what it answers; the same as `crates/transfer/src/output.rs`, where each is explained. */
import type { ControlMessage } from '../protocol/generated/ControlMessage';
import type { CancelReason } from '../protocol/generated/CancelReason';
import type { DeclineReason } from '../protocol/generated/DeclineReason';
import type { FileFailure } from '../protocol/generated/FileFailure';
import type { PauseReason } from '../protocol/generated/PauseReason';
import type { ViolationCode } from '../protocol/generated/ViolationCode';
import type { JournalRecord } from './journal';
import type { ManifestProblem } from './manifest';
import type { SafePath } from './name';

export type Party = 'us' | 'them';

/** What to read. Handed back with the answer. */
export interface ReadRequest {
  transfer: string;
  file: number;
  /** Which content of the file: 0 is the one that was offered; the next follows a `changed` answer. */
  version: number;
  offset: number;
  /** 0 to 1 MiB. 0 asks only whether the file is still there and unchanged. */
  length: number;
}

export interface Placement {
  file: number;
  path: SafePath;
  isFolder: boolean;
  modifiedMs: number | null;
}

/** Something the world must do. Those of one transfer are carried out in the order they come. */
export type Output =
  | { kind: 'read'; request: ReadRequest }
  | { kind: 'close_source'; transfer: string; file: number }
  | { kind: 'open'; transfer: string; file: number; path: SafePath; sizeBytes: number }
  | { kind: 'write'; transfer: string; file: number; offset: number; bytes: Uint8Array }
  | { kind: 'sync'; transfer: string; files: number[] }
  | { kind: 'journal'; transfer: string; records: JournalRecord[]; sync: boolean }
  | { kind: 'place'; transfer: string; entries: Placement[] }
  | { kind: 'discard'; transfer: string; files: number[] }
  | { kind: 'forget'; transfer: string }
  | { kind: 'event'; event: TransferEvent }
  | { kind: 'close'; code: ViolationCode; by: Party };

/** Something worth showing. */
export type TransferEvent =
  | { type: 'offered'; transfer: string }
  | { type: 'refused'; transfer: string; problem: ManifestProblem }
  | { type: 'accepted'; transfer: string }
  | { type: 'declined'; transfer: string; reason: DeclineReason }
  | { type: 'paused'; transfer: string; reason: PauseReason; by: Party }
  | { type: 'unpaused'; transfer: string }
  | { type: 'restated'; transfer: string; file: number; sizeBytes: number }
  | { type: 'file_done'; transfer: string; file: number }
  | { type: 'file_failed'; transfer: string; file: number; reason: FileFailure }
  | { type: 'finished'; transfer: string }
  | { type: 'cancelled'; transfer: string; reason: CancelReason; by: Party }
  | { type: 'text'; id: number; text: string }
  | { type: 'text_delivered'; id: number }
  | { type: 'silent' }
  | { type: 'heard' };

/** Answer to `read`. */
export type ReadResult =
  | { ok: true; bytes: Uint8Array }
  /** Size, last change or identity are not those of the version that was asked for. */
  | { ok: false; error: 'changed'; sizeBytes: number; modifiedMs: number | null }
  | { ok: false; error: 'unreadable' };

export type WriteFailure = 'no_space' | 'failed';

/** The protocol was broken; the session is closed with this code. */
export class Violation extends Error {
  constructor(readonly code: ViolationCode) {
    super(`the protocol was broken: ${code}`);
    this.name = 'Violation';
  }
}

/** Outputs and messages in the order they came up, drained by the shell after every input. */
export class Outbox {
  readonly outputs: Output[] = [];
  messages: ControlMessage[] = [];
  linkIsUp = false;

  push(output: Output): void {
    this.outputs.push(output);
  }

  tell(event: TransferEvent): void {
    this.outputs.push({ kind: 'event', event });
  }

  /** Says something on the link. Without one it is lost: whatever matters is said again when the next link comes. */
  say(message: ControlMessage): void {
    if (this.linkIsUp) this.messages.push(message);
  }
}
