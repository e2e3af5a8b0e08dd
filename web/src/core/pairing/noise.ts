// `Noise_XXpsk0_25519_ChaChaPoly_SHA256`, after the Noise specification, revision 34 (PA-8, PA-9).

import { x25519 } from '@noble/curves/ed25519.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';

import { concat, equal, utf8 } from './bytes';
import { type Method, type Role, methodByte } from './frame';
import type { Identity } from './identity';
import { decrypt, encrypt } from './seal';

const PATTERN = 'Noise_XXpsk0_25519_ChaChaPoly_SHA256';
const KEY_BYTES = 32;
const TAG_BYTES = 16;
const EMPTY = new Uint8Array(0);

/** Why a Noise message was not taken: a tag did not verify or a part is missing, or a shared secret was zero. */
export class NoiseError extends Error {
  constructor(readonly kind: 'decrypt' | 'weak_key') {
    super(kind);
  }
}

/** What a finished handshake leaves. */
export interface Finished {
  /** Keys of messages I → R and R → I, straight from the split. Nobody else can know them. */
  readonly split: readonly [iToR: Uint8Array, rToI: Uint8Array];
  /** `h`; no secret. */
  readonly hash: Uint8Array;
  readonly peerKey: Uint8Array;
}

/** One handshake, from message 1 to the split. After an error it is of no further use. */
export class Noise {
  readonly #role: Role;
  readonly #identity: Identity;
  readonly #ephemeral: Uint8Array;
  readonly #ephemeralPublic: Uint8Array;
  readonly #symmetric: SymmetricState;
  #peerEphemeral: Uint8Array | undefined;
  #peerKey: Uint8Array | undefined;

  /** `mailbox` is what both sides know of where they meet; it is last in the prologue, so nothing is ambiguous. */
  constructor(
    role: Role,
    method: Method,
    mailbox: Uint8Array,
    psk: Uint8Array,
    identity: Identity,
    ephemeral: Uint8Array,
  ) {
    this.#role = role;
    this.#identity = identity;
    this.#ephemeral = ephemeral;
    this.#ephemeralPublic = x25519.getPublicKey(ephemeral);
    const prologue = concat(utf8('lanyard/1'), Uint8Array.of(methodByte(method)), mailbox);
    this.#symmetric = new SymmetricState(prologue);
    // Message 1 is `psk, e`: the psk comes first on both sides.
    this.#symmetric.mixKeyAndHash(psk);
  }

  /** I: `psk, e`. */
  writeM1(): Uint8Array {
    return concat(this.#writeEphemeral(), this.#symmetric.encryptAndHash(EMPTY));
  }

  /** R. Returns the payload, which is empty today. */
  readM1(message: Uint8Array): Uint8Array {
    return this.#symmetric.decryptAndHash(this.#readEphemeral(message));
  }

  /** R: `e, ee, s, es`. */
  writeM2(payload: Uint8Array): Uint8Array {
    const e = this.#writeEphemeral();
    this.#mixDh('ee');
    const s = this.#symmetric.encryptAndHash(this.#identity.publicKey);
    this.#mixDh('es');
    return concat(e, s, this.#symmetric.encryptAndHash(payload));
  }

  /** I. */
  readM2(message: Uint8Array): Uint8Array {
    const rest = this.#readEphemeral(message);
    this.#mixDh('ee');
    const payload = this.#readStatic(rest);
    this.#mixDh('es');
    return this.#symmetric.decryptAndHash(payload);
  }

  /** I: `s, se`. */
  writeM3(payload: Uint8Array): Uint8Array {
    const s = this.#symmetric.encryptAndHash(this.#identity.publicKey);
    this.#mixDh('se');
    return concat(s, this.#symmetric.encryptAndHash(payload));
  }

  /** R. */
  readM3(message: Uint8Array): Uint8Array {
    const payload = this.#readStatic(message);
    this.#mixDh('se');
    return this.#symmetric.decryptAndHash(payload);
  }

  /** Whether the two one-time keys are known and the same. */
  hasEqualEphemerals(): boolean {
    return this.#peerEphemeral !== undefined && equal(this.#peerEphemeral, this.#ephemeralPublic);
  }

  /** Known after message 2 at I, after message 3 at R. */
  peerKey(): Uint8Array {
    return known(this.#peerKey);
  }

  /** The keys, once all three messages are through. */
  finish(): Finished {
    this.#ephemeral.fill(0);
    return { split: this.#symmetric.split(), hash: this.#symmetric.hash(), peerKey: this.peerKey() };
  }

  #writeEphemeral(): Uint8Array {
    this.#symmetric.mixHash(this.#ephemeralPublic);
    // With a psk in the pattern, one-time keys are mixed into the key too (Noise §9.2).
    this.#symmetric.mixKey(this.#ephemeralPublic);
    return this.#ephemeralPublic;
  }

  #readEphemeral(message: Uint8Array): Uint8Array {
    if (message.length < KEY_BYTES) throw new NoiseError('decrypt');
    this.#peerEphemeral = message.slice(0, KEY_BYTES);
    this.#symmetric.mixHash(this.#peerEphemeral);
    this.#symmetric.mixKey(this.#peerEphemeral);
    return message.subarray(KEY_BYTES);
  }

  #readStatic(message: Uint8Array): Uint8Array {
    const end = KEY_BYTES + TAG_BYTES;
    if (message.length < end) throw new NoiseError('decrypt');
    this.#peerKey = this.#symmetric.decryptAndHash(message.subarray(0, end));
    return message.subarray(end);
  }

  #mixDh(token: 'ee' | 'es' | 'se'): void {
    // `es` is I's one-time key with R's static one; `se` the other way round.
    const ownStatic = token === (this.#role === 'initiator' ? 'se' : 'es');
    const peerStatic = token === (this.#role === 'initiator' ? 'es' : 'se');
    const secret = ownStatic ? this.#identity.secretBytes() : this.#ephemeral;
    const shared = sharedSecret(secret, known(peerStatic ? this.#peerKey : this.#peerEphemeral));
    this.#symmetric.mixKey(shared);
    shared.fill(0);
    if (ownStatic) secret.fill(0);
  }
}

/** Noise §5.2. */
class SymmetricState {
  #h: Uint8Array;
  #ck: Uint8Array;
  #key: Uint8Array | undefined;
  #counter = 0n;

  constructor(prologue: Uint8Array) {
    // The name is longer than a hash.
    this.#h = sha256(utf8(PATTERN));
    this.#ck = this.#h;
    this.mixHash(prologue);
  }

  mixHash(data: Uint8Array): void {
    this.#h = sha256(concat(this.#h, data));
  }

  mixKey(input: Uint8Array): void {
    const [ck, key] = hkdf(this.#ck, input);
    this.#ck = ck;
    this.#setKey(key);
  }

  mixKeyAndHash(input: Uint8Array): void {
    const [ck, hash, key] = hkdf(this.#ck, input);
    this.#ck = ck;
    this.mixHash(hash);
    this.#setKey(key);
  }

  encryptAndHash(plaintext: Uint8Array): Uint8Array {
    const ciphertext = encrypt(known(this.#key), this.#counter++, plaintext, this.#h);
    this.mixHash(ciphertext);
    return ciphertext;
  }

  decryptAndHash(ciphertext: Uint8Array): Uint8Array {
    const plaintext = decrypt(known(this.#key), this.#counter++, ciphertext, this.#h);
    if (plaintext === undefined) throw new NoiseError('decrypt');
    this.mixHash(ciphertext);
    return plaintext;
  }

  hash(): Uint8Array {
    return this.#h;
  }

  split(): [Uint8Array, Uint8Array] {
    const [first, second] = hkdf(this.#ck, EMPTY);
    this.#ck.fill(0);
    this.#key?.fill(0);
    return [first, second];
  }

  #setKey(key: Uint8Array): void {
    this.#key = key;
    this.#counter = 0n;
  }
}

/** Noise §4.3, three outputs; the first two do not depend on whether the third is used. */
function hkdf(ck: Uint8Array, input: Uint8Array): [Uint8Array, Uint8Array, Uint8Array] {
  const key = hmac(sha256, ck, input);
  const first = hmac(sha256, key, Uint8Array.of(1));
  const second = hmac(sha256, key, concat(first, Uint8Array.of(2)));
  const third = hmac(sha256, key, concat(second, Uint8Array.of(3)));
  key.fill(0);
  return [first, second, third];
}

/** X25519 that refuses a zero result (RFC 7748 §6.1). */
function sharedSecret(secret: Uint8Array, peer: Uint8Array): Uint8Array {
  try {
    return x25519.getSharedSecret(secret, peer);
  } catch {
    throw new NoiseError('weak_key');
  }
}

function known<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a Noise message was written or read before its turn');
  return value;
}
