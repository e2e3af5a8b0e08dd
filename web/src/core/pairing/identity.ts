// Who a device is: one static X25519 key, and its short fingerprint.

import { x25519 } from '@noble/curves/ed25519.js';

import { toBase64Url } from './bytes';
import type { RandomBytes } from './entropy';
import { deriveShort } from './kdf';

/** This device's static key (X25519, RFC 7748). Nothing else identifies a device; there are no signatures (SAFETY D7). */
export class Identity {
  readonly #secret: Uint8Array;
  /** What other devices pin, 32 bytes. */
  readonly publicKey: Uint8Array;

  private constructor(secret: Uint8Array) {
    if (secret.length !== 32) throw new RangeError('a device key has 32 bytes');
    this.#secret = secret;
    this.publicKey = x25519.getPublicKey(secret);
  }

  static generate(random: RandomBytes): Identity {
    return new Identity(random(32));
  }

  /** The key that `secretBytes` gave. Any 32 bytes are a key. */
  static fromSecretBytes(secret: Uint8Array): Identity {
    return new Identity(secret.slice());
  }

  /** What to store: wrapped in IndexedDB where WebCrypto is there (SAFETY §4 rule 7). */
  secretBytes(): Uint8Array {
    return this.#secret.slice();
  }

  /** What a link carries, 16 bytes. */
  fingerprint(): Uint8Array {
    return fingerprintOf(this.publicKey);
  }
}

/** `H("lanyard/1 id", key)[..16]`. */
export function fingerprintOf(publicKey: Uint8Array): Uint8Array {
  return deriveShort('lanyard/1 id', 16, publicKey);
}

/** 22 characters of base64url. */
export function fingerprintText(publicKey: Uint8Array): string {
  return toBase64Url(fingerprintOf(publicKey));
}
