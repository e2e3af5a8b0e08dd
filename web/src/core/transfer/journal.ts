/** What a receiver keeps so that a transfer survives it (TR-60 to TR-64); the layout of `crates/transfer/src/journal.rs`. */
import { encodeBase64Url } from '../protocol/base64url';
import { MAX_INTEGER, decodeEntry, decodeFileFailure, decodeHashes, decodeSpan } from '../protocol/control';
import { DecodeError, Fields, U32 } from '../protocol/decode';
import type { FileFailure } from '../protocol/generated/FileFailure';
import type { ManifestEntry } from '../protocol/generated/ManifestEntry';
import type { Span } from '../protocol/generated/Span';
import { Manifest } from './manifest';
import { type PieceOfFile, areAscending } from './spans';

const RECORD_BYTES = 4 * 1024 * 1024;

/** One line of a transfer's journal. `hashes` is base64url of 32 bytes each. */
export type JournalRecord =
  | { record: 'accepted'; version: number; transfer: string; entries: number; wanted: Span[] }
  | { record: 'entries'; entries: ManifestEntry[] }
  | { record: 'pieces'; file: number; version: number; first: number; hashes: string }
  | { record: 'dropped'; file: number; piece: number }
  | { record: 'restated'; file: number; version: number; size_bytes: number; modified_ms?: number }
  | { record: 'placing'; file: number }
  | { record: 'placed'; file: number }
  | { record: 'failed'; file: number; reason: FileFailure };

/** Nothing in the journal can be carried on. */
export class JournalError extends Error {
  constructor(problem: string) {
    super(`the journal cannot be used: ${problem}`);
    this.name = 'JournalError';
  }
}

export type KeptFate = { kind: 'partial' } | { kind: 'placing' } | { kind: 'placed' } | { kind: 'failed'; reason: FileFailure };

export interface KeptFile {
  version: number;
  restated: { sizeBytes: number; modifiedMs: number | null } | null;
  pieces: Map<number, { version: number; hash: Uint8Array }>;
  fate: KeptFate;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The records as they are appended. */
export function encodeRecords(records: readonly JournalRecord[]): Uint8Array {
  const bodies = records.map((record) => encoder.encode(JSON.stringify(record)));
  const journal = new Uint8Array(bodies.reduce((sum, body) => sum + 8 + body.length, 0));
  const view = new DataView(journal.buffer);
  let at = 0;
  for (const body of bodies) {
    view.setUint32(at, body.length);
    view.setUint32(at + 4, crc32(body));
    journal.set(body, at + 8);
    at += 8 + body.length;
  }
  return journal;
}

/** What a journal says about a transfer. */
export class Kept {
  private constructor(
    readonly transfer: string,
    readonly wanted: Span[],
    readonly manifest: Manifest,
    readonly files: Map<number, KeptFile>,
    /** Durable pieces, in the order they became so. */
    readonly written: PieceOfFile[],
    /** How much of the journal is whole; what follows is torn and is cut off before anything is appended. */
    readonly intactBytes: number,
  ) {}

  /** Reads a journal as far as it is whole. Throws `JournalError`. */
  static read(journal: Uint8Array): Kept {
    const { records, intactBytes } = wholeRecords(journal);
    const [head, ...rest] = records;
    if (head?.record !== 'accepted') throw new JournalError('no head');
    if (head.version !== 1) throw new JournalError(`version ${String(head.version)}`);
    const entries: ManifestEntry[] = [];
    const files = new Map<number, KeptFile>();
    let written: PieceOfFile[] = [];
    const keep = (file: number): KeptFile => {
      const kept = files.get(file) ?? { version: 0, restated: null, pieces: new Map(), fate: { kind: 'partial' } };
      files.set(file, kept);
      return kept;
    };
    for (const record of rest) {
      switch (record.record) {
        case 'accepted':
          throw new JournalError('a second head');
        case 'entries':
          // A spread of so many arguments would overflow the stack.
          for (const entry of record.entries) entries.push(entry);
          break;
        case 'pieces':
          (decodeHashes(record.hashes) ?? []).forEach((hash, index) => {
            const piece = record.first + index;
            keep(record.file).pieces.set(piece, { version: record.version, hash });
            written.push({ file: record.file, piece });
          });
          break;
        case 'dropped':
          keep(record.file).pieces.delete(record.piece);
          break;
        case 'restated': {
          const kept = keep(record.file);
          kept.version = record.version;
          kept.restated = { sizeBytes: record.size_bytes, modifiedMs: record.modified_ms ?? null };
          break;
        }
        case 'placing':
        case 'placed':
          keep(record.file).fate = { kind: record.record };
          break;
        case 'failed':
          keep(record.file).fate = { kind: 'failed', reason: record.reason };
          break;
      }
    }
    const manifest = manifestOf(entries);
    if (manifest.summary.entries !== head.entries || !areAscending(head.wanted, head.entries)) {
      throw new JournalError('the manifest is not whole');
    }
    for (const file of files.keys()) if (file >= head.entries) files.delete(file);
    written = written.filter(({ file }) => file < head.entries);
    return new Kept(head.transfer, head.wanted, manifest, files, written, intactBytes);
  }

  /** Entries of which there must be a part file, unless they were being placed: see `partIsMissing`. */
  parts(): number[] {
    const partial = ({ fate }: KeptFile): boolean => fate.kind === 'partial' || fate.kind === 'placing';
    return [...this.files].filter(([, kept]) => partial(kept)).map(([file]) => file);
  }

  /** There is no part file for one of `parts`. An entry that was being placed was placed; any other one begins anew. */
  partIsMissing(file: number): void {
    const kept = this.files.get(file);
    if (kept?.fate.kind === 'placing') kept.fate = { kind: 'placed' };
    else if (kept?.fate.kind === 'partial') kept.pieces.clear();
  }
}

function manifestOf(entries: ManifestEntry[]): Manifest {
  try {
    return Manifest.of(entries);
  } catch {
    throw new JournalError('the manifest cannot be used');
  }
}

/** Reading stops at the first record that is cut off or damaged: it was being written when the page died. */
function wholeRecords(journal: Uint8Array): { records: JournalRecord[]; intactBytes: number } {
  const records: JournalRecord[] = [];
  const view = new DataView(journal.buffer, journal.byteOffset, journal.length);
  let at = 0;
  while (journal.length - at >= 8) {
    const length = view.getUint32(at);
    const body = journal.subarray(at + 8, at + 8 + length);
    if (length > RECORD_BYTES || body.length !== length || crc32(body) !== view.getUint32(at + 4)) break;
    const record = decodeRecord(body);
    if (record === null) break;
    records.push(record);
    at += 8 + length;
  }
  return { records, intactBytes: at };
}

function decodeRecord(body: Uint8Array): JournalRecord | null {
  try {
    const input: unknown = JSON.parse(decoder.decode(body));
    return readRecord(new Fields(input));
  } catch {
    return null;
  }
}

function readRecord(fields: Fields): JournalRecord {
  const record = fields.text('record', 32);
  const file = (): number => fields.integer('file', U32);
  switch (record) {
    case 'accepted': {
      const wanted = fields.list('wanted', U32, decodeSpan);
      const numbers = { version: fields.integer('version', U32), entries: fields.integer('entries', U32) };
      return { record, ...numbers, transfer: fields.id('transfer'), wanted };
    }
    case 'entries':
      return { record, entries: fields.list('entries', U32, decodeEntry) };
    case 'pieces': {
      const hashes = fields.text('hashes', RECORD_BYTES);
      if (decodeHashes(hashes) === null) throw new DecodeError('hashes', 'not hashes of 32 bytes');
      const first = fields.integer('first', MAX_INTEGER);
      return { record, file: file(), version: fields.integer('version', U32), first, hashes };
    }
    case 'dropped':
      return { record, file: file(), piece: fields.integer('piece', MAX_INTEGER) };
    case 'restated': {
      const size_bytes = fields.integer('size_bytes', MAX_INTEGER);
      const restated: JournalRecord = { record, file: file(), version: fields.integer('version', U32), size_bytes };
      if (fields.has('modified_ms')) restated.modified_ms = fields.integer('modified_ms', MAX_INTEGER);
      return restated;
    }
    case 'placing':
    case 'placed':
      return { record, file: file() };
    case 'failed':
      return { record, file: file(), reason: decodeFileFailure(fields) };
    default:
      throw new DecodeError('record', 'not a record this version knows');
  }
}

/** Hashes that follow each other, as a record or a message has them. */
export function joinHashes(hashes: readonly Uint8Array[]): string {
  const bytes = new Uint8Array(32 * hashes.length);
  hashes.forEach((hash, index) => {
    bytes.set(hash, 32 * index);
  });
  return encodeBase64Url(bytes);
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb8_8320 : crc >>> 1;
  return crc >>> 0;
});

/** CRC-32 as in IEEE 802.3. */
export function crc32(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ (CRC_TABLE[(crc ^ byte) & 0xff] ?? 0);
  return (crc ^ 0xffff_ffff) >>> 0;
}
