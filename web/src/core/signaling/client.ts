/** The page's conversation with one signaling server: one socket at a time, opened again for ever when it is lost. */
import type { Clock } from '../clock';
import { DecodeError } from '../protocol/decode';
import type { ClientMessage } from '../protocol/generated/ClientMessage';
import type { ErrorCode } from '../protocol/generated/ErrorCode';
import type { ListedDevice } from '../protocol/generated/ListedDevice';
import type { Platform } from '../protocol/generated/Platform';
import type { ServerMessage } from '../protocol/generated/ServerMessage';
import { STAMP_BITS } from '../protocol/limits';
import { decodeServerMessage, encodeClientMessage } from '../protocol/signaling';
import { PROTOCOL_VERSION, tooOld } from '../protocol/version';
import { Backoff } from './backoff';
import { Mailbox, type MailboxEvents } from './mailbox';
import { Pace } from './pace';
import type { OpenSocket, Socket } from './socket';
import { findStamp } from './stamp';

/** No `welcome` by then: the socket is given up. */
const WELCOME_MS = 10_000;
/** The same while somebody waits; and how long a server may be silent after it was asked. */
const HASTY_MS = 2_000;
/** No answer to a request by then. */
const REQUEST_MS = 15_000;
/** Messages that wait for the pace; beyond them the socket is opened afresh. Mailboxes hold 64 each of their own. */
const OUT_QUEUE = 256;
/** Below the server's burst of 60, so that it never has a reason to refuse. */
const BURST = 40;
const PER_SECOND = 24;

export type SignalingState =
  | { state: 'connecting' }
  | { state: 'online' }
  /** `inMs`: when the next attempt begins. */
  | { state: 'reconnecting'; inMs: number }
  /** `client`: this page is too old; `server`: the server is. */
  | { state: 'refused'; tooOld: 'client' | 'server' }
  | { state: 'closed' };

export interface SignalingEvents {
  onState(state: SignalingState): void;
  /** This socket's id and the server's clock; again after each reconnection. */
  onWelcome(device: string, timeMs: number): void;
  /** Everyone listed at the server; replaces the last list. */
  onNearby(devices: readonly ListedDevice[]): void;
  /** Somebody wants to meet in that mailbox. */
  onRing(mailbox: string): void;
}

/** Why a request got no answer. */
export class RequestError extends Error {
  constructor(readonly reason: ErrorCode | 'offline' | 'no_answer') {
    super(`request failed: ${reason}`);
    this.name = 'RequestError';
  }
}

interface Request {
  message: ClientMessage;
  /** Whether the message answers the request; then it settles it. */
  answer(message: ServerMessage): boolean;
  reject(error: RequestError): void;
  cancelTimer(): void;
}

interface Announcement {
  name: string;
  platform: Platform;
  /** On the injected clock. */
  until: number;
}

export interface SignalingOptions {
  open: OpenSocket;
  clock: Clock;
  random: () => number;
  events: SignalingEvents;
}

export class SignalingClient {
  readonly #open: OpenSocket;
  readonly #clock: Clock;
  readonly #events: SignalingEvents;
  readonly #backoff: Backoff;
  readonly #mailboxes = new Map<string, Mailbox>();
  readonly #requests: Request[] = [];
  #state: SignalingState = { state: 'closed' };
  #socket: Socket | null = null;
  /** Counts sockets, so that a late event of an old one is known. */
  #generation = 0;
  #cancelTimer: () => void = () => undefined;
  #cancelDrain: (() => void) | null = null;
  #cancelCheck: (() => void) | null = null;
  #connectingSince = 0;
  #queue: ClientMessage[] = [];
  #pace: Pace;
  #announcement: Announcement | null = null;
  /** The request at the head of `#requests` was sent on this socket. */
  #asked = false;
  /** This socket's id, which stamps are made for. */
  #device: string | null = null;

  constructor({ open, clock, random, events }: SignalingOptions) {
    this.#open = open;
    this.#clock = clock;
    this.#events = events;
    this.#backoff = new Backoff(random);
    this.#pace = new Pace(BURST, PER_SECOND, clock.now());
  }

  get state(): SignalingState {
    return this.#state;
  }

  start(): void {
    if (this.#state.state === 'closed') this.#connect();
  }

  /** Leaves for good. Slots are kept by the server for a while, in case the page comes back. */
  close(): void {
    this.#dropSocket();
    this.#setState({ state: 'closed' });
  }

  /** A device fell silent: makes sure that the server hears us, and connects anew at once when it does not. */
  check(): void {
    if (this.#state.state === 'reconnecting') this.#connect();
    else if (this.#state.state === 'connecting') {
      if (this.#clock.now() - this.#connectingSince >= HASTY_MS) this.#connect();
    } else if (this.#state.state === 'online' && this.#cancelCheck === null) {
      const [mailbox] = this.#mailboxes.values();
      if (mailbox === undefined) return;
      this.#cancelCheck = this.#clock.after(HASTY_MS, () => {
        this.#connect();
      });
      // Answered with `joined` once more.
      mailbox.handleOnline();
    }
  }

  /** The network changed or a device fell silent: try now instead of later. */
  retryNow(): void {
    if (this.#state.state === 'reconnecting') this.#connect();
  }

  /**
   * Opens a new socket although the old one looks alive: after a change of network it may be dead without knowing.
   * Mailboxes return to their slots.
   */
  reopen(): void {
    if (this.#state.state === 'online' || this.#state.state === 'reconnecting') this.#connect();
  }

  /** Takes a side of a mailbox, now or as soon as the server answers, and again after every lost socket. */
  join(id: string, events: MailboxEvents): Mailbox {
    const mailbox = new Mailbox(
      id,
      {
        transmit: (message) => {
          this.#transmit(message);
        },
        forget: (forgotten) => {
          if (this.#mailboxes.get(id) === forgotten) this.#mailboxes.delete(id);
        },
      },
      events,
    );
    this.#mailboxes.get(id)?.leave();
    this.#mailboxes.set(id, mailbox);
    if (this.#state.state === 'online') mailbox.handleOnline();
    return mailbox;
  }

  /** A nameplate with a fresh mailbox behind it. Rejects with `RequestError`. */
  allocate(): Promise<{ nameplate: string; mailbox: string }> {
    return this.#request({ type: 'allocate' }, (answer) =>
      answer.type === 'allocated' ? { nameplate: answer.nameplate, mailbox: answer.mailbox } : null,
    );
  }

  /** The mailbox behind a nameplate. Rejects with `RequestError`. */
  claim(nameplate: string): Promise<string> {
    return this.#request({ type: 'claim', nameplate }, (answer) =>
      answer.type === 'claimed' && answer.nameplate === nameplate ? answer.mailbox : null,
    );
  }

  /** Gives a nameplate back, because its code is used or burnt. */
  release(nameplate: string): void {
    if (this.#state.state === 'online') this.#transmit({ type: 'release', nameplate });
  }

  /** Rings a listed device; the answer is the mailbox to meet in. Rejects with `RequestError`. */
  dial(device: string): Promise<string> {
    return this.#request({ type: 'dial', device }, (answer) =>
      answer.type === 'dialed' && answer.device === device ? answer.mailbox : null,
    );
  }

  /** Lists this device to strangers for `seconds`, also across a lost socket; 0 takes it off. */
  announce(name: string, platform: Platform, seconds: number): void {
    this.#announcement = seconds > 0 ? { name, platform, until: this.#clock.now() + seconds * 1000 } : null;
    if (this.#state.state === 'online') this.#transmit({ type: 'announce', name, platform, seconds });
  }

  #connect(): void {
    this.#dropSocket();
    const generation = this.#generation;
    const current = (): boolean => generation === this.#generation;
    this.#connectingSince = this.#clock.now();
    this.#setState({ state: 'connecting' });
    this.#cancelTimer = this.#clock.after(WELCOME_MS, () => {
      this.#lose();
    });
    this.#socket = this.#open({
      onOpen: () => {
        if (current()) this.#send({ type: 'hello', protocol_version: PROTOCOL_VERSION });
      },
      onText: (text) => {
        if (current()) this.#handleText(text);
      },
      onClose: () => {
        if (current()) this.#lose();
      },
    });
  }

  /** The socket is gone: wait, then try again. */
  #lose(): void {
    this.#dropSocket();
    const inMs = this.#backoff.next();
    this.#setState({ state: 'reconnecting', inMs });
    this.#cancelTimer = this.#clock.after(inMs, () => {
      this.#connect();
    });
  }

  #dropSocket(): void {
    this.#generation += 1;
    this.#cancelTimer();
    this.#cancelDrain?.();
    this.#cancelDrain = null;
    this.#cancelCheck?.();
    this.#cancelCheck = null;
    this.#socket?.close();
    this.#socket = null;
    this.#queue = [];
    this.#asked = false;
    for (const mailbox of this.#mailboxes.values()) mailbox.handleOffline();
  }

  #setState(state: SignalingState): void {
    this.#state = state;
    this.#events.onState(state);
  }

  #handleText(text: string): void {
    this.#cancelCheck?.();
    this.#cancelCheck = null;
    let message: ServerMessage;
    try {
      message = decodeServerMessage(text);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      // A newer server may say things this page need not know. Before `welcome` nothing of the kind is to be expected.
      if (this.#state.state !== 'online') this.#lose();
      return;
    }
    if (message.type === 'welcome') {
      this.#handleWelcome(message);
    } else if (message.type === 'refused') {
      this.#refuse(message.too_old);
    } else if (this.#state.state === 'online') {
      this.#handleMessage(message);
    }
  }

  #handleWelcome(welcome: Extract<ServerMessage, { type: 'welcome' }>): void {
    if (this.#state.state !== 'connecting') return;
    const older = tooOld(welcome.protocol_version);
    if (older !== null) {
      this.#refuse(older === 'us' ? 'client' : 'server');
      return;
    }
    this.#cancelTimer();
    this.#backoff.reset();
    this.#pace = new Pace(BURST, PER_SECOND, this.#clock.now());
    this.#setState({ state: 'online' });
    this.#device = welcome.device;
    for (const mailbox of [...this.#mailboxes.values()]) mailbox.handleOnline();
    this.#events.onWelcome(welcome.device, welcome.time_ms);
    this.#announceAgain();
    this.#askNext();
  }

  #announceAgain(): void {
    if (this.#announcement === null) return;
    const { name, platform, until } = this.#announcement;
    const seconds = Math.floor((until - this.#clock.now()) / 1000);
    if (seconds > 0) this.#transmit({ type: 'announce', name, platform, seconds });
    else this.#announcement = null;
  }

  #refuse(older: 'client' | 'server'): void {
    this.#dropSocket();
    this.#setState({ state: 'refused', tooOld: older });
  }

  #handleMessage(message: Exclude<ServerMessage, { type: 'welcome' | 'refused' }>): void {
    switch (message.type) {
      case 'nearby':
        this.#events.onNearby(message.devices);
        break;
      case 'ring':
        this.#events.onRing(message.mailbox);
        break;
      case 'allocated':
      case 'claimed':
      case 'dialed':
        this.#settle(message);
        break;
      case 'stamp_wanted':
        this.#workForClaim(message.nameplate, message.bits);
        break;
      case 'error':
        if (message.mailbox === undefined) this.#fail(message.code);
        else this.#mailboxes.get(message.mailbox)?.handleMessage(message);
        break;
      case 'joined':
      case 'presence':
      case 'crowded':
      case 'message':
      case 'ice_servers':
        this.#mailboxes.get(message.mailbox)?.handleMessage(message);
        break;
    }
  }

  /** Requests go one at a time: an error does not say which of them it answers. */
  #request<Answer>(message: ClientMessage, answer: (message: ServerMessage) => Answer | null): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const request: Request = {
        message,
        answer: (received) => {
          const value = answer(received);
          if (value !== null) resolve(value);
          return value !== null;
        },
        reject,
        cancelTimer: this.#clock.after(REQUEST_MS, () => {
          this.#finish(request);
          reject(new RequestError(this.#state.state === 'online' ? 'no_answer' : 'offline'));
        }),
      };
      this.#requests.push(request);
      this.#askNext();
    });
  }

  #askNext(): void {
    const request = this.#requests[0];
    if (request === undefined || this.#asked || this.#state.state !== 'online') return;
    this.#asked = true;
    this.#transmit(request.message);
  }

  /** Somebody guesses codes at the server, so the claim costs work (SG-21). */
  #workForClaim(nameplate: string, bits: number): void {
    const request = this.#requests[0];
    if (request?.message.type !== 'claim' || request.message.nameplate !== nameplate || !this.#asked) return;
    const device = this.#device;
    if (device === null || bits > STAMP_BITS) {
      this.#fail('rate_limited');
      return;
    }
    void findStamp(device, nameplate, bits).then((stamp) => {
      // A stamp is good for its socket only, and whoever asked may have given up.
      if (this.#requests[0] === request && this.#device === device) {
        this.#transmit({ type: 'claim', nameplate, stamp });
      }
    });
  }

  #settle(message: ServerMessage): void {
    const request = this.#requests[0];
    if (request !== undefined && this.#asked && request.answer(message)) this.#finish(request);
  }

  #fail(code: ErrorCode): void {
    const request = this.#requests[0];
    if (request === undefined || !this.#asked) return;
    this.#finish(request);
    request.reject(new RequestError(code));
  }

  #finish(request: Request): void {
    request.cancelTimer();
    const at = this.#requests.indexOf(request);
    if (at < 0) return;
    this.#requests.splice(at, 1);
    if (at === 0) this.#asked = false;
    this.#askNext();
  }

  /** Sends at the server's pace. */
  #transmit(message: ClientMessage): void {
    if (this.#state.state !== 'online') return;
    if (this.#queue.length >= OUT_QUEUE) {
      this.#lose();
      return;
    }
    this.#queue.push(message);
    this.#drain();
  }

  #drain(): void {
    if (this.#cancelDrain !== null) return;
    for (let message = this.#queue[0]; message !== undefined; message = this.#queue[0]) {
      const waitMs = this.#pace.take(this.#clock.now());
      if (waitMs > 0) {
        this.#cancelDrain = this.#clock.after(waitMs, () => {
          this.#cancelDrain = null;
          this.#drain();
        });
        return;
      }
      this.#queue.shift();
      this.#send(message);
    }
  }

  #send(message: ClientMessage): void {
    this.#socket?.send(encodeClientMessage(message));
  }
}
