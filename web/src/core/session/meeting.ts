/** One handshake over a mailbox, with the patience that the handshake itself does not have. */
import type { Clock } from '../clock';
import type { Output, Pairing, PictureRow, PictureRows, Profile, Session } from '../pairing';
import type { PresenceState } from '../protocol/generated/PresenceState';
import type { MailboxLoss } from '../signaling/mailbox';
import { meetingFailure, type MeetingFailure } from './failure';

/** No word from the other side by then, although it is not a person's turn. */
const ANSWER_MS = 20_000;
/** A link or code whose mailbox stays empty that long is used or too old. */
const EMPTY_MS = 5_000;
/** People compare pictures; both sides wait that long. */
const COMPARE_MS = 120_000;

export type MeetingStep =
  | { step: 'waiting' }
  /** Who asks, in its own words: nobody vouches for them yet. */
  | { step: 'pick_row'; rows: PictureRows; claimed: Profile | null }
  | { step: 'confirm'; row: PictureRow }
  | { step: 'waiting_for_person'; row: PictureRow | null };

export interface MeetingEvents {
  send(body: Uint8Array): void;
  onStep(step: MeetingStep): void;
  onMet(session: Session): void;
  /** A joiner was refused, or damaged on its way; a link that is shown still waits for the right one. */
  onRefused(): void;
  /** Nothing comes after. */
  onFailed(failure: MeetingFailure): void;
}

export interface MeetingOptions {
  pairing: Pairing;
  clock: Clock;
  events: MeetingEvents;
  /** A link or code that is shown waits for joiners until its owner ends it; everything else has a time limit. */
  patient: boolean;
}

export class Meeting {
  readonly #pairing: Pairing;
  readonly #clock: Clock;
  readonly #events: MeetingEvents;
  readonly #patient: boolean;
  #cancelTimer: () => void = () => undefined;
  #begun = false;
  /** Whether a joiner is there of whose end nothing was told yet. */
  #guest = false;
  #comparing = false;
  #shown: PictureRow | null = null;
  #over = false;

  constructor({ pairing, clock, events, patient }: MeetingOptions) {
    this.#pairing = pairing;
    this.#clock = clock;
    this.#events = events;
    this.#patient = patient;
    this.#waitForAnswer();
  }

  /** Our side of the mailbox is taken. The handshake's first message may go out. */
  handleJoined(others: readonly number[]): void {
    if (this.#over) return;
    const first = !this.#begun;
    this.#begun = true;
    if (first) this.#drain();
    if (!first || this.#patient) return;
    this.#waitForAnswer();
    const shown = this.#pairing.method === 'link' || this.#pairing.method === 'code';
    if (shown && this.#pairing.role === 'initiator' && others.length === 0) this.#wait(EMPTY_MS, 'code_gone');
  }

  handlePresence(state: PresenceState): void {
    if (this.#over) return;
    // The joiner of a link went away in the middle of it: the next one may come.
    if (state === 'left' && this.#patient) {
      this.#pairing.restart();
      // Also of one that said nothing: the server may have held its words back.
      if (this.#guest) this.#events.onRefused();
      this.#guest = false;
    } else if (state === 'left') this.#end('no_answer');
    else if (state === 'joined') {
      this.#guest = true;
      if (!this.#patient) this.#waitForAnswer();
    }
  }

  handleBody(body: Uint8Array): void {
    if (this.#over) return;
    this.#guest = true;
    if (!this.#comparing) this.#waitForAnswer();
    this.#pairing.handleMessage(body);
    this.#drain();
  }

  /** A body came under the number of a side that is not there. */
  handleWrongSender(): void {
    if (this.#over) return;
    this.#pairing.refuseSender();
    this.#drain();
  }

  handleLost(loss: MailboxLoss): void {
    if (this.#over) return;
    switch (loss) {
      case 'crowded':
        this.#pairing.crowded();
        this.#drain();
        break;
      case 'full':
        this.#end('server_full');
        break;
      case 'slot_gone':
      case 'overflow':
        this.#end('no_answer');
        break;
    }
  }

  /** `null`: none of the three rows is on the other screen. */
  pickRow(row: number | null): void {
    if (this.#over) return;
    this.#events.onStep({ step: 'waiting_for_person', row: null });
    this.#pairing.pickRow(row ?? -1);
    this.#drain();
  }

  confirmPictures(same: boolean): void {
    if (this.#over) return;
    // The other person still has to find this row among three.
    this.#events.onStep({ step: 'waiting_for_person', row: this.#shown });
    this.#pairing.confirmPictures(same);
    this.#drain();
  }

  /** This side gives up; the other is told. No event follows. */
  abandon(): void {
    if (this.#over) return;
    this.#over = true;
    this.#cancelTimer();
    this.#sayGoodbye();
  }

  #waitForAnswer(): void {
    if (this.#patient) {
      this.#cancelTimer();
      // A joiner that falls silent half-way must not keep others out.
      this.#cancelTimer = this.#clock.after(ANSWER_MS, () => {
        this.#pairing.restart();
      });
    } else {
      this.#wait(ANSWER_MS, 'no_answer');
    }
  }

  #compare(): void {
    this.#comparing = true;
    this.#wait(COMPARE_MS, 'no_answer');
  }

  #wait(ms: number, failure: MeetingFailure): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.after(ms, () => {
      // The other side is told, in case it is there after all; then it is over with our own reason.
      this.#over = true;
      this.#sayGoodbye();
      this.#events.onFailed(failure);
    });
  }

  #sayGoodbye(): void {
    this.#pairing.cancel();
    for (let output = this.#pairing.pollOutput(); output !== undefined; output = this.#pairing.pollOutput()) {
      if (output.kind === 'send') this.#events.send(output.message);
    }
  }

  #end(failure: MeetingFailure): void {
    this.#over = true;
    this.#cancelTimer();
    this.#events.onFailed(failure);
  }

  #drain(): void {
    for (let output = this.#next(); output !== undefined; output = this.#next()) this.#carryOut(output);
  }

  #next(): Output | undefined {
    return this.#over ? undefined : this.#pairing.pollOutput();
  }

  #carryOut(output: Output): void {
    switch (output.kind) {
      case 'send':
        this.#events.send(output.message);
        break;
      case 'pick_pictures':
        this.#compare();
        this.#events.onStep({ step: 'pick_row', rows: output.rows, claimed: this.#pairing.claimedProfile ?? null });
        break;
      case 'show_pictures':
        this.#compare();
        this.#shown = output.mine;
        this.#events.onStep({ step: 'confirm', row: output.mine });
        break;
      case 'established':
        this.#over = true;
        this.#cancelTimer();
        this.#events.onMet(output.session);
        break;
      case 'refused':
        // Whoever knows the secret of a remembered device and has another key is nobody to wait for.
        if (output.error.kind === 'key_changed') this.#end('key_changed');
        else if (output.error.kind !== 'replayed') {
          this.#guest = false;
          this.#events.onRefused();
        }
        break;
      case 'failed':
        this.#end(meetingFailure(output.error));
        break;
    }
  }
}
