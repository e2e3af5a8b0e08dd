// SPAKE2 over the words of a code (PA-5). R is side A, I is side B.
//
// Bit for bit what crate `spake2` 0.4 and PyPI `spake2` 0.9 do: edwards25519, SHA-256, and a transcript that is older than
// RFC 9382 and different from it.

import { ed25519 } from '@noble/curves/ed25519.js';
import { hkdf } from '@noble/hashes/hkdf.js';
import { sha256 } from '@noble/hashes/sha2.js';

import { at, concat, utf8 } from './bytes';
import type { Code } from './code';
import type { Role } from './frame';

const { Point } = ed25519;
type Element = ReturnType<typeof Point.fromBytes>;

/** Nothing up the sleeve: hashed from the seeds "M" and "N" by the Python implementation. */
const M = Point.fromHex('15cfd18e385952982b6a8f8c7854963b58e34388c8e6dae891db756481a02312');
const N = Point.fromHex('f04f2e7eb734b2a8f8b472eaf9c3c632576ac64aea650b496a8a20ff00e583c3');
const ORDER = Point.Fn.ORDER;

/** Bytes of an element with the side in front, `A` or `B`. */
export const ELEMENT_BYTES = 33;
const SIDE_BYTE: Record<Role, number> = { responder: 0x41, initiator: 0x42 };

/** One side of one exchange. */
export class Spake2 {
  /** What to send: side, then our blinded element. */
  readonly element: Uint8Array;
  readonly #role: Role;
  readonly #code: Code;
  readonly #secret: bigint;
  readonly #password: bigint;

  /** `scalar` has 64 random bytes. */
  constructor(role: Role, code: Code, scalar: Uint8Array) {
    this.#role = role;
    this.#code = code;
    this.#secret = littleEndian(scalar) % ORDER;
    const okm = hkdf(sha256, utf8(code.password()), new Uint8Array(0), utf8('SPAKE2 pw'), 48);
    this.#password = littleEndian(okm.reverse()) % ORDER;
    const blinding = role === 'responder' ? M : N;
    const element = multiply(Point.BASE, this.#secret).add(multiply(blinding, this.#password));
    this.element = concat(Uint8Array.of(SIDE_BYTE[role]), element.toBytes());
  }

  /** The psk, equal on both sides if and only if words and nameplate are; `undefined` when `theirs` is no element. */
  finish(theirs: Uint8Array): Uint8Array | undefined {
    const peer: Role = this.#role === 'responder' ? 'initiator' : 'responder';
    const element = theirs.length === ELEMENT_BYTES && at(theirs, 0) === SIDE_BYTE[peer] ? decode(theirs) : undefined;
    if (element === undefined) return undefined;
    const unblinding = this.#role === 'responder' ? N : M;
    const shared = multiply(element.subtract(multiply(unblinding, this.#password)), this.#secret);
    const [own, other] = [this.element.subarray(1), theirs.subarray(1)];
    const [a, b] = this.#role === 'responder' ? [own, other] : [other, own];
    const transcript = [
      sha256(utf8(this.#code.password())),
      sha256(utf8(`lanyard/1 R ${this.#code.nameplate}`)),
      sha256(utf8(`lanyard/1 I ${this.#code.nameplate}`)),
      a,
      b,
      shared.toBytes(),
    ];
    return sha256(concat(...transcript));
  }
}

/** A canonical encoding of a point of the prime-order group that is not its neutral element, or nothing. */
function decode(message: Uint8Array): Element | undefined {
  try {
    const point = Point.fromBytes(message.subarray(1));
    return point.is0() || !point.isTorsionFree() ? undefined : point;
  } catch {
    return undefined;
  }
}

/** `noble` refuses zero as a factor and the neutral element as a base of its constant-time ladder. */
function multiply(point: Element, scalar: bigint): Element {
  return scalar === 0n || point.is0() ? Point.ZERO : point.multiply(scalar);
}

function littleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}
