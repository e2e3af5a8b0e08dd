/** One side of a mailbox, kept across lost sockets. */
import { decodeBase64Url, encodeBase64Url } from '../protocol/base64url';
import type { ClientMessage } from '../protocol/generated/ClientMessage';
import type { ErrorCode } from '../protocol/generated/ErrorCode';
import type { IceServer } from '../protocol/generated/IceServer';
import type { PresenceState } from '../protocol/generated/PresenceState';
import type { ServerMessage } from '../protocol/generated/ServerMessage';

/** Bodies kept while the socket is away or the side is not taken yet; beyond them the mailbox is given up. */
export const HELD_MESSAGES = 64;
export const HELD_BYTES = 256 * 1024;

/** Why a mailbox ended without our leaving it. */
export type MailboxLoss =
  /** A third side came. */
  | 'crowded'
  /** The slot was not kept; the two sides must meet elsewhere. */
  | 'slot_gone'
  /** The server holds as much as it may. */
  | 'full'
  /** More was sent than may wait. */
  | 'overflow';

export interface MailboxEvents {
  /** The side is taken, for the first time or again. */
  onJoined(member: number, others: readonly number[]): void;
  onPresence(member: number, state: PresenceState): void;
  onBody(from: number, body: Uint8Array): void;
  /** A body came under another number than that of the side that is there. */
  onWrongSender(): void;
  /** The mailbox is over; nothing comes after. */
  onLost(loss: MailboxLoss): void;
}

/** What a mailbox needs of its client. */
export interface MailboxCarrier {
  transmit(message: ClientMessage): void;
  forget(mailbox: Mailbox): void;
}

type MailboxServerMessage = Extract<
  ServerMessage,
  { type: 'joined' | 'presence' | 'crowded' | 'message' | 'ice_servers' | 'error' }
>;

export class Mailbox {
  #member: number | null = null;
  #other: number | null = null;
  #slot: string | null = null;
  #joined = false;
  #over = false;
  #iceServers: readonly IceServer[] = [];
  #laneTicket: string | null = null;
  #held: Uint8Array[] = [];
  #heldBytes = 0;

  constructor(
    readonly id: string,
    private readonly carrier: MailboxCarrier,
    private readonly events: MailboxEvents,
  ) {}

  /** This side's number once the side was taken; the first in the mailbox is 0. */
  get member(): number | null {
    return this.#member;
  }

  /** STUN and TURN servers with credentials that live now. */
  get iceServers(): readonly IceServer[] {
    return this.#iceServers;
  }

  /** Opens a lane at this server (LK-31); `null` where it carries none. */
  get laneTicket(): string | null {
    return this.#laneTicket;
  }

  /** Whether the side is taken at a live socket. */
  get joined(): boolean {
    return this.#joined;
  }

  /** Carries a sealed body to the other of the two sides, as soon as this side is taken. */
  send(body: Uint8Array): void {
    if (this.#over) return;
    if (this.#joined && this.#held.length === 0) {
      this.#transmit(body);
      return;
    }
    this.#held.push(body);
    this.#heldBytes += body.length;
    if (this.#held.length > HELD_MESSAGES || this.#heldBytes > HELD_BYTES) this.#lose('overflow');
  }

  /** Gives the side up. */
  leave(): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#joined) this.carrier.transmit({ type: 'leave', mailbox: this.id });
    this.carrier.forget(this);
  }

  /** The server answers (again): take the side. For the client. */
  handleOnline(): void {
    this.carrier.transmit(
      this.#slot === null
        ? { type: 'join', mailbox: this.id }
        : { type: 'join', mailbox: this.id, slot: this.#slot },
    );
  }

  /** The socket is gone. For the client. */
  handleOffline(): void {
    this.#joined = false;
  }

  /** For the client. */
  handleMessage(message: MailboxServerMessage): void {
    if (this.#over) return;
    switch (message.type) {
      case 'joined': {
        this.#member = message.member;
        this.#other = message.others.at(-1) ?? this.#other;
        this.#slot = message.slot;
        this.#iceServers = message.ice_servers;
        this.#laneTicket = message.lane ?? null;
        // Asked twice, to hear whether the server is there.
        if (this.#joined) break;
        this.#joined = true;
        const held = this.#held;
        this.#held = [];
        this.#heldBytes = 0;
        this.events.onJoined(message.member, message.others);
        for (const body of held) this.#transmit(body);
        break;
      }
      case 'presence':
        if (message.state === 'joined' || message.state === 'back') this.#other = message.member;
        this.events.onPresence(message.member, message.state);
        break;
      case 'message': {
        const body = decodeBase64Url(message.body);
        if (body === null) break;
        this.#other ??= message.from;
        if (message.from === this.#other) this.events.onBody(message.from, body);
        else this.events.onWrongSender();
        break;
      }
      case 'ice_servers':
        this.#iceServers = message.ice_servers;
        break;
      case 'crowded':
        this.#lose('crowded');
        break;
      case 'error':
        this.#handleError(message.code);
        break;
    }
  }

  #handleError(code: ErrorCode): void {
    switch (code) {
      case 'slot_gone':
        this.#lose('slot_gone');
        break;
      case 'full':
        this.#lose('full');
        break;
      // Not carried, because the other side left or does not read: attempts repeat what is said over a mailbox.
      case 'not_joined':
      case 'queue_full':
      case 'malformed':
      case 'rate_limited':
      case 'no_such_nameplate':
      case 'nameplate_used':
      case 'nameplate_expired':
      case 'no_such_device':
        break;
    }
  }

  #transmit(body: Uint8Array): void {
    // Numbers are never reused, so a second joiner (the first one failed its handshake) is not number 1.
    const to = this.#other ?? (this.#member === 0 ? 1 : 0);
    this.carrier.transmit({ type: 'send', mailbox: this.id, to, body: encodeBase64Url(body) });
  }

  #lose(loss: MailboxLoss): void {
    if (this.#over) return;
    this.#over = true;
    this.#joined = false;
    this.carrier.forget(this);
    this.events.onLost(loss);
  }
}
