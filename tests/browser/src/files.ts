// Files to send, and proof that they arrived.

import { createReadStream, closeSync, mkdirSync, openSync, readdirSync, writeSync } from "node:fs";
import { dirname, join, relative } from "node:path";

import { createBLAKE3 } from "hash-wasm";

/** Writes a file of bytes that no compression or repetition could hide errors in. The seed is in its name's caller. */
export function writeRandomFile(path: string, bytes: number, seed: number): void {
  mkdirSync(dirname(path), { recursive: true });
  const file = openSync(path, "w");
  const block = new Uint32Array(64 * 1024);
  let state = seed | 1;
  for (let written = 0; written < bytes; ) {
    for (let i = 0; i < block.length; i++) {
      // xorshift32 (Marsaglia 2003).
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      block[i] = state;
    }
    written += writeSync(file, new Uint8Array(block.buffer), 0, Math.min(block.byteLength, bytes - written));
  }
  closeSync(file);
}

/** BLAKE3 of a file, hex. */
export async function hashOf(path: string): Promise<string> {
  const hasher = await createBLAKE3();
  for await (const chunk of createReadStream(path)) hasher.update(chunk as Buffer);
  return hasher.digest("hex");
}

/** Every file below a folder with its hash, by relative path. */
export async function hashesBelow(root: string): Promise<Map<string, string>> {
  const hashes = new Map<string, string>();
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    hashes.set(relative(root, path), await hashOf(path));
  }
  return new Map([...hashes].sort(([a], [b]) => (a < b ? -1 : 1)));
}
