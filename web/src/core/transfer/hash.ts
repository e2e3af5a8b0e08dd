/** Piece hashes and file roots (TR-20, TR-21). */
import { blake3 } from '@noble/hashes/blake3.js';
import { createBLAKE3 } from 'hash-wasm';
import { PIECE_BYTES } from '../protocol/frame';

/** BLAKE3 of the bytes, 32 bytes long. Injected, because the fast one is ready only after its code is loaded. */
export type PieceHasher = (bytes: Uint8Array) => Uint8Array;

/** Loads the fast hasher; what it gives back works at once and any number of times. */
export async function loadPieceHasher(): Promise<PieceHasher> {
  const hasher = await createBLAKE3();
  return (bytes) => hasher.init().update(bytes).digest('binary');
}

const FILE_CONTEXT = new TextEncoder().encode('lanyard/1 file');

/** Root of a file: BLAKE3 in key-derivation mode over the size (u64, big-endian) and all piece hashes in order. */
export function fileRoot(sizeBytes: number, pieces: Iterable<Uint8Array>): Uint8Array {
  const size = new Uint8Array(8);
  new DataView(size.buffer).setBigUint64(0, BigInt(sizeBytes));
  const hasher = blake3.create({ context: FILE_CONTEXT }).update(size);
  for (const hash of pieces) hasher.update(hash);
  return hasher.digest();
}

/** How many pieces a file of this size has; an empty one has none. */
export function pieceCount(sizeBytes: number): number {
  return Math.ceil(sizeBytes / PIECE_BYTES);
}

/** Bytes of piece number `piece` of a file of this size; 0 past its end. */
export function pieceLength(sizeBytes: number, piece: number): number {
  return Math.min(Math.max(sizeBytes - piece * PIECE_BYTES, 0), PIECE_BYTES);
}

export function sameHash(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  if (one === undefined || other === undefined || one.length !== other.length) return false;
  return one.every((byte, index) => byte === other[index]);
}
