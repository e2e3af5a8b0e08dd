// `H`, the one hash of this protocol: BLAKE3 in derive-key mode, a context string for each purpose (PA-2).

import { blake3 } from '@noble/hashes/blake3.js';

import { concat, utf8 } from './bytes';

/** `H(context, input)`, 32 bytes. */
export function derive(context: string, ...input: readonly Uint8Array[]): Uint8Array {
  return deriveShort(context, 32, ...input);
}

/** The first bytes of `H(context, input)`, or more than 32 of them. */
export function deriveShort(context: string, length: number, ...input: readonly Uint8Array[]): Uint8Array {
  return blake3(concat(...input), { context: utf8(context), dkLen: length });
}
