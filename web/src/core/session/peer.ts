/** One other device, from the first message in a mailbox to the transfers on its links. */
import type { Clock } from '../clock';
import type { Pairing, Session } from '../pairing';
import type { Link, LinkState, Route } from '../peer/link';
import type { ListedDevice } from '../protocol/generated/ListedDevice';
import type { SignalingClient } from '../signaling/client';
import type { Mailbox, MailboxLoss } from '../signaling/mailbox';
import { Connection, type OpenLink } from './connection';
import type { MeetingFailure } from './failure';
import { Meeting, type MeetingStep } from './meeting';

/** What the links of a device carry. Told of every link that is authenticated, and of its end. */
export interface Traffic {
  handleUp(link: Link): void;
  handleDown(): void;
  handleControl(text: string): void;
  handleData(frame: Uint8Array): void;
  handleWritable(): void;
  /** The session is over; nothing comes after. */
  handleOver(): void;
}

export interface PeerEvents {
  onStep(step: MeetingStep): void;
  /** The two have met; what its links carry is returned. */
  onMet(session: Session): Traffic;
  /** They have not, and will not. Nothing comes after. */
  onFailed(failure: MeetingFailure): void;
  onUp(): void;
  onDown(): void;
  onLinkState(state: LinkState): void;
  onNearby(devices: readonly ListedDevice[]): void;
  onHere(device: string): void;
  /** It left on purpose. Nothing comes after. */
  onBye(): void;
  /** A link ended at somebody else. Nothing comes after. */
  onBroken(): void;
}

export interface PeerOptions {
  signaling: SignalingClient;
  clock: Clock;
  openLink: OpenLink;
  pairing: Pairing;
  mailbox: string;
  /** A link or code that is shown and waits. */
  patient: boolean;
  events: PeerEvents;
}

type Phase =
  | { phase: 'meeting'; meeting: Meeting }
  | { phase: 'met'; connection: Connection; session: Session; traffic: Traffic }
  | { phase: 'over' };

export class Peer {
  readonly #clock: Clock;
  readonly #openLink: OpenLink;
  readonly #events: PeerEvents;
  readonly #mailbox: Mailbox;
  #phase: Phase;
  /** The mailbox is gone; open links go on without it. */
  #mailboxLost = false;

  constructor({ signaling, clock, openLink, pairing, mailbox, patient, events }: PeerOptions) {
    this.#clock = clock;
    this.#openLink = openLink;
    this.#events = events;
    const meeting = new Meeting({
      pairing,
      clock,
      patient,
      events: {
        send: (body) => {
          this.#mailbox.send(body);
        },
        onStep: (step) => {
          events.onStep(step);
        },
        onMet: (session) => {
          this.#met(session);
        },
        onFailed: (failure) => {
          this.#end();
          events.onFailed(failure);
        },
      },
    });
    this.#phase = { phase: 'meeting', meeting };
    this.#mailbox = signaling.join(mailbox, {
      onJoined: (_, others) => {
        if (this.#phase.phase === 'meeting') this.#phase.meeting.handleJoined(others);
      },
      onPresence: (_, state) => {
        if (this.#phase.phase === 'meeting') this.#phase.meeting.handlePresence(state);
      },
      onBody: (_, body) => {
        if (this.#phase.phase === 'meeting') this.#phase.meeting.handleBody(body);
        else if (this.#phase.phase === 'met') this.#phase.connection.handleBody(body);
      },
      onLost: (loss) => {
        this.#handleMailboxLost(loss);
      },
    });
  }

  /** What the two share, once they have met. */
  get session(): Session | null {
    return this.#phase.phase === 'met' ? this.#phase.session : null;
  }

  /** Whether an authenticated link is open. */
  get up(): boolean {
    return this.#phase.phase === 'met' && this.#phase.connection.up;
  }

  /** Whether the two could find each other again without a new meeting. */
  get reachable(): boolean {
    return this.#phase.phase !== 'over' && !this.#mailboxLost;
  }

  pickRow(row: number | null): void {
    if (this.#phase.phase === 'meeting') this.#phase.meeting.pickRow(row);
  }

  confirmPictures(same: boolean): void {
    if (this.#phase.phase === 'meeting') this.#phase.meeting.confirmPictures(same);
  }

  tellHere(device: string): void {
    if (this.#phase.phase === 'met') this.#phase.connection.tellHere(device);
  }

  route(): Promise<Route | null> {
    return this.#phase.phase === 'met' ? this.#phase.connection.route() : Promise.resolve(null);
  }

  /** Nothing was heard on a link that should be up. */
  handleSilent(): void {
    if (this.#phase.phase === 'met') this.#phase.connection.handleSilent();
  }

  handleHeard(): void {
    if (this.#phase.phase === 'met') this.#phase.connection.handleHeard();
  }

  handleNetworkChange(): void {
    if (this.#phase.phase === 'met') this.#phase.connection.handleNetworkChange();
  }

  /** Ends the meeting or the session, and tells the other side. No event follows. */
  leave(): void {
    if (this.#phase.phase === 'met') this.#phase.connection.bye();
    if (this.#phase.phase === 'meeting') this.#phase.meeting.abandon();
    this.#end();
  }

  /** The other side broke the protocol of transfers. No event follows. */
  abandon(): void {
    this.#end();
  }

  /** The same device was met anew: what was carried here goes on there. No event follows. */
  supersede(): void {
    const phase = this.#phase;
    this.#phase = { phase: 'over' };
    this.#mailbox.leave();
    if (phase.phase !== 'met') return;
    phase.connection.close();
    phase.traffic.handleDown();
  }

  #met(session: Session): void {
    const traffic = this.#events.onMet(session);
    const connection = new Connection({
      session,
      clock: this.#clock,
      openLink: this.#openLink,
      events: {
        send: (body) => {
          this.#mailbox.send(body);
        },
        iceServers: () => this.#mailbox.iceServers,
        onUp: (link) => {
          this.#events.onUp();
          traffic.handleUp(link);
        },
        onDown: () => {
          traffic.handleDown();
          this.#events.onDown();
        },
        onControl: (text) => {
          traffic.handleControl(text);
        },
        onData: (frame) => {
          traffic.handleData(frame);
        },
        onWritable: () => {
          traffic.handleWritable();
        },
        onLinkState: (state) => {
          this.#events.onLinkState(state);
        },
        onNearby: (devices) => {
          this.#events.onNearby(devices);
        },
        onHere: (device) => {
          this.#events.onHere(device);
        },
        onBye: () => {
          this.#end();
          this.#events.onBye();
        },
        onBroken: () => {
          this.#end();
          this.#events.onBroken();
        },
      },
    });
    this.#phase = { phase: 'met', connection, session, traffic };
    connection.start();
  }

  #handleMailboxLost(loss: MailboxLoss): void {
    this.#mailboxLost = true;
    if (this.#phase.phase === 'meeting') this.#phase.meeting.handleLost(loss);
  }

  #end(): void {
    const phase = this.#phase;
    this.#phase = { phase: 'over' };
    this.#mailbox.leave();
    if (phase.phase === 'met') {
      phase.connection.close();
      phase.traffic.handleOver();
    }
  }
}
