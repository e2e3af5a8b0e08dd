/**
 * The way to a device that was met: sealed messages over the mailbox, and over them links, each bound to the session before
 * anything else is taken from it (LK-1 to LK-7 in `docs/protocol/link.md`). Which link is tried when is decided by `Paths`.
 */
import type { Clock } from '../clock';
import type { Link, LinkEnd, LinkEvents, LinkRole, LinkState, Route } from '../peer/link';
import type { LaneDoor } from '../peer/lane';
import { isHandshake, laneSessionId, OpenError, type Session } from '../pairing';
import { DecodeError } from '../protocol/decode';
import type { IceServer } from '../protocol/generated/IceServer';
import type { ListedDevice } from '../protocol/generated/ListedDevice';
import type { PeerMessage } from '../protocol/generated/PeerMessage';
import type { Signal } from '../protocol/generated/Signal';
import { decodePeerMessage, encodePeerMessage } from '../protocol/peer';
import { type PathAction, type PathKind, Paths } from './paths';

/** How long the last words of a device that said goodbye may take over the link; then it is gone. */
const LAST_WORDS_MS = 1_000;

export interface OpenLinkOptions {
  role: LinkRole;
  iceServers: readonly IceServer[];
  attempt: number;
  /** `null`: WebRTC. */
  lane: LaneDoor | null;
  events: LinkEvents;
}

export type OpenLink = (options: OpenLinkOptions) => Link;

export interface ConnectionEvents {
  /** A sealed body for the mailbox. */
  send(body: Uint8Array): void;
  /** STUN and TURN servers that are good now. */
  iceServers(): readonly IceServer[];
  /** What opens a lane at the server now; `null` where it carries none. */
  laneTicket(): string | null;
  /** Make sure that the server hears us. */
  checkSignaling(): void;
  /** The link is authenticated: from here on the two channels carry transfers. */
  onUp(link: Link): void;
  /** The link that was up is gone; another one may follow. */
  onDown(): void;
  onControl(text: string): void;
  onData(frame: Uint8Array): void;
  onWritable(): void;
  /** The link that is up brought a sign of life that is nobody's message. */
  onAlive(): void;
  onLinkState(state: LinkState): void;
  /** The agent tells who is near. */
  onNearby(devices: readonly ListedDevice[]): void;
  /** The other device's id at the server. */
  onHere(device: string): void;
  /** Whether the person there wants this device remembered. */
  onRemember(wanted: boolean): void;
  /** Its own server served this page: browsers can download from it, and it may have the same page over https (HT-30). */
  onDoor(securePage: string | null): void;
  /** Where a browser downloads the files of an offer. */
  onHttpLinks(transfer: string, base: string): void;
  /** The other device left on purpose. Nothing comes after. */
  onBye(): void;
  /** Before there was a link the other device did not take the end of the handshake: it does not know of this session. */
  onUnfinished(): void;
  /** The link ends at somebody else, or the mailbox is tampered with. Nothing comes after. */
  onBroken(): void;
}

export interface ConnectionOptions {
  session: Session;
  clock: Clock;
  openLink: OpenLink;
  events: ConnectionEvents;
  /** The two shared a secret before, and a mailbox where bodies of an earlier visit may lie. */
  metAgain?: boolean;
  /** From 0 up to 1. */
  random?: () => number;
}

/** One attempt's link. */
interface Attempt {
  number: number;
  path: PathKind;
  link: Link | null;
  authenticated: boolean;
  /** Addresses that this side and the other one have offered. */
  own: number;
  theirs: number;
}

export class Connection {
  readonly #session: Session;
  readonly #clock: Clock;
  readonly #openLink: OpenLink;
  readonly #events: ConnectionEvents;
  readonly #role: LinkRole;
  readonly #random: () => number;
  #paths: Paths | null = null;
  /** Links that are not bound yet: at most one of a kind. */
  readonly #attempts = new Map<number, Attempt>();
  /** The link that is up. */
  #carrying: Attempt | null = null;
  readonly #metAgain: boolean;
  /** Whether a link of this session was ever bound. */
  #hasBeenBound = false;
  #over = false;
  /** The other side said goodbye. */
  #leaves = false;
  #cancelTimer: () => void = () => undefined;

  constructor({ session, clock, openLink, events, metAgain = false, random = Math.random }: ConnectionOptions) {
    this.#session = session;
    this.#clock = clock;
    this.#openLink = openLink;
    this.#events = events;
    this.#metAgain = metAgain;
    this.#random = random;
    this.#role = session.role === 'responder' ? 'offerer' : 'answerer';
  }

  /** Whether the link is authenticated. */
  get up(): boolean {
    return this.#carrying !== null;
  }

  /** Begins to connect. */
  start(): void {
    this.#paths = new Paths(this.#clock.now(), this.#role === 'offerer', this.#events.laneTicket() !== null);
    this.#follow();
  }

  route(): Promise<Route | null> {
    return this.#carrying?.link?.route() ?? Promise.resolve(null);
  }

  /** Whether a link of this session was ever authenticated. */
  get hasBeenUp(): boolean {
    return this.#hasBeenBound;
  }

  /** A body of the mailbox that is not part of the handshake. */
  handleBody(body: Uint8Array): void {
    if (this.#over) return;
    if (isHandshake(body)) {
      // Late, once a link was bound.
      if (!this.#hasBeenBound) this.#events.onUnfinished();
      return;
    }
    let message: PeerMessage;
    try {
      message = decodePeerMessage(this.#session.open(body));
    } catch (error) {
      if (error instanceof DecodeError) return; // A later version says more; what it says need not be known.
      if (!(error instanceof OpenError)) throw error;
      // Whoever carries the bodies could be in between. Once a link was bound, a repetition harms nothing (LK-1).
      if (error.kind === 'forged' || !this.#hasBeenBound) this.#break();
      return;
    }
    this.#handleMessage(message);
  }

  /** A body came under the number of a side that is not there: the server's doing, or left over from an earlier visit. */
  handleWrongSender(): void {
    if (!this.#hasBeenBound) this.#break();
  }

  /** Tells this side's device id, so that others may be told of it. */
  tellHere(device: string): void {
    this.#tell({ type: 'here', device });
  }

  /** Whether the person here wants the other device remembered (LK-9). A page has no server of its own to wait at. */
  tellRemember(wanted: boolean): void {
    if (!this.#over) this.#tell({ type: 'remember', wanted, doors: [] });
  }

  /** This page cannot hold an offer, and its person agreed to download it in the clear (HT-30). */
  tellHttpWanted(transfer: string): void {
    if (!this.#over) this.#tell({ type: 'http_wanted', transfer });
  }

  /** Nothing was heard for a while: look for a path again, and go on until something is heard. */
  handleSilent(): void {
    this.#decide((paths, now) => {
      paths.handleSilent(now);
    });
  }

  handleHeard(): void {
    this.#decide((paths) => {
      paths.handleHeard();
    });
  }

  /** What is to be sent waits for a link that is heard and hardly moves it. */
  handleSlow(): void {
    this.#decide((paths, now) => {
      paths.handleSlow(now);
    });
  }

  /** The network of this device changed, or its page came back to the front. */
  handleNetworkChange(): void {
    this.#decide((paths, now) => {
      paths.handleNetworkChange(now);
    });
  }

  /** This side or the other one is back at the server. */
  handleReachable(): void {
    this.#decide((paths, now) => {
      paths.setHasLane(this.#events.laneTicket() !== null);
      paths.handleReachable(now);
    });
  }

  /** Leaves on purpose. */
  bye(): void {
    if (this.#over) return;
    this.#tell({ type: 'bye' });
    this.close();
  }

  /** Ends without a word; no event follows. */
  close(): void {
    this.#over = true;
    this.#cancelTimer();
    this.#carrying?.link?.close();
    this.#carrying = null;
    for (const { link } of this.#attempts.values()) link?.close();
    this.#attempts.clear();
  }

  #handleMessage(message: PeerMessage): void {
    switch (message.type) {
      case 'signal':
        this.#handleSignal(message.attempt, message.signal);
        break;
      case 'reconnect':
        this.#decide((paths, now) => {
          if (message.slow === true) paths.handleAskedForFaster(now, message.own_server === true);
          else paths.handleAsked(now, message.lane === true);
        });
        break;
      case 'here':
        this.#events.onHere(message.device);
        break;
      case 'nearby':
        this.#events.onNearby(message.devices);
        break;
      case 'remember':
        // The doors of agents are plain http: no other page may connect there.
        this.#events.onRemember(message.wanted);
        break;
      case 'door':
        this.#events.onDoor(message.secure ?? null);
        break;
      case 'http_links':
        this.#events.onHttpLinks(message.transfer, message.base);
        break;
      case 'http_wanted':
        // A page has no server to make links at.
        break;
      case 'bye':
        this.#handleBye();
        break;
    }
  }

  /** The mailbox may be faster than the link: what was said there before comes first (LK-7). */
  #handleBye(): void {
    if (this.#carrying === null) {
      this.#end();
      return;
    }
    this.#leaves = true;
    this.#clock.after(LAST_WORDS_MS, () => {
      this.#end();
    });
  }

  /** The other side has left. */
  #end(): void {
    if (this.#over) return;
    this.close();
    this.#events.onBye();
  }

  #handleSignal(number: number, signal: Signal): void {
    const path = signal.kind === 'lane' ? 'lane' : 'direct';
    this.#decide((paths, now) => {
      if (!paths.handleAttempt(now, number, path)) return;
      // What this one replaces goes first.
      this.#obey();
      this.#begin(number, path);
    });
    const attempt = this.#find(number);
    if (attempt?.path !== path) return;
    attempt.theirs += addressesIn(signal);
    attempt.link?.handleSignal(signal);
    if (signal.kind === 'end_of_candidates' && attempt.theirs === 0) {
      this.#decide((paths, now) => {
        paths.handlePeerUnreachable(now);
      });
    }
  }

  #tell(message: PeerMessage): void {
    this.#events.send(this.#session.seal(encodePeerMessage(message)));
  }

  /** Tells the decision something, does what it says, and comes back to it in time. */
  #decide(tell: (paths: Paths, now: number) => void): void {
    if (this.#over || this.#paths === null) return;
    tell(this.#paths, this.#clock.now());
    this.#follow();
  }

  #follow(): void {
    this.#obey();
    this.#cancelTimer();
    const now = this.#clock.now();
    const due = this.#over ? null : (this.#paths?.pollTimeout() ?? null);
    if (due === null) return;
    if (due > now) {
      this.#cancelTimer = this.#clock.after(due - now, () => {
        this.#follow();
      });
      return;
    }
    // What is due lies in the future after this: each step sets the next one.
    this.#paths?.handleTimeout(now, this.#random());
    this.#follow();
  }

  #obey(): void {
    for (let action = this.#next(); action !== null; action = this.#next()) {
      switch (action.type) {
        case 'begin':
          this.#begin(action.attempt, action.path);
          break;
        case 'restart_ice':
          this.#carrying?.link?.restart();
          break;
        case 'ask':
          this.#tell(action.lane ? { type: 'reconnect', lane: true } : { type: 'reconnect' });
          break;
        case 'ask_for_faster':
          // A page runs no server.
          this.#tell({ type: 'reconnect', slow: true });
          break;
        case 'check_signaling':
          this.#events.checkSignaling();
          break;
        case 'close':
          this.#attempts.get(action.attempt)?.link?.close();
          this.#attempts.delete(action.attempt);
          break;
        case 'waiting':
        case 'interrupted':
          this.#events.onLinkState(action.type === 'waiting' ? 'disconnected' : 'failed');
          break;
        case 'well':
          this.#events.onLinkState('connected');
          break;
      }
    }
  }

  #next(): PathAction | null {
    return this.#over ? null : (this.#paths?.pollAction() ?? null);
  }

  #find(number: number): Attempt | undefined {
    return this.#carrying?.number === number ? this.#carrying : this.#attempts.get(number);
  }

  /** Opens a link of an attempt. */
  #begin(number: number, path: PathKind): void {
    const ticket = this.#events.laneTicket();
    if (path === 'lane' && ticket === null) {
      this.#paths?.handleClosed(this.#clock.now(), number, path, true);
      return;
    }
    const attempt: Attempt = { number, path, link: null, authenticated: false, own: 0, theirs: 0 };
    this.#attempts.set(number, attempt);
    // A page has no server of its own.
    if (path === 'lane') this.#tell({ type: 'signal', attempt: number, signal: { kind: 'lane' } });
    attempt.link = this.#openLink({
      role: this.#role,
      iceServers: this.#events.iceServers(),
      attempt: number,
      lane: path === 'lane' && ticket !== null ? { ticket, keys: this.#session.laneKeys() } : null,
      events: this.#linkEvents(attempt),
    });
  }

  /** Events of a link that was replaced are nobody's business any more. */
  #linkEvents(attempt: Attempt): LinkEvents {
    const current = (): boolean => !this.#over && this.#find(attempt.number) === attempt;
    const carries = (): boolean => !this.#over && this.#carrying === attempt;
    return {
      onSignal: (signal) => {
        if (!current()) return;
        attempt.own += addressesIn(signal);
        this.#tell({ type: 'signal', attempt: attempt.number, signal });
        if (signal.kind === 'end_of_candidates' && attempt.own === 0) {
          this.#decide((paths, now) => {
            paths.handleClosed(now, attempt.number, attempt.path, true);
          });
        }
      },
      onOpen: () => {
        if (current()) this.#sendBind(attempt);
      },
      onState: (state) => {
        if (carries()) this.#events.onLinkState(state);
      },
      onControl: (message) => {
        if (!current()) return;
        if (!attempt.authenticated) {
          if (this.#verifyBind(attempt, message)) this.#wasBound(attempt);
        } else if (carries() && typeof message === 'string') {
          this.#events.onControl(message);
        }
      },
      onData: (frame) => {
        if (!current()) return;
        if (carries()) this.#events.onData(frame);
        else this.#break();
      },
      onWritable: () => {
        if (carries()) this.#events.onWritable();
      },
      onAlive: () => {
        if (carries()) this.#events.onAlive();
      },
      onClosed: (why) => {
        if (current()) this.#handleClosed(attempt, why ?? 'ended');
      },
    };
  }

  #handleClosed(attempt: Attempt, why: LinkEnd): void {
    this.#attempts.delete(attempt.number);
    const wasUp = this.#carrying === attempt;
    if (wasUp) this.#carrying = null;
    if (wasUp && this.#leaves) {
      this.#end();
      return;
    }
    if (wasUp) this.#events.onDown();
    this.#decide((paths, now) => {
      paths.handleClosed(now, attempt.number, attempt.path, why === 'impossible');
    });
  }

  #sendBind(attempt: Attempt): void {
    const certificates = attempt.link?.certificates() ?? null;
    if (certificates === null) {
      this.#break();
      return;
    }
    attempt.link?.sendControl(
      this.#session.bindMessage(sessionId(attempt), certificates.own, certificates.received),
    );
  }

  /** The first message must be the other side's proof that it sees the same two certificates. */
  #verifyBind(attempt: Attempt, message: string | Uint8Array): boolean {
    const certificates = attempt.link?.certificates() ?? null;
    if (
      certificates !== null &&
      typeof message !== 'string' &&
      this.#session.verifyBind(sessionId(attempt), certificates.own, certificates.received, message)
    ) {
      attempt.authenticated = true;
      return true;
    }
    this.#break();
    return false;
  }

  /** What was under way goes on over this link, from what the receiver has. */
  #wasBound(attempt: Attempt): void {
    this.#hasBeenBound = true;
    const carries = this.#paths?.handleBound(this.#clock.now(), attempt.number, attempt.path) === true;
    if (carries) {
      this.#attempts.delete(attempt.number);
      const old = this.#carrying;
      this.#carrying = null;
      if (old !== null) {
        old.link?.close();
        this.#events.onDown();
      }
      this.#carrying = attempt;
      if (attempt.link !== null) this.#events.onUp(attempt.link);
    }
    if (!this.#over) this.#follow();
  }

  #break(): void {
    if (this.#over) return;
    // The other person learns of it too, as far as the server lets them. Where two meet again, what came may be left
    // over from an earlier visit: a goodbye would end the one that lives.
    if (this.#metAgain) this.close();
    else this.bye();
    this.#events.onBroken();
  }
}

/** What ties a bind to its attempt (LK-4, LK-37). */
function sessionId({ number, path }: Attempt): Uint8Array {
  if (path === 'lane') return laneSessionId(number);
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(12, number);
  return bytes;
}

/** How many candidates a signal brings. */
function addressesIn(signal: Signal): number {
  switch (signal.kind) {
    case 'offer':
    case 'answer':
      return signal.sdp.split('\n').filter((line) => line.startsWith('a=candidate:')).length;
    case 'candidate':
      return signal.candidate === '' ? 0 : 1;
    case 'end_of_candidates':
    case 'lane':
      return 0;
  }
}
