/**
 * An exchange that is driven by JSON: one step in, everything that came of it out. For tests; the other side of it, where
 * the form is explained, is `crates/transfer/tests/script/mod.rs`.
 */
import { bytesToHex, hexToBytes } from '@noble/hashes/utils.js';
import { decodeEntry, decodeSpan } from '../protocol/control';
import { Fields, U32 } from '../protocol/decode';
import { type Frame, type FrameBody, decodeFrames, encodeFrame, frameBytes } from '../protocol/frame';
import type { CancelReason } from '../protocol/generated/CancelReason';
import type { DeclineReason } from '../protocol/generated/DeclineReason';
import { Exchange, TransferError } from './exchange';
import type { PieceHasher } from './hash';
import { Kept, encodeRecords } from './journal';
import { Manifest, ManifestError } from './manifest';
import type { Output, ReadResult, WriteFailure } from './output';
import type { Progress } from './progress';
import { TextError } from './texts';

const MAX = Number.MAX_SAFE_INTEGER;

/** Bytes `offset` to `offset + length` of the file with this seed. */
export function pattern(seed: number, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let index = 0; index < length; index += 1) {
    const at = offset + index;
    bytes[index] = seed * 31 + at * 7 + Math.floor(at / 256) * 13 + Math.floor(at / 65_536) * 17;
  }
  return bytes;
}

/** Not the defaults, which differ between a PC and a page. */
const CONFIG = { windowBytes: 4 << 20, readAheadBytes: 2 << 20, readAheadReads: 16, commitFiles: 4 };

const CANCEL: Readonly<Record<CancelReason, CancelReason>> = {
  by_person: 'by_person',
  unknown_transfer: 'unknown_transfer',
  expired: 'expired',
  failed: 'failed',
  other: 'other',
};

const DECLINE: Readonly<Record<DeclineReason, DeclineReason>> = {
  declined: 'declined',
  no_answer: 'no_answer',
  busy: 'busy',
  no_space: 'no_space',
  bad_manifest: 'bad_manifest',
  other: 'other',
};

export class Script {
  #exchange: Exchange;
  /** Everything that was noted for each transfer, to restore from. */
  readonly #journals = new Map<string, Uint8Array[]>();

  constructor(private readonly pieceHash: PieceHasher) {
    this.#exchange = this.#newExchange();
  }

  #newExchange(): Exchange {
    return new Exchange({ pieceHash: this.pieceHash, config: CONFIG, random: () => 0.5 });
  }

  /** Does one step and drains everything. */
  apply(input: unknown): unknown {
    const step = new Fields(input);
    const now = step.integer('at', MAX);
    const refused = this.#refuses(() => {
      this.#input(now, step);
    });
    const outputs = this.#outputs();
    const control: unknown[] = [];
    for (let text = this.#exchange.pollControl(now); text !== null; text = this.#exchange.pollControl(now)) {
      control.push(JSON.parse(text));
    }
    const room = step.has('room') ? step.integer('room', MAX) : 1000;
    const data: unknown[] = [];
    while (data.length < room) {
      const message = this.#exchange.pollData(now);
      if (message === null) break;
      data.push([...decodeFrames(message)].map((frame) => this.#frameOut(frame)));
    }
    outputs.push(...this.#outputs());
    const transfers = [...this.#exchange.outgoing(), ...this.#exchange.incoming()];
    const progress = transfers.map((transfer) => progressOut(this.#exchange.progress(now, transfer)));
    return { refused, outputs, control, data, timeout: this.#exchange.pollTimeout(), progress };
  }

  #refuses(input: () => void): boolean {
    try {
      input();
      return false;
    } catch (error) {
      if (error instanceof TransferError || error instanceof ManifestError || error instanceof TextError) return true;
      throw error;
    }
  }

  #input(now: number, step: Fields): void {
    const exchange = this.#exchange;
    const transfer = (): string => step.id('transfer');
    const file = (): number => step.integer('file', U32);
    const offset = (): number => step.integer('offset', MAX);
    const kind = step.text('do', 32);
    switch (kind) {
      case 'link_up':
        exchange.linkUp(now, step.integer('max_message_bytes', MAX));
        return;
      case 'link_lost':
        exchange.linkLost(now);
        return;
      case 'control':
        exchange.handleControl(now, step.text('text', MAX));
        return;
      case 'data':
        exchange.handleData(now, messageIn(step));
        return;
      case 'timeout':
        exchange.handleTimeout(now);
        return;
      case 'offer':
        exchange.offer(transfer(), Manifest.of(step.list('entries', MAX, decodeEntry)));
        return;
      case 'accept':
        exchange.accept(now, transfer(), step.list('wanted', MAX, decodeSpan));
        return;
      case 'decline':
        exchange.decline(transfer(), step.word('reason', DECLINE));
        return;
      case 'pause':
        exchange.pause(transfer());
        return;
      case 'unpause':
        exchange.unpause(now, transfer());
        return;
      case 'cancel':
        exchange.cancel(transfer(), step.word('reason', CANCEL));
        return;
      case 'cancel_file':
        exchange.cancelFile(now, transfer(), file());
        return;
      case 'text':
        exchange.sendText(step.integer('id', MAX), step.text('text', MAX));
        return;
      case 'read': {
        const asked = step.object('request');
        const place = { file: asked.integer('file', U32), offset: asked.integer('offset', MAX), length: asked.integer('len', MAX) };
        const request = { transfer: asked.id('transfer'), version: asked.integer('version', U32), ...place };
        exchange.handleRead(now, request, readIn(step, request.offset, request.length));
        return;
      }
      case 'written': {
        const error = writeError(step);
        if (error === null) exchange.handleWritten(now, transfer(), file(), offset());
        else exchange.handleWriteFailed(now, transfer(), file(), offset(), error);
        return;
      }
      case 'synced':
        exchange.handleSynced(now, transfer());
        return;
      case 'placed':
        exchange.handlePlaced(now, transfer(), file(), writeError(step));
        return;
      case 'restart':
        this.#restart(now);
        return;
      default:
        throw new Error(`no step is called ${kind}`);
    }
  }

  /** The page is reloaded; every journal and part file was durable. */
  #restart(now: number): void {
    const before = this.#exchange;
    this.#exchange = this.#newExchange();
    for (const transfer of before.outgoing()) {
      const manifest = before.manifest(transfer);
      const wanted = before.accepted(transfer);
      if (manifest === null) continue;
      if (wanted === null) this.#exchange.offer(transfer, manifest);
      else this.#exchange.restoreOutgoing(transfer, manifest, wanted);
    }
    for (const parts of this.#journals.values()) {
      this.#exchange.restoreIncoming(now, Kept.read(Uint8Array.from(parts.flatMap((part) => [...part]))));
    }
  }

  #outputs(): unknown[] {
    const outputs: unknown[] = [];
    for (let output = this.#exchange.pollOutput(); output !== null; output = this.#exchange.pollOutput()) {
      if (output.kind === 'journal') {
        const parts = this.#journals.get(output.transfer) ?? [];
        this.#journals.set(output.transfer, [...parts, encodeRecords(output.records)]);
      }
      if (output.kind === 'forget') this.#journals.delete(output.transfer);
      outputs.push(this.#outputOut(output));
    }
    return outputs;
  }

  #blake3(bytes: Uint8Array): string {
    return bytesToHex(this.pieceHash(bytes));
  }

  #frameOut({ number, file, offset, body }: Frame): unknown {
    switch (body.kind) {
      case 'chunk':
        return { kind: body.kind, number, file, offset, len: body.bytes.length, blake3: this.#blake3(body.bytes) };
      case 'piece_end':
        return { kind: body.kind, number, file, offset, hash: bytesToHex(body.hash) };
      case 'file_end':
        return { kind: body.kind, number, file, offset, hash: bytesToHex(body.root) };
      case 'restate':
        return { kind: body.kind, number, file, offset, version: body.version, modified_ms: body.modifiedMs };
    }
  }

  #outputOut(output: Output): unknown {
    switch (output.kind) {
      case 'read': {
        const { length, ...request } = output.request;
        return { kind: output.kind, request: { ...request, len: length } };
      }
      case 'open': {
        const { kind, transfer, file, path, sizeBytes } = output;
        return { kind, transfer, file, path: path.text, size_bytes: sizeBytes };
      }
      case 'write': {
        const { kind, transfer, file, offset, bytes } = output;
        return { kind, transfer, file, offset, len: bytes.length, blake3: this.#blake3(bytes) };
      }
      case 'place': {
        const entries = output.entries.map(({ file, path, isFolder, modifiedMs }) => ({
          file,
          path: path.text,
          is_folder: isFolder,
          modified_ms: modifiedMs,
        }));
        return { kind: output.kind, transfer: output.transfer, entries };
      }
      case 'event': {
        if (output.event.type !== 'restated') return output;
        const { sizeBytes, ...event } = output.event;
        return { kind: output.kind, event: { ...event, size_bytes: sizeBytes } };
      }
      case 'close_source':
      case 'sync':
      case 'journal':
      case 'discard':
      case 'forget':
      case 'close':
        return output;
    }
  }
}

function messageIn(step: Fields): Uint8Array {
  if (step.has('hex')) return hexToBytes(step.text('hex', MAX));
  const frames = step.list('frames', MAX, (input, path) => frameIn(new Fields(input, path)));
  const message = new Uint8Array(frames.reduce((sum, { body }) => sum + frameBytes(body), 0));
  frames.reduce((at, frame) => encodeFrame(frame, message, at), 0);
  return message;
}

/** A chunk tells `seed` and `len` instead of its bytes. */
function frameIn(fields: Fields): Frame {
  const offset = fields.integer('offset', MAX);
  return { number: fields.integer('number', U32), file: fields.integer('file', U32), offset, body: bodyIn(fields, offset) };
}

function bodyIn(fields: Fields, offset: number): FrameBody {
  const kind = fields.text('kind', 32);
  switch (kind) {
    case 'chunk':
      return { kind, bytes: pattern(fields.integer('seed', MAX), offset, fields.integer('len', MAX)) };
    case 'piece_end':
      return { kind, hash: hexToBytes(fields.text('hash', 64)) };
    case 'file_end':
      return { kind, root: hexToBytes(fields.text('hash', 64)) };
    default:
      return { kind: 'restate', version: fields.integer('version', U32), modifiedMs: fields.integer('modified_ms', MAX) };
  }
}

function readIn(step: Fields, offset: number, length: number): ReadResult {
  const error = step.has('error') ? step.text('error', 32) : null;
  if (error === null) return { ok: true, bytes: pattern(step.integer('seed', MAX), offset, length) };
  if (error !== 'changed') return { ok: false, error: 'unreadable' };
  const modifiedMs = step.has('modified_ms') ? step.integer('modified_ms', MAX) : null;
  return { ok: false, error, sizeBytes: step.integer('size_bytes', MAX), modifiedMs };
}

function writeError(step: Fields): WriteFailure | null {
  if (!step.has('error')) return null;
  return step.text('error', 32) === 'no_space' ? 'no_space' : 'failed';
}

function progressOut(progress: Progress | null): unknown {
  if (progress === null) return null;
  const { totalBytes, verifiedBytes, durableBytes, entries, done, failed, bytesPerSecond, secondsLeft } = progress;
  return [totalBytes, verifiedBytes, durableBytes, entries, done, failed, bytesPerSecond, secondsLeft];
}
