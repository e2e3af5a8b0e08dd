/**
 * Waits for a device that something is shared with, and meets it without a human (PA-7, LK-10): at the mailboxes of three
 * hours for each secret, one handshake at a time. The first in a mailbox answers. Where both sides see each other in
 * several, the one of the lowest place counts, so that they do not meet in two at once.
 */
import type { Clock } from '../clock';
import type { Pairing, Role, Session } from '../pairing';
import type { SignalingClient } from '../signaling/client';
import type { Mailbox, MailboxEvents, MailboxLoss } from '../signaling/mailbox';
import { Meeting } from './meeting';
import type { Adopt } from './peer';

/** After a handshake that came to nothing, or a crowd: whoever held the place may be gone by then (SG-6). */
const PAUSE_MS = 35_000;
/** The other side begins where it came second; until then nothing is begun at a place that counts less. */
const YIELD_MS = 10_000;

/** One thing that two devices share, and what they make of it. */
export interface Way {
  mailboxes(hour: number): readonly string[];
  pairing(role: Role, mailbox: string): Pairing;
}

export interface ReunionOptions {
  signaling: SignalingClient;
  clock: Clock;
  /** Best first: the order of places follows it. */
  ways: readonly Way[];
  events: {
    /** They have met; nothing comes after. The mailbox is handed on as it is. */
    onMet(session: Session, adopt: Adopt): void;
    /** Somebody knows the secret and has another key. Nothing comes after. */
    onKeyChanged(): void;
  };
}

interface Place {
  way: Way;
  mailbox: Mailbox;
  /** Where events go once the two have met here. */
  heir: MailboxEvents | null;
  /** Ours, once the mailbox was joined. */
  role: Role | null;
  otherThere: boolean;
  meeting: Meeting | null;
  /** Until when it is the other side's turn; `null` when it is ours. */
  yieldedUntil: number | null;
  /** Not begun by us before then, because the last try came to nothing. */
  pausedUntil: number;
}

export class Reunion {
  readonly #options: ReunionOptions;
  readonly #places = new Map<string, Place>();
  /** Mailbox ids in the order in which they count. */
  #order: string[] = [];
  #over = false;

  constructor(options: ReunionOptions) {
    this.#options = options;
  }

  /** Mailboxes that it sits in. */
  get size(): number {
    return this.#places.size;
  }

  /** Waits at the mailboxes of this hour of the server's clock, and its neighbours. */
  setHour(hour: number): void {
    if (this.#over) return;
    const wanted = this.#options.ways.flatMap((way) => way.mailboxes(hour).map((id) => ({ id, way })));
    const ids = new Set(wanted.map(({ id }) => id));
    for (const [id, place] of this.#places) {
      // A handshake that is under way may end where it began.
      if (ids.has(id) || place.meeting !== null) continue;
      this.#places.delete(id);
      place.mailbox.leave();
    }
    this.#order = wanted.map(({ id }) => id);
    for (const { id, way } of wanted) if (!this.#places.has(id)) this.#join(id, way);
  }

  /** Waits no longer. No event follows. */
  stop(): void {
    if (this.#over) return;
    this.#over = true;
    for (const place of this.#places.values()) {
      place.meeting?.abandon();
      place.mailbox.leave();
    }
    this.#places.clear();
  }

  #join(id: string, way: Way): void {
    const events: MailboxEvents = {
      onJoined: (member, others) => {
        if (place.heir !== null) place.heir.onJoined(member, others);
        else this.#joined(place, others);
      },
      onPresence: (member, state) => {
        if (place.heir !== null) place.heir.onPresence(member, state);
        else if (state === 'joined') this.#came(place);
        else if (state === 'left') this.#left(place);
      },
      onBody: (from, body) => {
        if (place.heir !== null) place.heir.onBody(from, body);
        else this.#heard(place, body);
      },
      onWrongSender: () => {
        if (place.heir !== null) place.heir.onWrongSender();
        else place.meeting?.handleWrongSender();
      },
      onLost: (loss) => {
        if (place.heir !== null) place.heir.onLost(loss);
        else this.#lost(id, place, loss);
      },
    };
    const place: Place = {
      way,
      mailbox: this.#options.signaling.join(id, events),
      heir: null,
      role: null,
      otherThere: false,
      meeting: null,
      yieldedUntil: null,
      pausedUntil: 0,
    };
    this.#places.set(id, place);
  }

  #joined(place: Place, others: readonly number[]): void {
    if (this.#over) return;
    place.otherThere = others.length > 0;
    if (place.meeting !== null) {
      // Back after a lost socket: the handshake goes on.
      place.meeting.handleJoined(others);
      return;
    }
    if (!place.otherThere) place.role = 'responder';
    place.role ??= 'initiator';
    this.#begin();
  }

  #came(place: Place): void {
    if (this.#over) return;
    place.otherThere = true;
    this.#begin();
  }

  #left(place: Place): void {
    if (this.#over) return;
    place.otherThere = false;
    place.meeting?.abandon();
    place.meeting = null;
    // Whoever comes next finds us here.
    place.role = 'responder';
    place.yieldedUntil = null;
    this.#begin();
  }

  #heard(place: Place, body: Uint8Array): void {
    if (this.#over || place.role === null) return;
    if (place.meeting === null && place.role === 'responder') this.#meet(place, 'responder');
    place.meeting?.handleBody(body);
  }

  #lost(id: string, place: Place, loss: MailboxLoss): void {
    if (this.#over) return;
    place.meeting?.abandon();
    this.#places.delete(id);
    const again = loss === 'slot_gone' ? 0 : PAUSE_MS;
    this.#options.clock.after(again, () => {
      if (!this.#over && !this.#places.has(id) && this.#order.includes(id)) this.#join(id, place.way);
    });
    this.#begin();
  }

  /** Begins the one handshake that is ours to begin, if there is one. */
  #begin(): void {
    const now = this.#options.clock.now();
    for (const place of this.#order.flatMap((id) => this.#places.get(id) ?? [])) {
      if (place.meeting !== null) return;
      if (!place.otherThere || place.pausedUntil > now) continue;
      if (place.role === 'initiator') {
        this.#meet(place, 'initiator');
        return;
      }
      if (place.yieldedUntil === null) {
        place.yieldedUntil = now + YIELD_MS;
        this.#later(YIELD_MS);
      }
      if (place.yieldedUntil > now) return;
    }
  }

  #meet(place: Place, role: Role): void {
    const meeting = new Meeting({
      pairing: place.way.pairing(role, place.mailbox.id),
      clock: this.#options.clock,
      patient: false,
      events: {
        send: (body) => {
          place.mailbox.send(body);
        },
        onStep: () => undefined,
        onRefused: () => undefined,
        onMet: (session) => {
          this.#met(place, session);
        },
        onFailed: (failure) => {
          if (this.#over) return;
          if (failure === 'key_changed') {
            this.stop();
            this.#options.events.onKeyChanged();
            return;
          }
          place.meeting = null;
          this.#pause(place);
        },
      },
    });
    place.meeting = meeting;
    meeting.handleJoined(place.otherThere ? [0] : []);
  }

  #pause(place: Place): void {
    place.pausedUntil = this.#options.clock.now() + PAUSE_MS;
    this.#later(PAUSE_MS);
    this.#begin();
  }

  #later(ms: number): void {
    this.#options.clock.after(ms, () => {
      if (!this.#over) this.#begin();
    });
  }

  #met(place: Place, session: Session): void {
    if (this.#over) return;
    this.#over = true;
    for (const other of this.#places.values()) {
      if (other === place) continue;
      other.meeting?.abandon();
      other.mailbox.leave();
    }
    this.#places.clear();
    this.#options.events.onMet(session, (heir) => {
      place.heir = heir;
      return place.mailbox;
    });
  }
}
