// What two devices share once they have met: exported keys, the sealed channel, `bind`.

import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';

import { concat, equal, u64, utf8 } from './bytes';
import type { Role } from './frame';
import { derive } from './kdf';
import { LaneOpener, LaneSealer } from './lane';
import type { Finished } from './noise';
import type { Profile } from './profile';
import { RememberedDevice, ResumeSecret, type Trust } from './remembered';
import { Opener, Sealer } from './seal';

/**
 * Two devices that have met. The channel is sealed; the transport below it still has to be bound to it: no file byte may
 * move before `verifyBind` has passed on the connection that carries it, unless that connection seals each frame with
 * `laneKeys`.
 */
export class Session {
  readonly peerKey: Uint8Array;
  /** `h`, for the pictures. No secret. */
  readonly handshakeHash: Uint8Array;
  readonly #exported: Uint8Array;
  readonly #sealer: Sealer;
  readonly #opener: Opener;

  constructor(
    /** Our part in the handshake; the responder makes the WebRTC offer. */
    readonly role: Role,
    /** How the two met; store it with the device. */
    readonly trust: Trust,
    /** What the other device says of itself. Show it as text only. */
    readonly peerProfile: Profile,
    finished: Finished,
  ) {
    const [iToR, rToI] = finished.split;
    this.peerKey = finished.peerKey;
    this.handshakeHash = finished.hash;
    // From the raw split: the hash alone is computed by whoever saw the handshake of a nearby pairing (PA-13).
    this.#exported = derive('lanyard/1 export', iToR, rToI, finished.hash);
    this.#sealer = new Sealer(role === 'initiator' ? iToR : rToI);
    this.#opener = new Opener(role === 'initiator' ? rToI : iToR);
    iToR.fill(0);
    rToI.fill(0);
  }

  /** Seals one message for the mailbox: offers, answers, candidates. 24 bytes longer than `plaintext`. */
  seal(plaintext: Uint8Array): Uint8Array {
    return this.#sealer.seal(plaintext);
  }

  /** Opens one message of the other side.
   *
   * @throws {OpenError} when it was forged, came twice or late, or too many are missing.
   */
  open(sealed: Uint8Array): Uint8Array {
    return this.#opener.open(sealed);
  }

  /**
   * The first frame to send on a new transport: a MAC over the session id (16 bytes) and both certificates' SHA-256 (32
   * bytes each), as this end really uses and sees them (PA-16).
   */
  bindMessage(sessionId: Uint8Array, ownCert: Uint8Array, peerCert: Uint8Array): Uint8Array {
    return this.#bind(this.role, sessionId, ownCert, peerCert);
  }

  /** Checks the other side's first frame. `false`: close the transport and show it; it ends at somebody else. */
  verifyBind(sessionId: Uint8Array, ownCert: Uint8Array, peerCert: Uint8Array, received: Uint8Array): boolean {
    const peer: Role = this.role === 'initiator' ? 'responder' : 'initiator';
    // The other side calls its own what we saw, and the other way round.
    return equal(this.#bind(peer, sessionId, peerCert, ownCert), received);
  }

  #bind(role: Role, sessionId: Uint8Array, ownCert: Uint8Array, peerCert: Uint8Array): Uint8Array {
    if (sessionId.length !== 16 || ownCert.length !== 32 || peerCert.length !== 32) {
      throw new RangeError('a session id has 16 bytes, a SHA-256 fingerprint 32');
    }
    const key = this.#export('lanyard/1 bind');
    return hmac(sha256, key, concat(utf8(role === 'initiator' ? 'I' : 'R'), sessionId, ownCert, peerCert));
  }

  /** Keys for paths where no certificate can be seen: the sealed WebSocket and the plain-http lane. */
  laneKeys(): LaneKeys {
    const [iToR, rToI] = [this.#export('lanyard/1 lane I'), this.#export('lanyard/1 lane R')];
    const token = this.#export('lanyard/1 lane');
    return this.role === 'initiator' ? new LaneKeys(token, iToR, rToI) : new LaneKeys(token, rToI, iToR);
  }

  /** What both sides store when both opted in to be remembered. Never on a page of plain http (SAFETY D7). */
  remember(): RememberedDevice {
    return new RememberedDevice(this.peerKey, this.#export('lanyard/1 pair'));
  }

  /** What brings this session back after a lost connection, without a human, for 24 hours. */
  resumeSecret(): ResumeSecret {
    return new ResumeSecret(this.peerKey, this.trust, this.#export('lanyard/1 resume'));
  }

  #export(context: string): Uint8Array {
    return derive(context, this.#exported);
  }
}

/** Keys for frames outside the mailbox. The three fields can be posted to a worker and put together again there. */
export class LaneKeys {
  constructor(
    /** Ties an HTTP request to the session on https or localhost. Never send it over plain http to another machine. */
    readonly token: Uint8Array,
    readonly sealing: Uint8Array,
    readonly opening: Uint8Array,
  ) {}

  /** Both directions of the sealed WebSocket of one attempt (LK-33). Once for each attempt of a session. */
  lane(attempt: number): { sealer: LaneSealer; opener: LaneOpener } {
    const { sealer, opener } = this.stream(attempt);
    return { sealer: new LaneSealer(sealer), opener: new LaneOpener(opener) };
  }

  /**
   * The two directions of one stream, a connection or one request and its answer, with keys of their own. Each number may
   * be used once in a session: a second sealer of the same number would repeat its nonces, and an opener made twice would
   * take a replayed stream.
   */
  stream(number: number): { sealer: Sealer; opener: Opener } {
    const key = (lane: Uint8Array): Uint8Array => derive('lanyard/1 lane stream', lane, u64(number));
    return { sealer: new Sealer(key(this.sealing)), opener: new Opener(key(this.opening)) };
  }
}
