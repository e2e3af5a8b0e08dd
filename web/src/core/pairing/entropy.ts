// All randomness of one pairing, drawn once from the caller and spread by purpose and attempt.

import { concat } from './bytes';
import { derive, deriveShort } from './kdf';

/** Cryptographic randomness: `(length) => crypto.getRandomValues(new Uint8Array(length))`, or fixed bytes in a test. */
export type RandomBytes = (length: number) => Uint8Array;

/**
 * 32 random bytes of the caller and how many joiners were tried with them. Every value is
 * `H("lanyard/1 entropy <purpose>", seed ‖ attempt)`, the attempt as a big-endian `u32`: no attempt sees the one-time key
 * of another, and a fixed seed gives the same transcript as in Rust.
 */
export class Entropy {
  #seed: Uint8Array;
  #attempt = 0;

  constructor(random: RandomBytes) {
    this.#seed = random(32);
    if (this.#seed.length !== 32) throw new RangeError('the random source gave another length than asked for');
  }

  /** Goes on to values that were never used. */
  nextAttempt(): void {
    this.#attempt += 1;
    if (this.#attempt > 0xffff_ffff) {
      this.#seed = derive('lanyard/1 entropy next', this.#seed);
      this.#attempt = 0;
    }
  }

  noiseEphemeral(): Uint8Array {
    return this.#fill('lanyard/1 entropy ephemeral', 32);
  }

  /** Reduced modulo the group order by the receiver, little-endian. */
  spake2Scalar(): Uint8Array {
    return this.#fill('lanyard/1 entropy spake2', 64);
  }

  pictureNonce(): Uint8Array {
    return this.#fill('lanyard/1 entropy nonce', 32);
  }

  /** For the two wrong rows and the place of the right one. */
  pictureRows(): Uint8Array {
    return this.#fill('lanyard/1 entropy rows', 18);
  }

  #fill(context: string, length: number): Uint8Array {
    const attempt = new Uint8Array(4);
    new DataView(attempt.buffer).setUint32(0, this.#attempt);
    return deriveShort(context, length, concat(this.#seed, attempt));
  }
}
