import { expect, test } from 'vitest';
import type { Clock } from '../clock';
import type { Link } from '../peer/link';
import { Ledger } from '../storage/ledger';
import { MemorySink } from '../storage/memory';
import { BrowserExchange } from './browser_exchange';
import type { ExchangeEvents } from './exchange';

/** Every look at it takes a millisecond, as work does. */
class BusyClock implements Clock {
  #now = 0;
  due: (() => void)[] = [];

  now(): number {
    this.#now += 1;
    return this.#now;
  }

  after(_: number, task: () => void): () => void {
    this.due.push(task);
    return () => {
      this.due = this.due.filter((one) => one !== task);
    };
  }
}

const nothing = (): undefined => undefined;
const events: ExchangeEvents = {
  onOffered: nothing,
  onAccepted: nothing,
  onDeclined: nothing,
  onPaused: nothing,
  onUnpaused: nothing,
  onFileDone: nothing,
  onFileFailed: nothing,
  onFinished: nothing,
  onCancelled: nothing,
  onText: nothing,
  onTextDelivered: nothing,
  onSilent: nothing,
  onHeard: nothing,
  onSlow: nothing,
  onViolation: nothing,
};

test('much work is done in several turns, so that the page can answer in between', () => {
  const clock = new BusyClock();
  const exchange = new BrowserExchange({
    clock,
    random: (length) => crypto.getRandomValues(new Uint8Array(length)),
    hashPiece: () => new Uint8Array(32),
    sink: new MemorySink(1),
    ledger: Ledger.inMemory(),
    events,
    small: true,
  });
  const texts = Array.from({ length: 40 }, () => exchange.sendText('x')).filter((id) => id !== null);
  expect(texts.length).toBeGreaterThan(10);
  const sent: string[] = [];
  const link: Link = {
    maxMessageBytes: 65_536,
    writable: true,
    movedBytes: 0,
    sendControl: (message) => {
      if (typeof message === 'string') sent.push(message);
    },
    sendData: nothing,
    handleSignal: nothing,
    certificates: () => null,
    route: () => Promise.resolve(null),
    restart: nothing,
    close: nothing,
  };
  exchange.handleUp(link);
  expect(sent.length).toBeGreaterThan(0);
  expect(sent.length).toBeLessThan(texts.length);
  for (let turns = 0; turns < 20 && sent.length < texts.length; turns += 1) {
    for (const task of clock.due.splice(0)) task();
  }
  expect(sent.filter((text) => text.includes('"text"')).length).toBe(texts.length);
});
