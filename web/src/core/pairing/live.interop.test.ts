// Live meetings by every method: TypeScript ↔ Rust in both roles, TypeScript ↔ TypeScript, Rust ↔ Rust.
//
// `LANYARD_PAIRING_STDIO` names the built example: cargo build -p lanyard-pairing --example pairing_stdio. Without it the
// run fails, for a skipped test proves nothing; plain unit runs leave this file out.

/// <reference types="node" />
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import process from 'node:process';

import { bytesToHex, hexToBytes } from '@noble/hashes/utils.js';
import { expect, test } from 'vitest';

import { toBase64Url, utf8 } from './bytes';
import { Identity } from './identity';
import type { Pairing } from './pairing';
import { PICTURES, type PictureRow } from './pictures';
import type { Session } from './session';
import { type Shared, join } from './wired-pair';

type Event =
  | { readonly event: 'send'; readonly message: Uint8Array }
  | { readonly event: 'show'; readonly mine: readonly number[] }
  | { readonly event: 'pick'; readonly rows: readonly (readonly number[])[] }
  | { readonly event: 'established'; readonly keys: readonly string[] }
  | { readonly event: 'ended'; readonly error: string };

interface Bound {
  readonly sessionId: Uint8Array;
  readonly own: Uint8Array;
  readonly peer: Uint8Array;
}

/** One side of a meeting, in whatever language. */
interface Party {
  events(): Promise<Event[]>;
  message(message: Uint8Array): Promise<void>;
  pick(row: number): Promise<void>;
  confirm(): Promise<void>;
  seal(plaintext: Uint8Array): Promise<Uint8Array>;
  open(sealed: Uint8Array): Promise<Uint8Array>;
  bind(bound: Bound): Promise<Uint8Array>;
  verify(bound: Bound, received: Uint8Array): Promise<boolean>;
  end(): void;
}

const indexes = (row: PictureRow): number[] => row.map(({ index }) => index);

class TypeScriptParty implements Party {
  #session: Session | undefined;

  constructor(private readonly pairing: Pairing) {}

  async events(): Promise<Event[]> {
    const events: Event[] = [];
    for (let output = this.pairing.pollOutput(); output !== undefined; output = this.pairing.pollOutput()) {
      switch (output.kind) {
        case 'send':
          events.push({ event: 'send', message: output.message });
          break;
        case 'show_pictures':
          events.push({ event: 'show', mine: indexes(output.mine) });
          break;
        case 'pick_pictures':
          events.push({ event: 'pick', rows: output.rows.map(indexes) });
          break;
        case 'established': {
          const { session } = output;
          this.#session = session;
          const secrets = [session.laneKeys().token, session.remember().pairSecret, session.resumeSecret().psk];
          events.push({ event: 'established', keys: [session.trust, ...secrets.map((secret) => bytesToHex(secret))] });
          break;
        }
        case 'refused':
        case 'failed':
          events.push({ event: 'ended', error: output.error.kind });
          break;
      }
    }
    return events;
  }

  async message(message: Uint8Array): Promise<void> {
    this.pairing.handleMessage(message);
  }

  async pick(row: number): Promise<void> {
    this.pairing.pickRow(row);
  }

  async confirm(): Promise<void> {
    this.pairing.confirmPictures(true);
  }

  async seal(plaintext: Uint8Array): Promise<Uint8Array> {
    return this.#met().seal(plaintext);
  }

  async open(sealed: Uint8Array): Promise<Uint8Array> {
    return this.#met().open(sealed);
  }

  async bind({ sessionId, own, peer }: Bound): Promise<Uint8Array> {
    return this.#met().bindMessage(sessionId, own, peer);
  }

  async verify({ sessionId, own, peer }: Bound, received: Uint8Array): Promise<boolean> {
    return this.#met().verifyBind(sessionId, own, peer, received);
  }

  end(): void {
    this.pairing.cancel();
  }

  #met(): Session {
    if (this.#session === undefined) throw new Error('not met');
    return this.#session;
  }
}

class RustParty implements Party {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  #waiting: Record<string, unknown>[] = [];
  #started: Promise<void>;

  constructor(first: Record<string, string>) {
    const program = process.env['LANYARD_PAIRING_STDIO'];
    if (program === undefined) throw new Error('LANYARD_PAIRING_STDIO does not name the pairing_stdio example');
    this.#child = spawn(program);
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    this.#started = this.#tell(first);
  }

  async events(): Promise<Event[]> {
    await this.#started;
    const events = this.#waiting.map(toEvent);
    this.#waiting = [];
    return events;
  }

  message(message: Uint8Array): Promise<void> {
    return this.#tell({ do: 'message', hex: bytesToHex(message) });
  }

  pick(row: number): Promise<void> {
    return this.#tell({ do: 'pick', row });
  }

  confirm(): Promise<void> {
    return this.#tell({ do: 'confirm', same: true });
  }

  seal(plaintext: Uint8Array): Promise<Uint8Array> {
    return this.#askHex('sealed', { do: 'seal', hex: bytesToHex(plaintext) });
  }

  open(sealed: Uint8Array): Promise<Uint8Array> {
    return this.#askHex('opened', { do: 'open', hex: bytesToHex(sealed) });
  }

  bind(bound: Bound): Promise<Uint8Array> {
    return this.#askHex('bind', { do: 'bind', ...hexBound(bound) });
  }

  async verify(bound: Bound, received: Uint8Array): Promise<boolean> {
    const answer = await this.#ask('verified', { do: 'verify', ...hexBound(bound), hex: bytesToHex(received) });
    return answer['good'] === true;
  }

  end(): void {
    this.#child.stdin.end();
  }

  /** Sends a command and keeps what comes until the answer is complete. */
  async #tell(command: Record<string, unknown>): Promise<void> {
    this.#child.stdin.write(`${JSON.stringify(command)}\n`);
    for (;;) {
      const line = await this.#lines.next();
      if (line.done === true) throw new Error('the Rust side ended early');
      const event: unknown = JSON.parse(line.value);
      if (!isRecord(event)) throw new Error(`not an event: ${line.value}`);
      if (event['event'] === 'idle') return;
      this.#waiting.push(event);
    }
  }

  async #ask(name: string, command: Record<string, unknown>): Promise<Record<string, unknown>> {
    await this.#tell(command);
    const answer = this.#waiting.find((event) => event['event'] === name);
    if (answer === undefined) throw new Error(`no ${name}: ${JSON.stringify(this.#waiting)}`);
    this.#waiting = this.#waiting.filter((event) => event !== answer);
    return answer;
  }

  async #askHex(name: string, command: Record<string, unknown>): Promise<Uint8Array> {
    return hexToBytes(String((await this.#ask(name, command))['hex']));
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function numbers(value: unknown): number[] {
  return Array.isArray(value) ? value.map(Number) : [];
}

function toEvent(event: Record<string, unknown>): Event {
  switch (event['event']) {
    case 'send':
      return { event: 'send', message: hexToBytes(String(event['hex'])) };
    case 'show':
      return { event: 'show', mine: numbers(event['mine']) };
    case 'pick':
      return { event: 'pick', rows: Array.isArray(event['rows']) ? event['rows'].map(numbers) : [] };
    case 'established': {
      const keys = ['trust', 'token', 'pair_secret', 'resume_secret'].map((name) => String(event[name]));
      return { event: 'established', keys };
    }
    default:
      return { event: 'ended', error: String(event['error'] ?? JSON.stringify(event)) };
  }
}

function hexBound({ sessionId, own, peer }: Bound): Record<string, string> {
  return { session_id: bytesToHex(sessionId), own: bytesToHex(own), peer: bytesToHex(peer) };
}

type Language = 'typescript' | 'rust';

function party(language: Language, role: 'I' | 'R', method: string, seed: string, keys: Keys): Party {
  const [own, peer] = role === 'I' ? [keys.opener, keys.shower] : [keys.shower, keys.opener];
  if (language === 'typescript') {
    const self = {
      identity: own,
      profile: { name: `TypeScript ${role}`, platform: 'phone', caps: ['webrtc'] },
      random: () => hexToBytes(seed),
    };
    return new TypeScriptParty(join(method, role, self, peer.publicKey, keys.shared));
  }
  const { link_secret, shared_secret, code, mailbox } = keys.shared;
  return new RustParty({
    method,
    role,
    identity: bytesToHex(own.secretBytes()),
    peer_key: bytesToHex(peer.publicKey),
    seed,
    name: `Rust ${role}`,
    secret: method === 'link' ? link_secret : shared_secret,
    code,
    mailbox,
  });
}

interface Keys {
  readonly shower: Identity;
  readonly opener: Identity;
  readonly shared: Shared;
}

/** Carries messages until both have met; fails with what either side said instead. */
async function meet(shower: Party, opener: Party): Promise<[string[], string[]]> {
  const keys: [string[] | undefined, string[] | undefined] = [undefined, undefined];
  let mine: readonly number[] | undefined;
  let rows: readonly (readonly number[])[] | undefined;
  let compared = false;
  for (let round = 0; round < 20; round++) {
    for (const [index, side, other] of [[0, shower, opener], [1, opener, shower]] as const) {
      for (const event of await side.events()) {
        if (event.event === 'send') await other.message(event.message);
        else if (event.event === 'show') mine = event.mine;
        else if (event.event === 'pick') rows = event.rows;
        else if (event.event === 'established') keys[index] = [...event.keys];
        else throw new Error(`${index === 0 ? 'shower' : 'opener'}: ${event.error}`);
      }
    }
    if (!compared && mine !== undefined && rows !== undefined) {
      compared = true;
      expect(mine.every((index) => PICTURES[index] !== undefined)).toBe(true);
      await shower.pick(rows.findIndex((row) => row.join() === mine?.join()));
      await opener.confirm();
    }
    if (keys[0] !== undefined && keys[1] !== undefined) return [keys[0], keys[1]];
  }
  throw new Error('twenty rounds were not enough');
}

const LANGUAGES: readonly Language[] = ['typescript', 'rust'];
const METHODS = ['link', 'code', 'nearby', 'remembered', 'resumed'];
const RUNS = METHODS.flatMap((method) =>
  LANGUAGES.flatMap((shower) => LANGUAGES.map((opener) => ({ method, shower, opener }))),
);

test.each(RUNS)('$method: $shower shows, $opener opens', async ({ method, shower, opener }) => {
  const draw = (length: number): Uint8Array => Uint8Array.from(randomBytes(length));
  const seeds = [bytesToHex(draw(32)), bytesToHex(draw(32))] as const;
  const keys: Keys = {
    shower: Identity.generate(draw),
    opener: Identity.generate(draw),
    shared: {
      link_secret: bytesToHex(draw(16)),
      shared_secret: bytesToHex(draw(32)),
      code: '4821-piano-tiger',
      mailbox: toBase64Url(draw(16)),
    },
  };
  const sides = [
    party(shower, 'R', method, seeds[0], keys),
    party(opener, 'I', method, seeds[1], keys),
  ] as const;
  try {
    const [atShower, atOpener] = await meet(...sides);
    expect(atShower, `seeds ${seeds.join(' ')}`).toEqual(atOpener);
    for (const [from, to] of [sides, [sides[1], sides[0]]] as const) {
      for (const text of ['offer', '', 'candidate'.repeat(100)]) {
        expect(await to.open(await from.seal(utf8(text)))).toEqual(utf8(text));
      }
      const [sessionId, own, peer] = [draw(16), draw(32), draw(32)];
      const bind = await from.bind({ sessionId, own, peer });
      expect(await to.verify({ sessionId, own: peer, peer: own }, bind)).toBe(true);
      expect(await to.verify({ sessionId, own: peer, peer: draw(32) }, bind)).toBe(false);
    }
  } finally {
    for (const side of sides) side.end();
  }
});
