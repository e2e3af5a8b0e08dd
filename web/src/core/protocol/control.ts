/** Device ↔ device on the control channel; the other device is not trusted to speak correctly. */
import { decodeBase64Url } from './base64url';
import { DecodeError, Fields, U32, parseJson } from './decode';
import type { CancelReason } from './generated/CancelReason';
import type { ControlMessage } from './generated/ControlMessage';
import type { DeclineReason } from './generated/DeclineReason';
import type { FailedFile } from './generated/FailedFile';
import type { FileFailure } from './generated/FileFailure';
import type { HeldFile } from './generated/HeldFile';
import type { ManifestEntry } from './generated/ManifestEntry';
import type { OfferSummary } from './generated/OfferSummary';
import type { PauseReason } from './generated/PauseReason';
import type { PieceRef } from './generated/PieceRef';
import type { PieceRun } from './generated/PieceRun';
import type { Span } from './generated/Span';
import type { ViolationCode } from './generated/ViolationCode';
import { CONTROL_MESSAGE_BYTES } from './limits';

/** The largest integer on the wire: 2⁵³ − 1. */
export const MAX_INTEGER = Number.MAX_SAFE_INTEGER;

/** Entries of one manifest, files and folders together. */
export const MANIFEST_ENTRIES = 100_000;

/** No list is longer than the message that holds it. */
const LIST_ITEMS = CONTROL_MESSAGE_BYTES;

const DECLINE_REASONS: Readonly<Record<DeclineReason, DeclineReason>> = {
  declined: 'declined',
  no_answer: 'no_answer',
  busy: 'busy',
  no_space: 'no_space',
  bad_manifest: 'bad_manifest',
  other: 'other',
};

const CANCEL_REASONS: Readonly<Record<CancelReason, CancelReason>> = {
  by_person: 'by_person',
  unknown_transfer: 'unknown_transfer',
  expired: 'expired',
  failed: 'failed',
  other: 'other',
};

const FILE_FAILURES: Readonly<Record<FileFailure, FileFailure>> = {
  cancelled: 'cancelled',
  changed: 'changed',
  unreadable: 'unreadable',
  cannot_write: 'cannot_write',
  damaged: 'damaged',
  other: 'other',
};

const PAUSE_REASONS: Readonly<Record<PauseReason, PauseReason>> = {
  by_person: 'by_person',
  no_space: 'no_space',
  other: 'other',
};

const VIOLATION_CODES: Readonly<Record<ViolationCode, ViolationCode>> = {
  malformed_message: 'malformed_message',
  malformed_frame: 'malformed_frame',
  bad_value: 'bad_value',
  unknown_transfer: 'unknown_transfer',
  unknown_file: 'unknown_file',
  duplicate_offer: 'duplicate_offer',
  out_of_turn: 'out_of_turn',
  data_before_accept: 'data_before_accept',
  offset_out_of_range: 'offset_out_of_range',
  overlap: 'overlap',
  gap: 'gap',
  over_credit: 'over_credit',
  piece_corrupt: 'piece_corrupt',
  too_many: 'too_many',
  other: 'other',
};

export function encodeControlMessage(message: ControlMessage): string {
  return JSON.stringify(message);
}

/** Reads one message. Throws `DecodeError`. */
export function decodeControlMessage(text: string): ControlMessage {
  const input = parseJson(text, CONTROL_MESSAGE_BYTES);
  const fields = new Fields(input);
  const type = fields.text('type', CONTROL_MESSAGE_BYTES);
  switch (type) {
    case 'ping':
    case 'pong':
      return { type, nonce: fields.integer('nonce', U32) };
    case 'credit':
      return { type, limit_bytes: fields.integer('limit_bytes', MAX_INTEGER) };
    case 'text':
      return { type, id: fields.integer('id', MAX_INTEGER), text: wellFormed(fields, 'text') };
    case 'text_received':
      return { type, id: fields.integer('id', MAX_INTEGER) };
    case 'offer':
      return { type, ...numbered(fields), summary: decodeSummary(fields.object('summary')) };
    case 'entries': {
      const entries = fields.list('entries', LIST_ITEMS, decodeEntry);
      return { type, transfer: fields.id('transfer'), first: fields.integer('first', U32), entries };
    }
    case 'accept': {
      const wanted = fields.list('wanted', LIST_ITEMS, decodeSpan);
      return { type, transfer: fields.id('transfer'), wanted, last: boolean(input, 'last') };
    }
    case 'decline':
      return { type, transfer: fields.id('transfer'), reason: reason(fields, DECLINE_REASONS, 'other') };
    case 'resume':
      return { type, ...numbered(fields) };
    case 'have':
      return {
        type,
        transfer: fields.id('transfer'),
        done: fields.list('done', LIST_ITEMS, decodeSpan),
        failed: fields.list('failed', LIST_ITEMS, decodeFailedFile),
        files: fields.list('files', LIST_ITEMS, decodeHeldFile),
        last: boolean(input, 'last'),
      };
    case 'again':
      return { type, transfer: fields.id('transfer'), pieces: fields.list('pieces', LIST_ITEMS, decodePieceRef) };
    case 'pause':
      return { type, transfer: fields.id('transfer'), reason: reason(fields, PAUSE_REASONS, 'other') };
    case 'unpause':
    case 'finished':
      return { type, transfer: fields.id('transfer') };
    case 'fail':
      return { type, transfer: fields.id('transfer'), files: fields.list('files', LIST_ITEMS, decodeFailedFile) };
    case 'cancel':
      return { type, transfer: fields.id('transfer'), reason: reason(fields, CANCEL_REASONS, 'other') };
    case 'received':
      return { type, transfer: fields.id('transfer'), files: fields.list('files', LIST_ITEMS, decodeSpan) };
    case 'error':
      return { type, code: reason(fields, VIOLATION_CODES, 'other', 'code') };
    default:
      throw new DecodeError('type', 'not a message this version knows');
  }
}

export function decodeEntry(input: unknown, path: string): ManifestEntry {
  const fields = new Fields(input, path);
  const kind = fields.text('kind', CONTROL_MESSAGE_BYTES);
  switch (kind) {
    case 'file': {
      const size_bytes = fields.integer('size_bytes', MAX_INTEGER);
      const entry: ManifestEntry = { kind, path: wellFormed(fields, 'path'), size_bytes };
      if (fields.has('modified_ms')) entry.modified_ms = fields.integer('modified_ms', MAX_INTEGER);
      return entry;
    }
    case 'folder':
      return { kind, path: wellFormed(fields, 'path') };
    default:
      throw new DecodeError(`${path}.kind`, 'not a kind of entry this version knows');
  }
}

export function decodeSpan(input: unknown, path: string): Span {
  const fields = new Fields(input, path);
  return { first: fields.integer('first', U32), count: fields.integer('count', U32) };
}

/** The word of a closed set, or `other`. */
export function decodeFileFailure(fields: Fields): FileFailure {
  return reason(fields, FILE_FAILURES, 'other');
}

/** The hashes of one text, or `null`. */
export function decodeHashes(text: string): Uint8Array[] | null {
  const bytes = decodeBase64Url(text);
  if (bytes === null || bytes.length % 32 !== 0) return null;
  return Array.from({ length: bytes.length / 32 }, (_, index) => bytes.subarray(32 * index, 32 * (index + 1)));
}

function numbered(fields: Fields): { transfer: string; number: number } {
  return { transfer: fields.id('transfer'), number: fields.integer('number', U32) };
}

function decodeSummary(fields: Fields): OfferSummary {
  return {
    entries: fields.integer('entries', U32),
    files: fields.integer('files', U32),
    total_bytes: fields.integer('total_bytes', MAX_INTEGER),
  };
}

function decodeFailedFile(input: unknown, path: string): FailedFile {
  const fields = new Fields(input, path);
  return { file: fields.integer('file', U32), reason: decodeFileFailure(fields) };
}

function decodeHeldFile(input: unknown, path: string): HeldFile {
  const fields = new Fields(input, path);
  const runs = fields.list('runs', LIST_ITEMS, decodePieceRun);
  return { file: fields.integer('file', U32), version: fields.integer('version', U32), runs };
}

function decodePieceRun(input: unknown, path: string): PieceRun {
  const fields = new Fields(input, path);
  const hashes = fields.text('hashes', CONTROL_MESSAGE_BYTES);
  if (decodeHashes(hashes) === null) throw new DecodeError(`${path}.hashes`, 'not hashes of 32 bytes');
  return { first: fields.integer('first', MAX_INTEGER), hashes };
}

function decodePieceRef(input: unknown, path: string): PieceRef {
  const fields = new Fields(input, path);
  return { file: fields.integer('file', U32), piece: fields.integer('piece', MAX_INTEGER) };
}

/** A word of a later version is `other`. */
function reason<Word extends string>(fields: Fields, words: Readonly<Record<Word, Word>>, other: Word, key = 'reason'): Word {
  const text = fields.text(key, CONTROL_MESSAGE_BYTES);
  return Object.values<Word>(words).find((word) => word === text) ?? other;
}

function boolean(input: unknown, key: string): boolean {
  const value: unknown = typeof input === 'object' && input !== null ? Reflect.get(input, key) : undefined;
  if (typeof value !== 'boolean') throw new DecodeError(key, 'neither true nor false');
  return value;
}

/** Text without lone surrogates, which UTF-8 has no form for. */
function wellFormed(fields: Fields, key: string): string {
  const text = fields.text(key, CONTROL_MESSAGE_BYTES);
  if (/\p{Surrogate}/u.test(text)) throw new DecodeError(key, 'not Unicode');
  return text;
}
