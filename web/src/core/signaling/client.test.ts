import { beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../clock';
import type { ClientMessage } from '../protocol/generated/ClientMessage';
import type { ListedDevice } from '../protocol/generated/ListedDevice';
import type { ServerMessage } from '../protocol/generated/ServerMessage';
import { RequestError, SignalingClient, type SignalingState } from './client';
import { HELD_MESSAGES, type Mailbox, type MailboxLoss } from './mailbox';
import type { SocketEvents } from './socket';

const MAILBOX = 'AAAAAAAAAAAAAAAAAAAAAA';
const OTHER_MAILBOX = 'BwcHBwcHBwcHBwcHBwcHBw';
const SLOT = 'CAgICAgICAgICAgICAgICA';
const DEVICE = 'DAwMDAwMDAwMDAwMDAwMDA';

/** One socket as the server sees it. */
class ServerSide {
  readonly received: ClientMessage[] = [];
  closed = false;

  constructor(private readonly events: SocketEvents) {}

  open(): void {
    this.events.onOpen();
  }

  say(message: ServerMessage): void {
    this.events.onText(JSON.stringify(message));
  }

  sayText(text: string): void {
    this.events.onText(text);
  }

  drop(): void {
    this.events.onClose();
  }

  welcome(protocolVersion = 1): void {
    this.open();
    this.say({
      type: 'welcome',
      protocol_version: protocolVersion,
      device: DEVICE,
      time_ms: 1_795_219_200_000,
      limits: { body_bytes: 40_960, messages_per_second: 30, mailboxes: 256, slot_kept_seconds: 30 },
    });
  }

  types(): string[] {
    return this.received.map(({ type }) => type);
  }
}

let clock: ManualClock;
let sockets: ServerSide[];
let states: SignalingState[];
let rings: string[];
let lists: (readonly ListedDevice[])[];
let client: SignalingClient;

function server(): ServerSide {
  const last = sockets.at(-1);
  if (last === undefined) throw new Error('no socket was opened');
  return last;
}

function joined(member: number, others: number[] = []): ServerMessage {
  return { type: 'joined', mailbox: MAILBOX, member, others, slot: SLOT, ice_servers: [{ urls: ['stun:192.0.2.1'] }] };
}

interface Seen {
  mailbox: Mailbox;
  bodies: [number, number[]][];
  joins: number;
  losses: MailboxLoss[];
  wrongSenders: number;
}

function join(): Seen {
  const bodies: [number, number[]][] = [];
  const losses: MailboxLoss[] = [];
  const seen = { bodies, losses, joins: 0, wrongSenders: 0 };
  const mailbox = client.join(MAILBOX, {
    onJoined: () => {
      seen.joins += 1;
    },
    onPresence: () => undefined,
    onBody: (from, body) => bodies.push([from, [...body]]),
    onWrongSender: () => {
      seen.wrongSenders += 1;
    },
    onLost: (loss) => losses.push(loss),
  });
  return Object.assign(seen, { mailbox });
}

beforeEach(() => {
  clock = new ManualClock();
  sockets = [];
  states = [];
  rings = [];
  lists = [];
  client = new SignalingClient({
    open: (events) => {
      const side = new ServerSide(events);
      sockets.push(side);
      return {
        send: (text) => {
          const message: ClientMessage = JSON.parse(text);
          side.received.push(message);
        },
        close: () => {
          side.closed = true;
        },
      };
    },
    clock,
    random: () => 0.5,
    events: {
      onState: (state) => states.push(state),
      onWelcome: () => undefined,
      onNearby: (devices) => lists.push(devices),
      onRing: (mailbox) => rings.push(mailbox),
    },
  });
  client.start();
});

describe('meeting the server', () => {
  test('hello goes first and welcome puts the client online', () => {
    server().welcome();
    expect(server().received).toEqual([{ type: 'hello', protocol_version: 1 }]);
    expect(states).toEqual([{ state: 'connecting' }, { state: 'online' }]);
  });

  test('a refusal is final and says which side is too old', () => {
    server().open();
    server().say({ type: 'refused', protocol_version: 2, too_old: 'client' });
    clock.advance(600_000);
    expect(client.state).toEqual({ state: 'refused', tooOld: 'client' });
    expect(sockets).toHaveLength(1);
  });

  test('a welcome in another version is refused by us', () => {
    server().welcome(0);
    expect(client.state).toEqual({ state: 'refused', tooOld: 'server' });
  });

  test('a server that does not answer hello is left after ten seconds', () => {
    server().open();
    clock.advance(10_000);
    expect(sockets[0]?.closed).toBe(true);
    expect(client.state).toEqual({ state: 'reconnecting', inMs: 1_000 });
  });

  test('attempts come after 1, 2, 4 … and at most 30 seconds, and start over after success', () => {
    const waits = [];
    for (let attempt = 0; attempt < 7; attempt += 1) {
      server().drop();
      if (client.state.state !== 'reconnecting') throw new Error('not waiting');
      waits.push(client.state.inMs);
      clock.advance(client.state.inMs);
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    server().welcome();
    server().drop();
    expect(client.state).toEqual({ state: 'reconnecting', inMs: 1_000 });
  });

  test('a change of network ends the wait', () => {
    server().drop();
    client.retryNow();
    expect(sockets).toHaveLength(2);
    clock.advance(1_000);
    expect(sockets).toHaveLength(2);
  });

  test('an event of an old socket changes nothing', () => {
    server().welcome();
    client.reopen();
    const [old] = sockets;
    server().welcome();
    old?.drop();
    old?.say({ type: 'ring', mailbox: MAILBOX });
    expect(client.state).toEqual({ state: 'online' });
    expect(rings).toEqual([]);
  });

  test('a message this version does not know is ignored when online', () => {
    server().welcome();
    server().sayText('{"type":"weather"}');
    server().say({ type: 'ring', mailbox: MAILBOX });
    expect(rings).toEqual([MAILBOX]);
  });

  test('the nearby list is handed on', () => {
    server().welcome();
    const devices: ListedDevice[] = [{ device: DEVICE, name: 'Studio', platform: 'computer', source: 'this_agent' }];
    server().say({ type: 'nearby', devices });
    expect(lists).toEqual([devices]);
  });
});

describe('a mailbox', () => {
  test('a body under another number than that of the side that is there is not handed on', () => {
    server().welcome();
    const seen = join();
    server().say(joined(0));
    server().say({ type: 'presence', mailbox: MAILBOX, member: 1, state: 'joined' });
    for (const from of [7, 0, 1]) server().say({ type: 'message', mailbox: MAILBOX, from, body: 'AQID' });
    expect([seen.bodies, seen.wrongSenders]).toEqual([[[1, [1, 2, 3]]], 2]);
    // Answers go to the side that is there.
    seen.mailbox.send(new Uint8Array([4]));
    expect(server().received.at(-1)).toMatchObject({ type: 'send', to: 1 });
  });

  test('is joined as soon as the server answers, and bodies wait for that', () => {
    const { mailbox } = join();
    mailbox.send(new Uint8Array([1, 2, 3]));
    server().welcome();
    expect(server().types()).toEqual(['hello', 'join']);
    server().say(joined(1, [0]));
    expect(server().received.at(-1)).toEqual({ type: 'send', mailbox: MAILBOX, to: 0, body: 'AQID' });
    expect(mailbox.iceServers).toEqual([{ urls: ['stun:192.0.2.1'] }]);
  });

  test('returns to its slot after a lost socket', () => {
    const seen = join();
    server().welcome();
    server().say(joined(0));
    server().drop();
    seen.mailbox.send(new Uint8Array([9]));
    clock.advance(1_000);
    server().welcome();
    expect(server().received.at(-1)).toEqual({ type: 'join', mailbox: MAILBOX, slot: SLOT });
    server().say(joined(0, [1]));
    expect(seen.joins).toBe(2);
    expect(server().received.at(-1)).toEqual({ type: 'send', mailbox: MAILBOX, to: 1, body: 'CQ' });
  });

  test('answers the side that spoke last, because numbers are never reused', () => {
    const { mailbox, bodies } = join();
    server().welcome();
    server().say(joined(0));
    server().say({ type: 'message', mailbox: MAILBOX, from: 2, body: 'AQID' });
    mailbox.send(new Uint8Array([4]));
    expect(bodies).toEqual([[2, [1, 2, 3]]]);
    expect(server().received.at(-1)).toMatchObject({ type: 'send', to: 2 });
  });

  test('is lost once when a third side comes, and says nothing after', () => {
    const { mailbox, losses } = join();
    server().welcome();
    server().say(joined(0, [1]));
    server().say({ type: 'crowded', mailbox: MAILBOX });
    server().say({ type: 'crowded', mailbox: MAILBOX });
    mailbox.send(new Uint8Array([1]));
    mailbox.leave();
    expect(losses).toEqual(['crowded']);
    expect(server().types()).toEqual(['hello', 'join']);
  });

  test('is lost when its slot was not kept', () => {
    const { losses } = join();
    server().welcome();
    server().say({ type: 'error', code: 'slot_gone', message: 'gone', mailbox: MAILBOX });
    expect(losses).toEqual(['slot_gone']);
  });

  test('holds a bounded number of bodies while the server is away', () => {
    const { mailbox, losses } = join();
    for (let count = 0; count < HELD_MESSAGES; count += 1) mailbox.send(new Uint8Array(1));
    expect(losses).toEqual([]);
    mailbox.send(new Uint8Array(1));
    expect(losses).toEqual(['overflow']);
  });

  test('is kept when a body could not be carried because the other side left', () => {
    const { losses } = join();
    server().welcome();
    server().say(joined(0, [1]));
    server().say({ type: 'error', code: 'not_joined', message: 'nobody there', mailbox: MAILBOX });
    server().say({ type: 'error', code: 'queue_full', message: 'does not read', mailbox: MAILBOX });
    expect(losses).toEqual([]);
  });

  test('gives up its side', () => {
    const { mailbox } = join();
    server().welcome();
    server().say(joined(0));
    mailbox.leave();
    server().drop();
    clock.advance(1_000);
    server().welcome();
    expect(sockets[0]?.received.at(-1)).toEqual({ type: 'leave', mailbox: MAILBOX });
    expect(server().types()).toEqual(['hello']);
  });

  test('sends no faster than the server takes, and loses nothing', () => {
    const { mailbox } = join();
    server().welcome();
    server().say(joined(0, [1]));
    for (let count = 0; count < 100; count += 1) mailbox.send(new Uint8Array([count]));
    expect(server().received.length).toBeLessThan(60);
    clock.advance(1_000);
    expect(server().received.length).toBeLessThan(90);
    clock.advance(5_000);
    const bodies = server().received.filter(({ type }) => type === 'send');
    expect(bodies).toHaveLength(100);
  });
});

describe('a request', () => {
  test('is answered by the message that names it', async () => {
    server().welcome();
    const dialed = client.dial(DEVICE);
    server().say({ type: 'dialed', device: DEVICE, mailbox: MAILBOX });
    await expect(dialed).resolves.toBe(MAILBOX);
  });

  test('waits for the one before it, so that an error has one meaning', async () => {
    server().welcome();
    const claimed = client.claim('0421');
    const dialed = client.dial(DEVICE);
    expect(server().types()).toEqual(['hello', 'claim']);
    server().say({ type: 'error', code: 'no_such_nameplate', message: 'no' });
    await expect(claimed).rejects.toMatchObject({ reason: 'no_such_nameplate' });
    expect(server().types()).toEqual(['hello', 'claim', 'dial']);
    server().say({ type: 'dialed', device: DEVICE, mailbox: OTHER_MAILBOX });
    await expect(dialed).resolves.toBe(OTHER_MAILBOX);
  });

  test('is asked again at the next socket', async () => {
    server().welcome();
    const allocated = client.allocate();
    server().drop();
    clock.advance(1_000);
    server().welcome();
    expect(server().types()).toEqual(['hello', 'allocate']);
    server().say({ type: 'allocated', nameplate: '4821', mailbox: MAILBOX });
    await expect(allocated).resolves.toEqual({ nameplate: '4821', mailbox: MAILBOX });
  });

  test('fails when the server stays away', async () => {
    const dialed = client.dial(DEVICE);
    const failed = expect(dialed).rejects.toBeInstanceOf(RequestError);
    clock.advance(15_000);
    await failed;
  });
});

test('visibility is announced again with the time that is left', () => {
  server().welcome();
  client.announce('Amber Heron', 'phone', 600);
  clock.advance(100_000);
  server().drop();
  clock.advance(1_000);
  server().welcome();
  expect(server().received.at(-1)).toEqual({ type: 'announce', name: 'Amber Heron', platform: 'phone', seconds: 499 });
});
