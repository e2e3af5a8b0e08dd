/** This page's own link, QR code and spoken code: ways for another device to come. */
import { encode } from 'uqr';
import { Code, Link, LinkSecret, Pairing } from '../core/pairing';
import type { MeetingFailure } from '../core/session/failure';
import type { Peer } from '../core/session/peer';
import type { SignalingClient } from '../core/signaling/client';
import type { Contacts } from './contacts';
import type { Environment } from './environment';
import type { InviteView, Model } from './model';
import type { Toasts } from './toasts';

const LIFETIME_MS = 600_000;

/** Whoever waits behind one invite. The first to be met uses it up. */
interface Waiting {
  link: Peer;
  code: Peer | null;
  nameplate: string | null;
  cancelExpiry: () => void;
  cancelCode: () => void;
}

export class Invites {
  readonly #model: Model;
  readonly #environment: Environment;
  readonly #signaling: SignalingClient;
  readonly #contacts: Contacts;
  readonly #toasts: Toasts;
  #waiting: Waiting | null = null;

  constructor(model: Model, environment: Environment, signaling: SignalingClient, contacts: Contacts, toasts: Toasts) {
    this.#model = model;
    this.#environment = environment;
    this.#signaling = signaling;
    this.#contacts = contacts;
    this.#toasts = toasts;
  }

  make(): void {
    this.drop();
    const { identity, random, origin, wallClock } = this.#environment;
    const secret = LinkSecret.generate(random);
    const link = Link.build(origin, secret, identity.fingerprint()).toUrl();
    const pairing = Pairing.showLink(this.#contacts.self(), secret);
    const waiting: Waiting = {
      link: this.#contacts.await(pairing, secret.mailbox(), 'link', (failure) => {
        this.#ended(waiting, 'link', failure);
      }),
      code: null,
      nameplate: null,
      cancelExpiry: () => undefined,
      cancelCode: () => undefined,
    };
    this.#waiting = waiting;
    const qr = encode(link, { ecc: 'M', border: 0 }).data;
    this.#show({ state: 'ready', link, qr, code: null, expiresAtMs: wallClock() + LIFETIME_MS, failure: null });
    this.#expireLater(waiting);
    this.#makeCode(waiting).catch(() => {
      // Without a code the link still works; the server may not give out nameplates now.
    });
  }

  /**
   * The same link goes on for another ten minutes. Its code cannot, because a nameplate ends after ten minutes (SG-9): a
   * new one takes its place then.
   */
  extend(): void {
    const waiting = this.#waiting;
    if (waiting === null || this.#model.invite?.state !== 'ready') return;
    this.#model.invite.expiresAtMs = this.#environment.wallClock() + LIFETIME_MS;
    this.#expireLater(waiting);
  }

  drop(): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    this.#show(null);
    if (waiting === null) return;
    waiting.cancelExpiry();
    waiting.link.leave();
    this.#dropCode(waiting);
  }

  #expireLater(waiting: Waiting): void {
    waiting.cancelExpiry();
    waiting.cancelExpiry = this.#environment.clock.after(LIFETIME_MS, () => {
      if (this.#waiting === waiting) this.make();
    });
  }

  async #makeCode(waiting: Waiting): Promise<void> {
    const { nameplate, mailbox } = await this.#signaling.allocate();
    if (this.#waiting !== waiting) {
      this.#signaling.release(nameplate);
      return;
    }
    const code = Code.generate(nameplate, this.#environment.random);
    waiting.nameplate = nameplate;
    waiting.code = this.#contacts.await(Pairing.showCode(this.#contacts.self(), code), mailbox, 'code', (failure) => {
      this.#ended(waiting, 'code', failure);
    });
    waiting.cancelCode = this.#environment.clock.after(LIFETIME_MS, () => {
      this.#replaceCode(waiting);
    });
    if (this.#model.invite !== null) this.#model.invite.code = code.toText();
  }

  #ended(waiting: Waiting, by: 'link' | 'code', failure: MeetingFailure | null): void {
    if (this.#waiting !== waiting) return;
    if (failure !== null && by === 'code') {
      // One wrong guess burns a code; the link is still good.
      this.#toasts.show(failure === 'wrong_code' ? { kind: 'code_burnt' } : { kind: 'meeting_failed', name: null, failure });
      this.#replaceCode(waiting);
      return;
    }
    // A changed key has a page of its own.
    if (failure !== null && failure !== 'key_changed') this.#toasts.show({ kind: 'meeting_failed', name: null, failure });
    this.#waiting = null;
    waiting.cancelExpiry();
    waiting.cancelCode();
    if (by === 'link') this.#dropCode(waiting);
    else {
      waiting.link.leave();
      if (waiting.nameplate !== null) this.#signaling.release(waiting.nameplate);
    }
    if (this.#model.invite !== null) Object.assign(this.#model.invite, { state: failure === null ? 'used' : 'failed', failure });
  }

  #replaceCode(waiting: Waiting): void {
    this.#dropCode(waiting);
    if (this.#model.invite !== null) this.#model.invite.code = null;
    this.#makeCode(waiting).catch(() => undefined);
  }

  #dropCode(waiting: Waiting): void {
    waiting.cancelCode();
    waiting.code?.leave();
    waiting.code = null;
    if (waiting.nameplate !== null) this.#signaling.release(waiting.nameplate);
    waiting.nameplate = null;
  }

  #show(invite: InviteView | null): void {
    this.#model.invite = invite;
  }
}
