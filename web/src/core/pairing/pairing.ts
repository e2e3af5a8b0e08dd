// The state machine of a meeting, one for all five methods.

import { concat, equal, utf8 } from './bytes';
import type { Code } from './code';
import { Entropy, type RandomBytes } from './entropy';
import { type Method, type Role, type Step, decodeFrame, encodeFrame } from './frame';
import { type Identity, fingerprintOf } from './identity';
import type { Link, LinkSecret } from './link';
import { type MailboxId, mailboxBytes } from './mailbox';
import { Noise, NoiseError } from './noise';
import { PairingError, type PairingErrorKind, abortReason } from './pairing-error';
import { type PictureRow, type PictureRows, choices, commitment, pictureRow } from './pictures';
import { type Profile, decodeProfile, encodeProfile } from './profile';
import type { RememberedDevice, ResumeSecret, Trust } from './remembered';
import { OpenError } from './seal';
import { Session } from './session';
import { ELEMENT_BYTES, Spake2 } from './spake2';

/** Joiners of a link that may fail to know its secret; the last one closes it. */
const MAX_WRONG_TRIES = 5;
const EMPTY = new Uint8Array(0);

/** This device, as a pairing needs it. */
export interface Self {
  readonly identity: Identity;
  readonly profile: Profile;
  readonly random: RandomBytes;
}

/** What the shell has to do. */
export type Output =
  /** Send this message to the other side of the mailbox. */
  | { readonly kind: 'send'; readonly message: Uint8Array }
  /** Initiator of a nearby pairing: show this row; answer with `confirmPictures`. */
  | { readonly kind: 'show_pictures'; readonly mine: PictureRow }
  /** Responder of a nearby pairing: let the human pick the row of the other screen; answer with `pickRow`. */
  | { readonly kind: 'pick_pictures'; readonly rows: PictureRows }
  /** The two have met. The link or code is used up. */
  | { readonly kind: 'established'; readonly session: Session }
  /** A message or joiner was refused, and the meeting goes on: a link still waits for the right joiner. */
  | { readonly kind: 'refused'; readonly error: PairingError }
  /**
   * The meeting is over. A code is burnt: give its nameplate back and show the error's message. After `established` it
   * means that the other side did not take our last message, and the session is worth nothing.
   */
  | { readonly kind: 'failed'; readonly error: PairingError };

type Secret = { readonly kind: 'psk'; readonly psk: Uint8Array } | { readonly kind: 'code'; readonly code: Code };

/** Who must be at the other end. */
type Expected =
  | { readonly kind: 'anyone' }
  | { readonly kind: 'fingerprint'; readonly fingerprint: Uint8Array }
  | { readonly kind: 'key'; readonly key: Uint8Array };

type State =
  /** I, code: R's SPAKE2 element has to come first. */
  | { readonly kind: 'await_pake'; readonly pake: Spake2 }
  /** R. With a code, our element is sent and waits for the other one. */
  | { readonly kind: 'await_m1'; readonly pake: Spake2 | undefined }
  | { readonly kind: 'await_m2'; readonly noise: Noise }
  | { readonly kind: 'await_m3'; readonly noise: Noise }
  | { readonly kind: 'await_commit'; readonly session: Session }
  | { readonly kind: 'await_nonce'; readonly session: Session; readonly nonce: Uint8Array }
  | {
      readonly kind: 'await_reveal';
      readonly session: Session;
      readonly commitment: Uint8Array;
      readonly nonce: Uint8Array;
    }
  /** Nearby: the humans look. `right` is the row that R's human has to pick. */
  | {
      readonly kind: 'comparing';
      readonly session: Session;
      readonly right: number | undefined;
      readonly ownSaysSame: boolean;
      readonly peerSaysSame: boolean;
    }
  | { readonly kind: 'established' }
  | { readonly kind: 'failed' };

interface Meeting {
  readonly role: Role;
  readonly method: Method;
  readonly trust: Trust;
  /** What the prologue says of where the two meet. */
  readonly mailbox: Uint8Array;
  readonly secret: Secret;
  readonly expected: Expected;
}

/**
 * One meeting of this device with one other, from the first message to a `Session`. Feed it each handshake message that
 * comes through the mailbox (`handleMessage`) and drain `pollOutput` after every call and after making it. It knows no
 * clock: the shell ends it with `cancel`, and when a joiner of a link goes away before the end, arms it again with
 * `restart`.
 */
export class Pairing {
  readonly #self: Self;
  readonly #meeting: Meeting;
  readonly #entropy: Entropy;
  readonly #outputs: Output[] = [];
  #wrongTries = 0;
  #lastSent: Uint8Array = EMPTY;
  #lastTaken: Uint8Array = EMPTY;
  #state: State;

  private constructor(self: Self, meeting: Meeting) {
    this.#self = self;
    this.#meeting = meeting;
    this.#entropy = new Entropy(self.random);
    this.#state = this.#firstState();
  }

  /** Shows a link or QR code with this secret and waits for its opener. */
  static showLink(self: Self, secret: LinkSecret): Pairing {
    return new Pairing(self, { ...linkMeeting('responder', secret), expected: { kind: 'anyone' } });
  }

  /** Opens a link that another device shows. */
  static openLink(self: Self, link: Link): Pairing {
    const expected: Expected = { kind: 'fingerprint', fingerprint: link.shower };
    return new Pairing(self, { ...linkMeeting('initiator', link.secret), expected });
  }

  /** Shows a code. It is good for one try. */
  static showCode(self: Self, code: Code): Pairing {
    return new Pairing(self, codeMeeting('responder', code));
  }

  /** Tries a code that another device shows. Whatever comes of it, the code is used up afterwards. */
  static typeCode(self: Self, code: Code): Pairing {
    return new Pairing(self, codeMeeting('initiator', code));
  }

  /**
   * Meets a device that nothing is shared with; humans on both sides compare pictures. `mailbox` is where the server let
   * the two meet. The one who is asked is the responder: its human picks.
   */
  static nearby(self: Self, role: Role, mailbox: MailboxId): Pairing {
    return new Pairing(self, {
      role,
      method: 'nearby',
      trust: 'compared',
      mailbox: mailboxBytes(mailbox),
      secret: { kind: 'psk', psk: new Uint8Array(32) },
      expected: { kind: 'anyone' },
    });
  }

  /** Meets a remembered device in one of its `mailboxes`. The first in it is the responder. */
  static remembered(self: Self, role: Role, mailbox: MailboxId, device: RememberedDevice): Pairing {
    return new Pairing(self, {
      role,
      method: 'remembered',
      trust: 'remembered',
      mailbox: mailboxBytes(mailbox),
      secret: { kind: 'psk', psk: device.pairSecret },
      expected: { kind: 'key', key: device.peerKey },
    });
  }

  /**
   * Brings a session back, in the mailbox it had or in one of the secret's `mailboxes`. The first in it is the responder,
   * whatever the roles were before.
   */
  static resume(self: Self, role: Role, mailbox: MailboxId, resume: ResumeSecret): Pairing {
    return new Pairing(self, {
      role,
      method: 'resumed',
      trust: resume.trust,
      mailbox: mailboxBytes(mailbox),
      secret: { kind: 'psk', psk: resume.psk },
      expected: { kind: 'key', key: resume.peerKey },
    });
  }

  get role(): Role {
    return this.#meeting.role;
  }

  get method(): Method {
    return this.#meeting.method;
  }

  /** What the other device says of itself, while the humans compare pictures; nobody vouches for it yet. */
  get claimedProfile(): Profile | undefined {
    return this.#state.kind === 'comparing' ? this.#state.session.peerProfile : undefined;
  }

  /** The next thing to do; drain it after every call. */
  pollOutput(): Output | undefined {
    return this.#outputs.shift();
  }

  /** Takes one message of the other side, sealed messages excepted: those go to `Session.open`. Any bytes may come. */
  handleMessage(message: Uint8Array): void {
    if (this.#state.kind === 'failed') return;
    if (this.#lastTaken.length > 0 && equal(message, this.#lastTaken)) {
      this.#outputs.push({ kind: 'refused', error: new PairingError('replayed') });
      return;
    }
    try {
      this.#take(message);
      this.#lastTaken = message.slice();
    } catch (error) {
      if (!(error instanceof PairingError)) throw error;
      this.#refuse(error);
    }
  }

  /**
   * A message came under another sender's number than that of the side that is there (PA-9). What it says does not count:
   * only the server can have named the number, and an answer would go to nobody.
   */
  refuseSender(): void {
    if (this.#state.kind !== 'failed') this.#refuse(new PairingError('wrong_sender'));
  }

  /** The human's answer to `pick_pictures`: which row, from 0, is on the other screen. Else it does nothing. */
  pickRow(row: number): void {
    const state = this.#state;
    if (state.kind === 'comparing' && state.right !== undefined && !state.ownSaysSame) {
      this.#judgePictures(state, row === state.right, 'wrong_pictures');
    }
  }

  /** The human's answer to `show_pictures`: whether the other screen shows the same row. Else it does nothing. */
  confirmPictures(same: boolean): void {
    const state = this.#state;
    if (state.kind === 'comparing' && state.right === undefined && !state.ownSaysSame) {
      this.#judgePictures(state, same, 'pictures_differ');
    }
  }

  /**
   * Waits for another joiner after one went away or stayed silent; nothing is counted. All keys are new, so messages of
   * the old attempt are worth nothing. `false` when there is nothing to wait for: we are the initiator, the humans are
   * comparing already, or the meeting is over.
   */
  restart(): boolean {
    const waits = this.#state.kind === 'await_m1' || this.#state.kind === 'await_m3';
    if (waits) this.#rearm();
    return waits;
  }

  /** Ends the meeting because the human or a timeout says so. The other side is told. */
  cancel(): void {
    this.#stop('cancelled');
  }

  /** Ends the meeting because the server reports a third side (SAFETY §4 rule 2). The other side is told. */
  crowded(): void {
    this.#stop('crowded');
  }

  #stop(kind: PairingErrorKind): void {
    if (this.#state.kind !== 'established' && this.#state.kind !== 'failed') this.#fail(new PairingError(kind));
  }

  #take(message: Uint8Array): void {
    if (this.#lastSent.length > 0 && equal(message, this.#lastSent)) throw new PairingError('reflected');
    const { step, payload } = decodeFrame(message, this.#meeting.method, this.#meeting.role);
    if (step === 'abort') throw new PairingError('peer_stopped', abortReason(payload[0]));
    const state = this.#state;
    // A refused message ends the attempt, so the state need not be put back.
    if (state.kind === 'await_pake' && step === 'pake') this.#takePake(state.pake, payload);
    else if (state.kind === 'await_m1' && step === 'm1') this.#takeM1(state.pake, payload);
    else if (state.kind === 'await_m3' && step === 'm1' && this.#mayRetry()) {
      // The old joiner went away and the server has not said so yet: the newest one counts.
      this.#entropy.nextAttempt();
      this.#takeM1(undefined, payload);
    } else if (state.kind === 'await_m2' && step === 'm2') this.#takeM2(state.noise, payload);
    else if (state.kind === 'await_m3' && step === 'm3') this.#takeM3(state.noise, payload);
    else if (state.kind === 'await_commit' && step === 'commit') this.#takeCommit(state.session, payload);
    else if (state.kind === 'await_nonce' && step === 'nonce') this.#takeNonce(state.session, state.nonce, payload);
    else if (state.kind === 'await_reveal' && step === 'reveal') {
      this.#takeReveal(state.session, state.commitment, state.nonce, payload);
    } else if (
      state.kind === 'comparing' &&
      !state.peerSaysSame &&
      (step === 'confirm_i' || step === 'confirm_r')
    ) {
      openSealed(state.session, payload, 0);
      this.#compared({ ...state, peerSaysSame: true });
    } else throw new PairingError('out_of_step');
  }

  #takePake(pake: Spake2, payload: Uint8Array): void {
    const psk = pake.finish(payload);
    if (psk === undefined) throw new PairingError('malformed');
    const noise = this.#noise(psk);
    this.#send('m1', concat(pake.element, noise.writeM1()));
    this.#state = { kind: 'await_m2', noise };
  }

  #takeM1(pake: Spake2 | undefined, payload: Uint8Array): void {
    const { secret } = this.#meeting;
    let psk: Uint8Array | undefined;
    let m1 = payload;
    if (secret.kind === 'psk') psk = secret.psk;
    else if (pake === undefined) throw new PairingError('out_of_step');
    else {
      psk = pake.finish(payload.subarray(0, ELEMENT_BYTES));
      m1 = payload.subarray(ELEMENT_BYTES);
    }
    if (psk === undefined) throw new PairingError('malformed');
    const noise = this.#noise(psk);
    const m2 = this.#orRefuse(() => {
      noise.readM1(m1);
      return noise.writeM2(encodeProfile(this.#self.profile));
    });
    if (noise.hasEqualEphemerals()) throw new PairingError('equal_ephemerals');
    this.#send('m2', m2);
    this.#state = { kind: 'await_m3', noise };
  }

  #takeM2(noise: Noise, payload: Uint8Array): void {
    const profileBytes = this.#orRefuse(() => noise.readM2(payload));
    if (noise.hasEqualEphemerals()) throw new PairingError('equal_ephemerals');
    this.#checkPeer(noise);
    const profile = readProfile(profileBytes);
    this.#send('m3', this.#orRefuse(() => noise.writeM3(encodeProfile(this.#self.profile))));
    const session = this.#session(noise, profile);
    if (this.#meeting.method === 'nearby') {
      const nonce = this.#entropy.pictureNonce();
      this.#send('commit', session.seal(commitment(nonce)));
      this.#state = { kind: 'await_nonce', session, nonce };
    } else this.#establish(session);
  }

  #takeM3(noise: Noise, payload: Uint8Array): void {
    // Message 1 has proven the secret, so this can only be damage.
    const profileBytes = this.#orRefuse(() => noise.readM3(payload), 'tampered');
    this.#checkPeer(noise);
    const session = this.#session(noise, readProfile(profileBytes));
    if (this.#meeting.method === 'nearby') this.#state = { kind: 'await_commit', session };
    else this.#establish(session);
  }

  #takeCommit(session: Session, payload: Uint8Array): void {
    const committed = openSealed(session, payload, 32);
    const nonce = this.#entropy.pictureNonce();
    this.#send('nonce', session.seal(nonce));
    this.#state = { kind: 'await_reveal', session, commitment: committed, nonce };
  }

  #takeNonce(session: Session, nonceI: Uint8Array, payload: Uint8Array): void {
    const nonceR = openSealed(session, payload, 32);
    this.#send('reveal', session.seal(nonceI));
    this.#outputs.push({ kind: 'show_pictures', mine: pictureRow(session.handshakeHash, nonceI, nonceR) });
    this.#state = { kind: 'comparing', session, right: undefined, ownSaysSame: false, peerSaysSame: false };
  }

  #takeReveal(session: Session, committed: Uint8Array, nonceR: Uint8Array, payload: Uint8Array): void {
    const nonceI = openSealed(session, payload, 32);
    if (!equal(commitment(nonceI), committed)) throw new PairingError('commitment_broken');
    const row = pictureRow(session.handshakeHash, nonceI, nonceR);
    const { rows, place } = choices(row, this.#entropy.pictureRows());
    this.#outputs.push({ kind: 'pick_pictures', rows });
    this.#state = { kind: 'comparing', session, right: place, ownSaysSame: false, peerSaysSame: false };
  }

  #judgePictures(state: State & { kind: 'comparing' }, same: boolean, otherwise: PairingErrorKind): void {
    if (!same) {
      this.#fail(new PairingError(otherwise));
      return;
    }
    this.#send(this.#meeting.role === 'initiator' ? 'confirm_i' : 'confirm_r', state.session.seal(EMPTY));
    this.#compared({ ...state, ownSaysSame: true });
  }

  /** Both humans have to say yes. */
  #compared(state: State & { kind: 'comparing' }): void {
    if (state.ownSaysSame && state.peerSaysSame) this.#establish(state.session);
    else this.#state = state;
  }

  #establish(session: Session): void {
    this.#outputs.push({ kind: 'established', session });
    this.#state = { kind: 'established' };
  }

  #checkPeer(noise: Noise): void {
    const key = noise.peerKey();
    const { expected } = this.#meeting;
    if (equal(key, this.#self.identity.publicKey)) throw new PairingError('equal_statics');
    if (expected.kind === 'fingerprint' && !equal(fingerprintOf(key), expected.fingerprint)) {
      throw new PairingError('wrong_shower');
    }
    if (expected.kind === 'key' && !equal(key, expected.key)) throw new PairingError('key_changed');
  }

  #session(noise: Noise, peerProfile: Profile): Session {
    return new Session(this.#meeting.role, this.#meeting.trust, peerProfile, noise.finish());
  }

  #noise(psk: Uint8Array): Noise {
    const { role, method, mailbox } = this.#meeting;
    return new Noise(role, method, mailbox, psk, this.#self.identity, this.#entropy.noiseEphemeral());
  }

  /** Runs a step of Noise and says what it means in this meeting when it does not verify. */
  #orRefuse<T>(step: () => T, decryptMeans: PairingErrorKind = WRONG_SECRET[this.#meeting.method]): T {
    try {
      return step();
    } catch (error) {
      if (!(error instanceof NoiseError)) throw error;
      throw new PairingError(error.kind === 'weak_key' ? 'weak_key' : decryptMeans);
    }
  }

  /** Whether a failed joiner leaves the secret as good as it was: it has 128 bits or more, so tries tell nothing. */
  #mayRetry(): boolean {
    const { role, method } = this.#meeting;
    return role === 'responder' && (method === 'link' || method === 'remembered' || method === 'resumed');
  }

  /** Ends this attempt; where the secret allows it, waits for the next joiner. */
  #refuse(error: PairingError): void {
    if (this.#state.kind === 'established') {
      // An abort that comes now says that the other side did not take our last message.
      this.#outputs.push({ kind: error.kind === 'peer_stopped' ? 'failed' : 'refused', error });
      return;
    }
    if (!this.#mayRetry()) {
      this.#fail(error);
      return;
    }
    if (error.kind === 'wrong_secret') this.#wrongTries += 1;
    if (this.#wrongTries >= MAX_WRONG_TRIES) {
      this.#fail(new PairingError('too_many_wrong_tries'));
      return;
    }
    this.#sendAbort(error);
    this.#outputs.push({ kind: 'refused', error });
    this.#rearm();
  }

  #fail(error: PairingError): void {
    this.#sendAbort(error);
    this.#outputs.push({ kind: 'failed', error });
    this.#state = { kind: 'failed' };
  }

  #rearm(): void {
    this.#entropy.nextAttempt();
    this.#lastSent = EMPTY;
    this.#lastTaken = EMPTY;
    this.#state = this.#firstState();
  }

  /** Sends what comes first in this role, if anything, and waits. */
  #firstState(): State {
    const { role, secret } = this.#meeting;
    if (secret.kind === 'code') {
      const pake = new Spake2(role, secret.code, this.#entropy.spake2Scalar());
      if (role === 'initiator') return { kind: 'await_pake', pake };
      this.#send('pake', pake.element);
      return { kind: 'await_m1', pake };
    }
    if (role === 'responder') return { kind: 'await_m1', pake: undefined };
    const noise = this.#noise(secret.psk);
    this.#send('m1', noise.writeM1());
    return { kind: 'await_m2', noise };
  }

  #send(step: Step, payload: Uint8Array): void {
    const message = encodeFrame(this.#meeting.method, step, payload);
    this.#lastSent = message;
    this.#outputs.push({ kind: 'send', message });
  }

  /** Tells the other side why it is over, unless it said so itself. */
  #sendAbort(error: PairingError): void {
    if (error.kind === 'peer_stopped') return;
    const message = encodeFrame(this.#meeting.method, 'abort', Uint8Array.of(error.abortByte()));
    this.#outputs.push({ kind: 'send', message });
  }
}

/** What a message 1 or 2 that does not verify means. */
const WRONG_SECRET: Record<Method, PairingErrorKind> = {
  link: 'wrong_secret',
  code: 'wrong_code',
  nearby: 'tampered',
  remembered: 'wrong_secret',
  resumed: 'wrong_secret',
};

function linkMeeting(role: Role, secret: LinkSecret): Omit<Meeting, 'expected'> {
  return {
    role,
    method: 'link',
    trust: 'scanned',
    mailbox: mailboxBytes(secret.mailbox()),
    secret: { kind: 'psk', psk: secret.psk() },
  };
}

function codeMeeting(role: Role, code: Code): Meeting {
  return {
    role,
    method: 'code',
    trust: 'code',
    mailbox: utf8(code.nameplate),
    secret: { kind: 'code', code },
    expected: { kind: 'anyone' },
  };
}

function readProfile(bytes: Uint8Array): Profile {
  const profile = decodeProfile(bytes);
  if (profile === undefined) throw new PairingError('bad_profile');
  return profile;
}

function openSealed(session: Session, payload: Uint8Array, length: number): Uint8Array {
  let plaintext: Uint8Array;
  try {
    plaintext = session.open(payload);
  } catch (error) {
    if (!(error instanceof OpenError)) throw error;
    throw new PairingError('tampered');
  }
  if (plaintext.length !== length) throw new PairingError('malformed');
  return plaintext;
}
