// The two implementations under the same random schedules: after every step both must have done the same.
//
// `LANYARD_TRANSFER_STDIO` names the built example: cargo build -p lanyard-transfer --example transfer_stdio. Without it the
// run fails, for a skipped test proves nothing; plain unit runs leave this file out. A failure names its seed.

/// <reference types="node" />
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import process from 'node:process';
import { type Interface, createInterface } from 'node:readline';

import { afterEach, beforeAll, expect, test } from 'vitest';

import { type PieceHasher, loadPieceHasher } from './hash';
import { Script } from './script';

const MIB = 1024 * 1024;
const SCHEDULES = 40;
const STEPS = 400;

/** A step, or part of what came of one: JSON, read as far as the schedule needs it. */
interface Json {
  readonly [key: string]: Value;
}
type Value = string | number | boolean | null | Json | readonly Value[];

let pieceHash: PieceHasher;
const running: ChildProcessWithoutNullStreams[] = [];

beforeAll(async () => {
  pieceHash = await loadPieceHasher();
});

afterEach(() => {
  for (const child of running.splice(0)) child.kill();
});

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function list(value: unknown, key: string): Json[] {
  const items: unknown = isJson(value) ? value[key] : undefined;
  return Array.isArray(items) ? items.filter(isJson) : [];
}

/** The Rust exchange behind a pipe. */
class RustScript {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;

  constructor() {
    const program = process.env['LANYARD_TRANSFER_STDIO'];
    if (program === undefined) throw new Error('LANYARD_TRANSFER_STDIO does not name the built example');
    this.#child = spawn(program);
    running.push(this.#child);
    const reader: Interface = createInterface({ input: this.#child.stdout });
    this.#lines = reader[Symbol.asyncIterator]();
  }

  async apply(step: Json): Promise<unknown> {
    this.#child.stdin.write(`${JSON.stringify(step)}\n`);
    const line = await this.#lines.next();
    if (line.done === true) throw new Error(`the Rust side died at ${JSON.stringify(step)}`);
    const outcome: unknown = JSON.parse(line.value);
    return outcome;
  }
}

/** Numbers from a seed: mulberry32. */
class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** 0 to `below` - 1. */
  roll(below: number): number {
    this.#state = (this.#state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  }

  pick<Item>(items: readonly Item[]): Item | undefined {
    return items[this.roll(Math.max(items.length, 1))];
  }
}

/** One device: both implementations, and what is on its way from it. */
class Side {
  readonly #script = new Script(pieceHash);
  readonly #rust = new RustScript();
  answers: Json[] = [];
  control: Json[] = [];
  data: Json[][] = [];
  readonly offered: string[] = [];
  readonly transfers: string[] = [];
  next = 0;

  constructor(
    private readonly name: string,
    private readonly seed: number,
  ) {}

  async apply(step: Json): Promise<void> {
    const expected = await this.#rust.apply(step);
    const outcome = this.#script.apply(step);
    expect(outcome, `seed ${String(this.seed)}, ${this.name}: ${JSON.stringify(step).slice(0, 500)}`).toEqual(expected);
    for (const output of list(expected, 'outputs')) this.#note(output);
    this.control.push(...list(expected, 'control'));
    const messages: unknown = isJson(expected) ? expected['data'] : [];
    for (const frames of Array.isArray(messages) ? messages : []) this.data.push(list({ frames }, 'frames'));
    if (isJson(expected) && typeof expected['timeout'] === 'number') this.next = expected['timeout'];
  }

  #note(output: Json): void {
    const { transfer = null, file = null } = output;
    switch (String(output['kind'])) {
      case 'read':
        this.answers.push({ do: 'read', request: output['request'] ?? null });
        break;
      case 'write':
        this.answers.push({ do: 'written', transfer, file, offset: output['offset'] ?? null });
        break;
      case 'sync':
        this.answers.push({ do: 'synced', transfer });
        break;
      case 'place':
        for (const entry of list(output, 'entries')) this.answers.push({ do: 'placed', transfer, file: entry['file'] ?? null });
        break;
      case 'event': {
        const event = output['event'];
        if (isJson(event) && event['type'] === 'offered') this.offered.push(String(event['transfer']));
        break;
      }
    }
  }
}

/** A file's content follows from its number. */
const contentSeed = (file: Value | undefined): number => Number(file) + 1;

class Schedule {
  readonly #dice: Dice;
  readonly #a: Side;
  readonly #b: Side;
  #at = 0;
  #transfers = 0;
  #linkIsUp = false;

  constructor(
    seed: number,
    private readonly isHostile: boolean,
  ) {
    this.#dice = new Dice(seed);
    this.#a = new Side('a', seed);
    this.#b = new Side('b', seed);
  }

  async run(): Promise<void> {
    await this.#both({ do: 'link_up', max_message_bytes: 65_536 });
    this.#linkIsUp = true;
    await this.#offer(this.#a);
    for (let step = 0; step < STEPS; step += 1) await this.#step();
  }

  async #step(): Promise<void> {
    const [side, other] = this.#dice.roll(2) === 0 ? [this.#a, this.#b] : [this.#b, this.#a];
    const what = this.#dice.roll(100);
    if (what < 40 && side.answers.length > 0) return this.#answer(side);
    if (what < 60 && side.control.length > 0) return this.#deliverControl(side, other);
    if (what < 85 && side.data.length > 0) return this.#deliverData(side, other);
    if (what < 90 && side.offered.length > 0) return this.#decide(side);
    if (what < 93) return this.#act(side);
    if (what < 95) return this.#link();
    if (what < 96 && this.#linkIsUp) return this.#restart(side);
    return this.#wait();
  }

  #does(side: Side, step: Json): Promise<void> {
    return side.apply({ ...step, at: this.#at });
  }

  async #both(step: Json): Promise<void> {
    for (const side of [this.#a, this.#b]) {
      side.control = [];
      side.data = [];
      await this.#does(side, step);
    }
  }

  #offer(side: Side): Promise<void> {
    this.#transfers += 1;
    // Ascending, so that maps in either order of insertion or of key are walked alike.
    const transfer = `AAAAAAAAAAAAAAAAAAAAA${'AQgw'.charAt(this.#transfers % 4)}`.replace(/^A/, 'ABCDEFGHIJKLMNOP'.charAt(this.#transfers));
    const size = (): number => this.#dice.pick([0, 1, 5000, MIB, 3 * MIB + 9]) ?? 0;
    const entries = Array.from({ length: 1 + this.#dice.roll(6) }, (_, file): Json => {
      const path = `${transfer}/${String(file)}`;
      return this.#dice.roll(8) === 0 ? { kind: 'folder', path } : { kind: 'file', path, size_bytes: size(), modified_ms: 5 };
    });
    side.transfers.push(transfer);
    return this.#does(side, { do: 'offer', transfer, entries });
  }

  async #answer(side: Side): Promise<void> {
    const [answer] = side.answers.splice(this.#dice.roll(Math.min(side.answers.length, 3)), 1);
    if (answer === undefined) return;
    const luck = this.#dice.roll(60);
    if (answer['do'] !== 'read') {
      const error: Json = answer['do'] === 'synced' || luck > 1 ? {} : { error: luck === 0 ? 'no_space' : 'failed' };
      return this.#does(side, { ...answer, ...error });
    }
    const { request } = answer;
    const seed = contentSeed(isJson(request ?? null) && isJson(request) ? request['file'] : 0);
    if (luck === 0) return this.#does(side, { ...answer, error: 'unreadable' });
    if (luck === 1) return this.#does(side, { ...answer, error: 'changed', size_bytes: this.#dice.roll(2 * MIB), modified_ms: 9 });
    // Somebody changes the content under the same size and time.
    return this.#does(side, { ...answer, seed: luck === 2 ? seed + 50 : seed });
  }

  #deliverControl(from: Side, to: Side): Promise<void> {
    const message = from.control.shift();
    const text = JSON.stringify(message);
    return this.#does(to, { do: 'control', text: this.#spoil(text) });
  }

  #deliverData(from: Side, to: Side): Promise<void> {
    const frames = (from.data.shift() ?? []).map((frame): Json => {
      const { blake3: _, ...rest } = frame;
      return frame['kind'] === 'chunk' ? { ...rest, seed: contentSeed(frame['file']) } : rest;
    });
    const spoilt: unknown = JSON.parse(this.#spoil(JSON.stringify(frames)));
    return this.#does(to, { do: 'data', frames: list({ frames: spoilt }, 'frames') });
  }

  /** Now and then a hostile side says another small number than it should. */
  #spoil(text: string): string {
    if (!this.isHostile || this.#dice.roll(25) > 0) return text;
    const places = [...text.matchAll(/:(\d{1,6})[,}]/g)];
    const place = this.#dice.pick(places);
    if (place === undefined) return text;
    const [, digits = ''] = place;
    const at = place.index + 1;
    return text.slice(0, at) + String(this.#dice.roll(4)) + text.slice(at + digits.length);
  }

  async #decide(side: Side): Promise<void> {
    const transfer = side.offered.shift() ?? '';
    if (this.#dice.roll(6) === 0) return this.#does(side, { do: 'decline', transfer, reason: 'declined' });
    side.transfers.push(transfer);
    // Too many are refused, by both alike.
    return this.#does(side, { do: 'accept', transfer, wanted: [{ first: 0, count: 1 + this.#dice.roll(6) }] });
  }

  #act(side: Side): Promise<void> {
    const transfer = this.#dice.pick(side.transfers);
    const what = this.#dice.roll(8);
    if (transfer === undefined || what === 0) {
      return this.#transfers < 12 ? this.#offer(side) : this.#does(side, { do: 'text', id: this.#at, text: 'enough' });
    }
    if (what === 1) return this.#does(side, { do: 'cancel', transfer, reason: 'by_person' });
    if (what === 2) return this.#does(side, { do: 'cancel_file', transfer, file: this.#dice.roll(6) });
    if (what === 3) return this.#does(side, { do: 'pause', transfer });
    if (what === 4) return this.#does(side, { do: 'text', id: this.#at, text: `at ${String(this.#at)}` });
    return this.#does(side, { do: 'unpause', transfer });
  }

  async #link(): Promise<void> {
    if (this.#linkIsUp) await this.#both({ do: 'link_lost' });
    else await this.#both({ do: 'link_up', max_message_bytes: this.#dice.pick([4_200, 16_384, 262_144]) ?? 65_536 });
    this.#linkIsUp = !this.#linkIsUp;
  }

  async #restart(side: Side): Promise<void> {
    await this.#both({ do: 'link_lost' });
    this.#linkIsUp = false;
    side.answers = [];
    await this.#does(side, { do: 'restart' });
  }

  async #wait(): Promise<void> {
    this.#at = Math.max(this.#at + 1 + this.#dice.roll(300), Math.min(this.#a.next, this.#b.next));
    await this.#does(this.#a, { do: 'timeout' });
    await this.#does(this.#b, { do: 'timeout' });
  }
}

test('both do the same under random schedules', { timeout: 120_000 }, async () => {
  for (let seed = 1; seed <= SCHEDULES; seed += 1) await new Schedule(seed, false).run();
});

test('both do the same when the other side is hostile', { timeout: 120_000 }, async () => {
  for (let seed = 1001; seed <= 1000 + SCHEDULES; seed += 1) await new Schedule(seed, true).run();
});
