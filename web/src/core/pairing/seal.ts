// Sealed messages: ChaCha20-Poly1305 with a counter that only grows and a new key every 2²⁰ messages (PA-15).
//
//   offset  bytes  field
//   0       8      counter, big-endian
//   8       n      ciphertext of n bytes of plaintext
//   8 + n   16     tag

import { chacha20poly1305 } from '@noble/ciphers/chacha.js';

import { concat, u64 } from './bytes';

/** Bytes that sealing adds: counter and tag. */
export const SEAL_OVERHEAD = 24;

const REKEY_EVERY = 2 ** 20;
/** Of two neighbouring messages, how far the counters may be apart. So at most one new key is computed for a forged one. */
const MAX_SKIP = BigInt(REKEY_EVERY - 1);
const COUNTER_BYTES = 8;
const REKEY_NONCE = 2n ** 64n - 1n;

/** Seals one direction of one channel. Two sealers must never hold the same key: the counter is the nonce. */
export class Sealer {
  #key: Uint8Array;
  #counter: number;

  /** `counter` is that of the first message; other than 0 only to carry on where a sealer of the same key stopped. */
  constructor(key: Uint8Array, counter = 0) {
    this.#key = key.slice();
    this.#counter = counter;
    for (let epoch = 0; epoch < Math.floor(counter / REKEY_EVERY); epoch++) this.#key = rekeyed(this.#key);
  }

  /** Seals one message; the result is `SEAL_OVERHEAD` bytes longer. */
  seal(plaintext: Uint8Array): Uint8Array {
    const counter = this.#counter;
    const sealed = concat(u64(counter), encrypt(this.#key, BigInt(counter), plaintext));
    this.#counter = counter + 1;
    if (this.#counter % REKEY_EVERY === 0) this.#key = rekeyed(this.#key);
    return sealed;
  }
}

/** Opens one direction of one channel. A message may be lost, but none is taken twice or late. */
export class Opener {
  #key: Uint8Array;
  /** How often the key was changed. */
  #epoch = 0;
  /** The lowest counter that is new. */
  #next = 0n;

  constructor(key: Uint8Array) {
    this.#key = key.slice();
  }

  /**
   * Opens one sealed message. A refused message changes nothing.
   *
   * @throws {OpenError} that says why it was refused; after `forged` the channel should be closed.
   */
  open(sealed: Uint8Array): Uint8Array {
    if (sealed.length < SEAL_OVERHEAD) throw new OpenError('too_short');
    const counter = new DataView(sealed.buffer, sealed.byteOffset, COUNTER_BYTES).getBigUint64(0);
    if (counter < this.#next) throw new OpenError('replayed');
    if (counter - this.#next > MAX_SKIP) throw new OpenError('too_far_ahead');
    const epoch = Number(counter / BigInt(REKEY_EVERY));
    // The counter is at most MAX_SKIP ahead of `next`, and `next` at most at the start of the next epoch.
    const key = epoch === this.#epoch ? this.#key : rekeyed(this.#key);
    const plaintext = decrypt(key, counter, sealed.subarray(COUNTER_BYTES));
    if (plaintext === undefined) throw new OpenError('forged');
    this.#key = key;
    this.#epoch = epoch;
    this.#next = counter + 1n;
    return plaintext;
  }
}

export type OpenErrorKind = 'too_short' | 'replayed' | 'too_far_ahead' | 'forged';

const OPEN_ERROR_TEXT: Record<OpenErrorKind, string> = {
  too_short: 'a sealed message is shorter than its 24 bytes of counter and tag',
  replayed: 'a sealed message came twice or late',
  too_far_ahead: 'too many sealed messages were lost',
  forged: 'a sealed message was changed on its way: the connection is not safe, meet again',
};

/** Why a sealed message was refused. */
export class OpenError extends Error {
  override readonly name = 'OpenError';

  constructor(readonly kind: OpenErrorKind) {
    super(OPEN_ERROR_TEXT[kind]);
  }
}

/** Noise's nonce: four zero bytes, then the counter, little-endian. */
export function nonceOf(counter: bigint): Uint8Array {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setBigUint64(4, counter, true);
  return nonce;
}

export function encrypt(key: Uint8Array, counter: bigint, plaintext: Uint8Array, ad?: Uint8Array): Uint8Array {
  return chacha20poly1305(key, nonceOf(counter), ad).encrypt(plaintext);
}

/** `undefined` when the tag does not verify. */
export function decrypt(
  key: Uint8Array,
  counter: bigint,
  ciphertext: Uint8Array,
  ad?: Uint8Array,
): Uint8Array | undefined {
  try {
    return chacha20poly1305(key, nonceOf(counter), ad).decrypt(ciphertext);
  } catch {
    return undefined;
  }
}

/** Noise §4.2, `REKEY(k)`: the first 32 bytes of zeros encrypted under the nonce 2⁶⁴ − 1. */
function rekeyed(key: Uint8Array): Uint8Array {
  return encrypt(key, REKEY_NONCE, new Uint8Array(32)).slice(0, 32);
}
