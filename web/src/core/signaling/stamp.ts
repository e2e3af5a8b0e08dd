/** Proof of work for a claim while somebody guesses codes (SG-21). */
import { blake3 } from '@noble/hashes/blake3.js';

import { decodeBase64Url } from '../protocol/base64url';

/** Tries between two looks at the clock: well below a frame. */
const TRIES_AT_ONCE = 2_000;

/**
 * Finds a stamp for this claim on this socket: about 2^`bits` hashes, in slices that leave the page responsive.
 * `device` is the id from `welcome`. `pause` lets others run.
 */
export async function findStamp(
  device: string,
  nameplate: string,
  bits: number,
  pause: () => Promise<void> = () => new Promise((resolve) => setTimeout(resolve, 0)),
): Promise<number> {
  const id = decodeBase64Url(device) ?? new Uint8Array(16);
  const digits = new TextEncoder().encode(nameplate);
  const seed = new Uint8Array(id.length + digits.length);
  seed.set(id);
  seed.set(digits, id.length);
  const input = new Uint8Array(40);
  input.set(blake3(seed, { context: new TextEncoder().encode('lanyard/1 stamp') }));
  const view = new DataView(input.buffer);
  for (let stamp = 0; ; stamp += 1) {
    view.setUint32(32, Math.floor(stamp / 2 ** 32));
    view.setUint32(36, stamp % 2 ** 32);
    if (zeroBits(blake3(input)) >= bits) return stamp;
    if (stamp % TRIES_AT_ONCE === TRIES_AT_ONCE - 1) await pause();
  }
}

/** How many bits the first four bytes begin with. */
function zeroBits(hash: Uint8Array): number {
  return Math.clz32(new DataView(hash.buffer, hash.byteOffset).getUint32(0));
}
