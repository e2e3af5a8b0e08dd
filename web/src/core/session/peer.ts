/** One other device, from the first message in a mailbox to the transfers on its links. */
import type { Clock } from '../clock';
import type { Pairing, Session } from '../pairing';
import type { Link, LinkState, Route } from '../peer/link';
import type { ListedDevice } from '../protocol/generated/ListedDevice';
import { encodePeerMessage } from '../protocol/peer';
import type { SignalingClient } from '../signaling/client';
import type { Mailbox, MailboxEvents, MailboxLoss } from '../signaling/mailbox';
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
  /** The link brought a sign of life, and no message. */
  handleAlive?(): void;
  /** The session is over; nothing comes after. */
  handleOver(): void;
}

export interface PeerEvents {
  onStep(step: MeetingStep): void;
  /** A joiner of a shown link was refused; the right one may still come. */
  onRefused(): void;
  /** The two have met; what its links carry is returned, or `null` when they must not be connected. */
  onMet(session: Session): Traffic | null;
  /** They have not, and will not. Nothing comes after. */
  onFailed(failure: MeetingFailure): void;
  /** Met, but it left the mailbox: whatever is open may be dead, and it is to be waited for elsewhere. */
  onLeft(): void;
  onUp(): void;
  onDown(): void;
  onLinkState(state: LinkState): void;
  onNearby(devices: readonly ListedDevice[]): void;
  onHere(device: string): void;
  onRemember(wanted: boolean): void;
  onDoor(securePage: string | null): void;
  onHttpLinks(transfer: string, base: string): void;
  /** It left on purpose, or before there was a link. Nothing comes after. */
  onBye(): void;
  /** A link ended at somebody else. Nothing comes after. */
  onBroken(): void;
}

export interface PeerOptions {
  signaling: SignalingClient;
  clock: Clock;
  openLink: OpenLink;
  beginning: Beginning;
  events: PeerEvents;
}

/** Takes over a mailbox that is joined already. */
export type Adopt = (events: MailboxEvents) => Mailbox;

export type Beginning =
  /** `patient`: a link or code that is shown and waits. */
  | { kind: 'meeting'; pairing: Pairing; mailbox: string; patient: boolean }
  /** The two have met again by what they share. */
  | { kind: 'met'; session: Session; adopt: Adopt };

type Phase =
  | { phase: 'meeting'; meeting: Meeting }
  | { phase: 'met'; connection: Connection; session: Session; traffic: Traffic }
  | { phase: 'over' };

export class Peer {
  readonly #clock: Clock;
  readonly #openLink: OpenLink;
  readonly #events: PeerEvents;
  readonly #checkSignaling: () => void;
  readonly #mailbox: Mailbox;
  /** The two share what they could meet again by. */
  readonly #again: boolean;
  #phase: Phase;
  /** Nobody is to be found in the mailbox; open links go on without it. */
  #mailboxLost = false;

  constructor({ signaling, clock, openLink, beginning, events }: PeerOptions) {
    this.#clock = clock;
    this.#openLink = openLink;
    this.#events = events;
    this.#checkSignaling = () => {
      signaling.check();
    };
    this.#phase = { phase: 'over' };
    this.#again = beginning.kind === 'met';
    const mailboxEvents = this.#mailboxEvents();
    if (beginning.kind === 'met') {
      this.#mailbox = beginning.adopt(mailboxEvents);
      this.#met(beginning.session, true);
      return;
    }
    const { pairing, patient } = beginning;
    this.#phase = { phase: 'meeting', meeting: this.#meeting(pairing, patient) };
    this.#mailbox = signaling.join(beginning.mailbox, mailboxEvents);
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

  tellRemember(wanted: boolean): void {
    if (this.#phase.phase === 'met') this.#phase.connection.tellRemember(wanted);
  }

  tellHttpWanted(transfer: string): void {
    if (this.#phase.phase === 'met') this.#phase.connection.tellHttpWanted(transfer);
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

  handleSlow(): void {
    if (this.#phase.phase === 'met') this.#phase.connection.handleSlow();
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

  /** The page goes away and may come back: the place is given up, and no good-bye is said. No event follows. */
  depart(): void {
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

  #meeting(pairing: Pairing, patient: boolean): Meeting {
    return new Meeting({
      pairing,
      clock: this.#clock,
      patient,
      events: {
        send: (body) => {
          this.#mailbox.send(body);
        },
        onStep: (step) => {
          this.#events.onStep(step);
        },
        onMet: (session) => {
          this.#met(session);
        },
        onRefused: () => {
          this.#events.onRefused();
        },
        onFailed: (failure) => {
          this.#end();
          this.#events.onFailed(failure);
        },
      },
    });
  }

  #mailboxEvents(): MailboxEvents {
    return {
      onJoined: (_, others) => {
        if (this.#phase.phase === 'meeting') this.#phase.meeting.handleJoined(others);
        else if (this.#phase.phase === 'met' && others.length > 0) this.#phase.connection.handleReachable();
      },
      onPresence: (_, state) => {
        if (this.#phase.phase === 'meeting') this.#phase.meeting.handlePresence(state);
        else if (this.#phase.phase !== 'met') return;
        else if (state === 'left') this.#handleGone(this.#phase.connection);
        else if (state !== 'away') this.#phase.connection.handleReachable();
      },
      onBody: (_, body) => {
        if (this.#phase.phase === 'meeting') this.#phase.meeting.handleBody(body);
        else if (this.#phase.phase === 'met') this.#phase.connection.handleBody(body);
      },
      onWrongSender: () => {
        if (this.#phase.phase === 'meeting') this.#phase.meeting.handleWrongSender();
        else if (this.#phase.phase === 'met') this.#phase.connection.handleWrongSender();
      },
      onLost: (loss) => {
        this.#handleMailboxLost(loss);
      },
    };
  }

  #met(session: Session, metAgain = false): void {
    const traffic = this.#events.onMet(session);
    if (traffic === null) {
      // The other side has met us by now; it is told before it waits for a link.
      this.#mailbox.send(session.seal(encodePeerMessage({ type: 'bye' })));
      this.#end();
      return;
    }
    const connection = new Connection({
      session,
      metAgain,
      clock: this.#clock,
      openLink: this.#openLink,
      events: {
        send: (body) => {
          this.#mailbox.send(body);
        },
        iceServers: () => this.#mailbox.iceServers,
        laneTicket: () => this.#mailbox.laneTicket,
        checkSignaling: () => {
          this.#checkSignaling();
        },
        onAlive: () => {
          traffic.handleAlive?.();
        },
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
        onRemember: (wanted) => {
          this.#events.onRemember(wanted);
        },
        onDoor: (securePage) => {
          this.#events.onDoor(securePage);
        },
        onHttpLinks: (transfer, base) => {
          this.#events.onHttpLinks(transfer, base);
        },
        onBye: () => {
          this.#end();
          this.#events.onBye();
        },
        onUnfinished: () => {
          this.#handleGone(connection);
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

  /** It is not where it was met: it waits elsewhere, if the two have anything to find each other by. */
  #handleGone(connection: Connection): void {
    if (connection.hasBeenUp || this.#again) {
      this.#left();
      return;
    }
    // In case it is there after all, and only somebody in between says otherwise.
    connection.bye();
    this.#end();
    this.#events.onBye();
  }

  #left(): void {
    this.#mailboxLost = true;
    this.#events.onLeft();
  }

  #handleMailboxLost(loss: MailboxLoss): void {
    this.#mailboxLost = true;
    if (this.#phase.phase === 'meeting') this.#phase.meeting.handleLost(loss);
    // Before there ever was a link nobody knows who the third side is: both stop (PA-1).
    else if (this.#phase.phase === 'met' && loss === 'crowded' && !this.#phase.connection.hasBeenUp) {
      this.#end();
      this.#events.onFailed('crowded');
    }
    // A third side came: the other one, without the slot that it had. A server that forgot us says nothing of a link.
    else if (this.#phase.phase === 'met' && (loss === 'crowded' || !this.#phase.connection.up)) this.#left();
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
