// Two pairings wired back to back in tests, with every message at hand to be changed.

import { hexToBytes } from '@noble/hashes/utils.js';

import { Code } from './code';
import { Identity, fingerprintOf } from './identity';
import { Link, LinkSecret } from './link';
import { Pairing, type Self } from './pairing';
import type { PairingError } from './pairing-error';
import { type PictureRow, type PictureRows, sameRow } from './pictures';
import { RememberedDevice, ResumeSecret } from './remembered';
import type { Session } from './session';

/** One device and all that it said. */
export class Side {
  session: Session | undefined;
  failed: PairingError | undefined;
  mine: PictureRow | undefined;
  rows: PictureRows | undefined;
  readonly refused: PairingError[] = [];
  readonly outbox: Uint8Array[] = [];

  constructor(readonly pairing: Pairing) {
    this.drain();
  }

  take(message: Uint8Array): void {
    this.pairing.handleMessage(message);
    this.drain();
  }

  drain(): void {
    for (let output = this.pairing.pollOutput(); output !== undefined; output = this.pairing.pollOutput()) {
      switch (output.kind) {
        case 'send':
          this.outbox.push(output.message);
          break;
        case 'show_pictures':
          this.mine = output.mine;
          break;
        case 'pick_pictures':
          this.rows = output.rows;
          break;
        case 'established':
          if (this.session !== undefined) throw new Error('a meeting gives one session');
          this.session = output.session;
          break;
        case 'refused':
          this.refused.push(output.error);
          break;
        case 'failed':
          if (this.failed !== undefined) throw new Error('a meeting fails once');
          this.failed = output.error;
          break;
      }
    }
  }

  met(): Session {
    if (this.session === undefined) throw new Error(`not met: ${this.failed?.kind ?? 'still waiting'}`);
    return this.session;
  }
}

export interface Sent {
  readonly from: 'I' | 'R';
  readonly message: Uint8Array;
}

/** The shower (R) and the opener (I). */
export class Pair {
  readonly shower: Side;
  readonly opener: Side;

  constructor(shower: Pairing, opener: Pairing) {
    this.shower = new Side(shower);
    this.opener = new Side(opener);
  }

  /**
   * Delivers message after message, the opener's first where both wait, each through `tamper`, and answers the pictures
   * honestly when nothing else is left. Returns who sent what.
   */
  deliver(tamper: (index: number, message: Uint8Array) => readonly Uint8Array[] = (_, message) => [message]): Sent[] {
    const sent: Sent[] = [];
    let answered = false;
    for (;;) {
      const fromOpener = this.opener.outbox.shift();
      const message = fromOpener ?? this.shower.outbox.shift();
      const { mine } = this.opener;
      const { rows } = this.shower;
      if (message !== undefined) {
        const target = fromOpener === undefined ? this.opener : this.shower;
        for (const changed of tamper(sent.length, message)) target.take(changed);
        sent.push({ from: fromOpener === undefined ? 'R' : 'I', message });
      } else if (!answered && mine !== undefined && rows !== undefined) {
        answered = true;
        this.shower.pairing.pickRow(rows.findIndex((row) => sameRow(row, mine)));
        this.shower.drain();
        this.opener.pairing.confirmPictures(true);
        this.opener.drain();
      } else return sent;
    }
  }
}

/** What `transcripts.json` says of one side. */
export interface Actor {
  readonly identity: string;
  readonly seed: string;
  readonly profile: { readonly name: string; readonly platform: string; readonly caps: readonly string[] };
}

/** What `transcripts.json` says of all cases. */
export interface Shared {
  readonly link_secret: string;
  readonly code: string;
  readonly mailbox: string;
  readonly shared_secret: string;
}

export function self(actor: Actor): Self {
  return {
    identity: Identity.fromSecretBytes(hexToBytes(actor.identity)),
    profile: actor.profile,
    random: () => hexToBytes(actor.seed),
  };
}

/** One side of the meeting that a transcript describes. */
export function join(method: string, role: 'I' | 'R', own: Self, peerKey: Uint8Array, shared: Shared): Pairing {
  const secret = LinkSecret.fromBytes(hexToBytes(shared.link_secret));
  const part = role === 'I' ? 'initiator' : 'responder';
  switch (method) {
    case 'link': {
      if (role === 'R') return Pairing.showLink(own, secret);
      const shower = fingerprintOf(peerKey);
      return Pairing.openLink(own, Link.build('https://relay.example/', secret, shower));
    }
    case 'code': {
      const code = Code.parse(shared.code);
      return role === 'R' ? Pairing.showCode(own, code) : Pairing.typeCode(own, code);
    }
    case 'nearby':
      return Pairing.nearby(own, part, shared.mailbox);
    case 'remembered':
      return Pairing.remembered(
        own,
        part,
        shared.mailbox,
        new RememberedDevice(peerKey, hexToBytes(shared.shared_secret)),
      );
    case 'resumed': {
      const resume = new ResumeSecret(peerKey, 'compared', hexToBytes(shared.shared_secret));
      return Pairing.resume(own, part, shared.mailbox, resume);
    }
    default:
      throw new Error(`no method ${method}`);
  }
}

export function meet(method: string, shower: Self, opener: Self, shared: Shared): Pair {
  return new Pair(
    join(method, 'R', shower, opener.identity.publicKey, shared),
    join(method, 'I', opener, shower.identity.publicKey, shared),
  );
}
