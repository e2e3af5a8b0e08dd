/** Texts that were sent and received, newest first, for as long as the page is open. */
import type { Contact } from './contact';
import type { Model } from './model';

/** More are forgotten, oldest first. */
const TEXTS = 200;

export class Texts {
  constructor(
    private readonly model: Model,
    private readonly wallClock: () => number,
  ) {}

  /** Returns what the list calls it. */
  received(id: number, from: Contact, text: string): string {
    const textId = `in/${String(id)}`;
    this.#add(textId, from, 'receive', text);
    return textId;
  }

  sent(id: number, to: Contact, text: string): void {
    this.#add(`out/${String(id)}`, to, 'send', text);
  }

  delivered(id: number): void {
    const text = this.model.texts.find((one) => one.id === `out/${String(id)}`);
    if (text !== undefined) text.state = 'delivered';
  }

  #add(id: string, { id: deviceId, name: deviceName }: Contact, direction: 'send' | 'receive', text: string): void {
    const state = direction === 'send' ? 'waiting' : 'delivered';
    this.model.texts.unshift({ id, deviceId, deviceName, direction, text, atMs: this.wallClock(), state });
    if (this.model.texts.length > TEXTS) this.model.texts.pop();
  }
}
