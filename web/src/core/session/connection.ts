/**
 * The way to a device that was met: sealed messages over the mailbox, and over them one WebRTC link after the other, each
 * bound to the session before anything else is taken from it (LK-1 to LK-7 in `docs/protocol/link.md`).
 */
import type { Clock } from '../clock';
import type { Link, LinkEvents, LinkRole, LinkState, Route } from '../peer/link';
import { OpenError, type Session } from '../pairing';
import { DecodeError } from '../protocol/decode';
import type { IceServer } from '../protocol/generated/IceServer';
import type { ListedDevice } from '../protocol/generated/ListedDevice';
import type { PeerMessage } from '../protocol/generated/PeerMessage';
import { decodePeerMessage, encodePeerMessage } from '../protocol/peer';

/** A link that is not authenticated by then is replaced. */
const ATTEMPT_MS = 20_000;
/** Silence after which a fresh connection is tried instead of a fresh path. */
const REPLACE_MS = 10_000;
/** An attempt younger than that is not replaced because the other side asks. */
const YOUNG_MS = 3_000;
const FIRST_PAUSE_MS = 2_000;
const LONGEST_PAUSE_MS = 30_000;

export type OpenLink = (options: { role: LinkRole; iceServers: readonly IceServer[]; events: LinkEvents }) => Link;

export interface ConnectionEvents {
  /** A sealed body for the mailbox. */
  send(body: Uint8Array): void;
  /** STUN and TURN servers that are good now. */
  iceServers(): readonly IceServer[];
  /** The link is authenticated: from here on the two channels carry transfers. */
  onUp(link: Link): void;
  /** The link that was up is gone; another one may follow. */
  onDown(): void;
  onControl(text: string): void;
  onData(frame: Uint8Array): void;
  onWritable(): void;
  onLinkState(state: LinkState): void;
  /** The agent tells who is near. */
  onNearby(devices: readonly ListedDevice[]): void;
  /** The other device's id at the server. */
  onHere(device: string): void;
  /** Whether the person there wants this device remembered. */
  onRemember(wanted: boolean): void;
  /** The other device left on purpose. Nothing comes after. */
  onBye(): void;
  /** The link ends at somebody else, or the mailbox is tampered with. Nothing comes after. */
  onBroken(): void;
}

export interface ConnectionOptions {
  session: Session;
  clock: Clock;
  openLink: OpenLink;
  events: ConnectionEvents;
}

export class Connection {
  readonly #session: Session;
  readonly #clock: Clock;
  readonly #openLink: OpenLink;
  readonly #events: ConnectionEvents;
  readonly #role: LinkRole;
  #link: Link | null = null;
  #attempt = 0;
  #attemptAt = 0;
  #up = false;
  #over = false;
  /** Since when the other device is not heard, on a link that was up. */
  #silentSince: number | null = null;
  #pauseMs = FIRST_PAUSE_MS;
  #cancelTimer: () => void = () => undefined;

  constructor({ session, clock, openLink, events }: ConnectionOptions) {
    this.#session = session;
    this.#clock = clock;
    this.#openLink = openLink;
    this.#events = events;
    this.#role = session.role === 'responder' ? 'offerer' : 'answerer';
  }

  /** Whether the link is authenticated. */
  get up(): boolean {
    return this.#up;
  }

  /** Begins to connect. */
  start(): void {
    if (this.#role === 'offerer') this.#begin(this.#attempt + 1);
    else this.#askLater(ATTEMPT_MS);
  }

  route(): Promise<Route | null> {
    return this.#up && this.#link !== null ? this.#link.route() : Promise.resolve(null);
  }

  /** A body of the mailbox that is not part of the handshake. */
  handleBody(body: Uint8Array): void {
    if (this.#over) return;
    let message: PeerMessage;
    try {
      message = decodePeerMessage(this.#session.open(body));
    } catch (error) {
      if (error instanceof DecodeError) return; // A later version says more; what it says need not be known.
      if (!(error instanceof OpenError)) throw error;
      // A replay by the server or a leftover of the handshake harms nothing; a forgery ends the session (LK-1).
      if (error.kind === 'forged') this.#break();
      return;
    }
    this.#handleMessage(message);
  }

  /** Tells this side's device id, so that others may be told of it. */
  tellHere(device: string): void {
    this.#tell({ type: 'here', device });
  }

  /** Whether the person here wants the other device remembered (LK-9). A page has no server of its own to wait at. */
  tellRemember(wanted: boolean): void {
    if (!this.#over) this.#tell({ type: 'remember', wanted, doors: [] });
  }

  /** Nothing was heard for a while: look for a path again, and go on until something is heard. */
  handleSilent(): void {
    if (this.#over || this.#silentSince !== null) return;
    this.#silentSince = this.#clock.now();
    this.#pauseMs = FIRST_PAUSE_MS;
    this.#repair();
  }

  handleHeard(): void {
    if (this.#over || this.#silentSince === null) return;
    this.#silentSince = null;
    this.#cancelTimer();
  }

  /** The network of this device changed, or its page came back to the front. */
  handleNetworkChange(): void {
    if (this.#over) return;
    this.#pauseMs = FIRST_PAUSE_MS;
    if (this.#silentSince === null && this.#up) this.#link?.restart();
    else this.#repair();
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
    this.#link?.close();
    this.#link = null;
    this.#up = false;
  }

  #handleMessage(message: PeerMessage): void {
    switch (message.type) {
      case 'signal':
        if (message.attempt > this.#attempt && this.#role === 'answerer') this.#begin(message.attempt);
        if (message.attempt === this.#attempt) this.#link?.handleSignal(message.signal);
        break;
      case 'reconnect':
        if (this.#role === 'offerer' && this.#clock.now() - this.#attemptAt >= YOUNG_MS) this.#begin(this.#attempt + 1);
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
      case 'bye':
        this.close();
        this.#events.onBye();
        break;
    }
  }

  #tell(message: PeerMessage): void {
    this.#events.send(this.#session.seal(encodePeerMessage(message)));
  }

  /** Replaces the link, if there is one, by a new one. */
  #begin(attempt: number): void {
    this.#drop();
    this.#attempt = attempt;
    this.#attemptAt = this.#clock.now();
    // Events of a link that was replaced are nobody's business any more.
    const current = (): boolean => !this.#over && this.#attempt === attempt;
    let authenticated = false;
    this.#link = this.#openLink({
      role: this.#role,
      iceServers: this.#events.iceServers(),
      events: {
        onSignal: (signal) => {
          if (current()) this.#tell({ type: 'signal', attempt, signal });
        },
        onOpen: () => {
          if (current()) this.#sendBind();
        },
        onState: (state) => {
          if (current()) this.#events.onLinkState(state);
        },
        onControl: (message) => {
          if (!current()) return;
          if (!authenticated) {
            authenticated = this.#verifyBind(message);
            if (authenticated) this.#wentUp();
          } else if (typeof message === 'string') {
            this.#events.onControl(message);
          }
        },
        onData: (frame) => {
          if (!current()) return;
          if (authenticated) this.#events.onData(frame);
          else this.#break();
        },
        onWritable: () => {
          if (current() && authenticated) this.#events.onWritable();
        },
        onClosed: () => {
          if (!current()) return;
          this.#drop();
          this.#repairLater(authenticated ? 0 : this.#nextPause());
        },
      },
    });
    this.#askLater(ATTEMPT_MS);
  }

  #sendBind(): void {
    const certificates = this.#link?.certificates() ?? null;
    if (certificates === null) {
      this.#break();
      return;
    }
    this.#link?.sendControl(
      this.#session.bindMessage(sessionId(this.#attempt), certificates.own, certificates.received),
    );
  }

  /** The first message must be the other side's proof that it sees the same two certificates. */
  #verifyBind(message: string | Uint8Array): boolean {
    const certificates = this.#link?.certificates() ?? null;
    if (
      certificates !== null &&
      typeof message !== 'string' &&
      this.#session.verifyBind(sessionId(this.#attempt), certificates.own, certificates.received, message)
    ) {
      return true;
    }
    this.#break();
    return false;
  }

  #wentUp(): void {
    this.#cancelTimer();
    this.#up = true;
    this.#silentSince = null;
    this.#pauseMs = FIRST_PAUSE_MS;
    if (this.#link !== null) this.#events.onUp(this.#link);
  }

  #drop(): void {
    this.#cancelTimer();
    this.#link?.close();
    this.#link = null;
    const wasUp = this.#up;
    this.#up = false;
    this.#silentSince = null;
    if (wasUp) this.#events.onDown();
  }

  #break(): void {
    if (this.#over) return;
    this.close();
    this.#events.onBroken();
  }

  /** Does what this side can do now, and comes back to it. */
  #repair(): void {
    const silentMs = this.#silentSince === null ? 0 : this.#clock.now() - this.#silentSince;
    if (this.#role === 'answerer') {
      this.#tell({ type: 'reconnect' });
      this.#repairLater(this.#nextPause());
    } else if (this.#up && silentMs < REPLACE_MS) {
      this.#link?.restart();
      this.#repairLater(Math.min(this.#nextPause(), REPLACE_MS - silentMs));
    } else {
      this.#begin(this.#attempt + 1);
    }
  }

  #repairLater(ms: number): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.after(ms, () => {
      this.#repair();
    });
  }

  /** For a link that is not up yet: longer with each attempt that came to nothing. */
  #askLater(ms: number): void {
    this.#repairLater(Math.max(ms, this.#pauseMs));
    this.#nextPause();
  }

  #nextPause(): number {
    const pause = this.#pauseMs;
    this.#pauseMs = Math.min(pause * 2, LONGEST_PAUSE_MS);
    return pause;
  }
}

/** What ties a bind to its attempt: the number, big-endian, in 16 bytes. */
function sessionId(attempt: number): Uint8Array {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(12, attempt);
  return bytes;
}
