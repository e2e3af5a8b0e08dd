/** Text from person to person: in order, shown once, repeated until acknowledged (TR-75). */
import { encodeControlMessage } from '../protocol/control';
import type { ControlMessage } from '../protocol/generated/ControlMessage';
import { CONTROL_MESSAGE_BYTES, TEXT_BYTES } from '../protocol/limits';

/** Ids of shown texts that are remembered; more than ever wait for their acknowledgement. */
const REMEMBERED = 1024;

export type TextProblem = 'empty' | 'too_long' | 'exists' | 'full';

/** The text was not taken. */
export class TextError extends Error {
  constructor(readonly problem: TextProblem) {
    super(`the text was not sent: ${problem}`);
    this.name = 'TextError';
  }
}

const encoder = new TextEncoder();

export class Texts {
  /** In the order they were sent. */
  #unacknowledged = new Map<number, ControlMessage>();
  /** In the order they came. */
  #shown = new Set<number>();

  get areWaiting(): boolean {
    return this.#unacknowledged.size > 0;
  }

  /** Throws `TextError`. */
  send(id: number, text: string, limit: number): ControlMessage {
    if (text === '') throw new TextError('empty');
    const message: ControlMessage = { type: 'text', id, text };
    const wire = encodeControlMessage(message);
    if (encoder.encode(text).length > TEXT_BYTES || encoder.encode(wire).length > CONTROL_MESSAGE_BYTES) {
      throw new TextError('too_long');
    }
    if (this.#unacknowledged.has(id)) throw new TextError('exists');
    if (this.#unacknowledged.size >= limit) throw new TextError('full');
    this.#unacknowledged.set(id, message);
    return message;
  }

  /** What a new link must repeat. */
  repeated(): Iterable<ControlMessage> {
    return this.#unacknowledged.values();
  }

  /** Whether the text has not been shown yet. */
  isNew(id: number): boolean {
    if (this.#shown.has(id)) return false;
    const [oldest] = this.#shown;
    if (this.#shown.size === REMEMBERED && oldest !== undefined) this.#shown.delete(oldest);
    this.#shown.add(id);
    return true;
  }

  /** Whether it was waiting. */
  handleReceived(id: number): boolean {
    return this.#unacknowledged.delete(id);
  }
}
