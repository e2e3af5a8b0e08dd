import { beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../clock';
import { Identity, Link, LinkSecret, Pairing, type Output, type Session } from '../pairing';
import { MemoryNetwork } from '../peer/memory_link';
import type { ListedDevice } from '../protocol/generated/ListedDevice';
import { Connection } from './connection';

/** Two sides that have met, `R` the one who offers. */
interface Side {
  connection: Connection;
  control: string[];
  data: number[];
  happened: string[];
  lists: (readonly ListedDevice[])[];
  /** Bodies for the other side that wait in the mailbox. */
  outbox: Uint8Array[];
}

const random = (length: number): Uint8Array => crypto.getRandomValues(new Uint8Array(length));
const profile = { name: 'x', platform: 'phone', caps: [] };

function meet(): { shower: Session; opener: Session } {
  const identity = Identity.generate(random);
  const secret = LinkSecret.generate(random);
  const link = Link.build('http://192.168.1.2:53380/', secret, identity.fingerprint());
  const shower = Pairing.showLink({ identity, profile, random }, secret);
  const opener = Pairing.openLink({ identity: Identity.generate(random), profile, random }, link);
  const sessions: Session[] = [];
  const take = (output: Output | undefined, to: Pairing): boolean => {
    if (output?.kind === 'send') to.handleMessage(output.message);
    if (output?.kind === 'established') sessions.push(output.session);
    return output !== undefined;
  };
  while (take(opener.pollOutput(), shower) || take(shower.pollOutput(), opener));
  const find = (role: string): Session => {
    const session = sessions.find((one) => one.role === role);
    if (session === undefined) throw new Error('they did not meet');
    return session;
  };
  return { shower: find('responder'), opener: find('initiator') };
}

let clock: ManualClock;
let network: MemoryNetwork;
let r: Side;
let i: Side;
let mailboxOpen: boolean;

function side(session: Session): Side {
  const made = { control: [], data: [], happened: [], lists: [], outbox: [] } satisfies Omit<Side, 'connection'>;
  const seen: Omit<Side, 'connection'> = made;
  const note = (what: string) => () => {
    seen.happened.push(what);
  };
  const connection = new Connection({
    session,
    clock,
    openLink: network.openLink,
    random: () => 0.5,
    events: {
      send: (body) => seen.outbox.push(body),
      iceServers: () => [],
      laneTicket: () => null,
      checkSignaling: () => undefined,
      onAlive: () => undefined,
      onUp: note('up'),
      onDown: note('down'),
      onControl: (text) => seen.control.push(text),
      onData: (frame) => seen.data.push(frame.length),
      onWritable: () => undefined,
      onLinkState: () => undefined,
      onNearby: (devices) => seen.lists.push(devices),
      onHere: (device) => seen.happened.push(`here ${device}`),
      onRemember: () => undefined,
      onDoor: () => undefined,
      onHttpLinks: () => undefined,
      onBye: note('bye'),
      onUnfinished: note('unfinished'),
      onBroken: note('broken'),
    },
  });
  return Object.assign(seen, { connection });
}

/** Carries bodies to and fro until nothing moves. */
async function settle(): Promise<void> {
  for (let quiet = 0; quiet < 5; quiet += 1) {
    await Promise.resolve();
    if (!mailboxOpen) continue;
    for (const [from, to] of [
      [r, i],
      [i, r],
    ] as const) {
      for (const body of from.outbox.splice(0)) {
        quiet = 0;
        to.connection.handleBody(body);
      }
    }
  }
}

beforeEach(async () => {
  clock = new ManualClock();
  network = new MemoryNetwork();
  mailboxOpen = true;
  const { shower, opener } = meet();
  r = side(shower);
  i = side(opener);
  r.connection.start();
  i.connection.start();
  await Promise.resolve();
});

describe('opening', () => {
  test('the shower offers, both bind, and both channels carry', async () => {
    await settle();
    expect([r.happened, i.happened]).toEqual([['up'], ['up']]);
    network.last('answerer').sendControl('hello');
    network.last('offerer').sendData(new Uint8Array(9));
    await settle();
    expect([r.control, i.data]).toEqual([['hello'], [9]]);
  });

  test('a certificate in the middle ends it for both before anything is taken', async () => {
    network.intercepted = true;
    await settle();
    expect([r.happened, i.happened]).toEqual([['broken'], ['broken']]);
    expect([r.control, i.control, r.data, i.data]).toEqual([[], [], [], []]);
    expect(network.links.every(({ closed }) => closed)).toBe(true);
  });

  test.each([
    ['text', () => network.last('offerer').sendControl('{"type":"ping","nonce":1}')],
    ['a wrong bind', () => network.last('offerer').sendControl(new Uint8Array(32))],
    ['data', () => network.last('offerer').sendData(new Uint8Array(1))],
  ])('%s before the bind closes the link', async (_, send) => {
    // The offer and the answer meet, but R's own bind is replaced by what is tested.
    const offer = r.outbox.splice(0);
    offer.forEach((body) => {
      i.connection.handleBody(body);
    });
    r.connection.close();
    const answerer = network.last('answerer');
    network.last('offerer').closed = false;
    network.last('offerer').handleSignal({ kind: 'answer', sdp: String(network.links.indexOf(answerer)) });
    send();
    await settle();
    expect(i.happened).toEqual(['broken']);
    expect([i.control, i.data]).toEqual([[], []]);
  });

  test('until a link was bound, a body that comes twice ends the session', async () => {
    const [offer] = r.outbox.splice(0);
    if (offer === undefined) throw new Error('nothing was sent');
    i.connection.handleBody(offer);
    i.connection.handleBody(offer);
    await settle();
    expect(i.happened).toEqual(['broken']);
  });

  test('an end of the handshake is told of before a link was bound, and ignored as late afterwards', async () => {
    const stopped = Uint8Array.of(1, 1, 0xff, 8);
    i.connection.handleBody(stopped);
    expect(i.happened).toEqual(['unfinished']);
    await settle();
    i.connection.handleBody(stopped);
    await settle();
    expect(i.happened).toEqual(['unfinished', 'up']);
  });

  test('an attempt that opens nothing is replaced by the next', async () => {
    r.outbox.splice(0);
    clock.advance(20_000);
    await settle();
    expect(network.links.filter(({ role }) => role === 'offerer')).toHaveLength(2);
    expect([r.happened, i.happened]).toEqual([['up'], ['up']]);
  });

  test('a late message of an older attempt changes nothing', async () => {
    const late = r.outbox.splice(0);
    clock.advance(20_000);
    await settle();
    late.forEach((body) => {
      i.connection.handleBody(body);
    });
    await settle();
    expect(network.links.filter(({ role }) => role === 'answerer')).toHaveLength(1);
    expect(i.happened).toEqual(['up']);
  });
});

describe('silence', () => {
  beforeEach(settle);

  test('of the answerer makes the path be looked for, and after five seconds a new connection be made', async () => {
    network.blackHole = true;
    r.connection.handleSilent();
    expect(network.last('offerer').restarts).toBe(1);
    clock.advance(2_000);
    expect(network.last('offerer').restarts).toBe(3);
    clock.advance(4_000);
    network.blackHole = false;
    await settle();
    expect(network.links.filter(({ role }) => role === 'offerer')).toHaveLength(2);
    expect(r.happened).toEqual(['up', 'down', 'up']);
    expect(i.happened).toEqual(['up', 'down', 'up']);
  });

  test('that ends by itself keeps the connection', () => {
    r.connection.handleSilent();
    r.connection.handleHeard();
    clock.advance(60_000);
    expect(network.last('offerer').restarts).toBe(1);
    expect(r.happened).toEqual(['up']);
  });

  test('of the offerer makes the answerer ask, and the offerer begins anew', async () => {
    clock.advance(5_000);
    i.connection.handleSilent();
    await settle();
    expect(network.links.filter(({ role }) => role === 'offerer')).toHaveLength(2);
    expect(i.happened).toEqual(['up', 'down', 'up']);
  });

  test('does not make an offerer begin again and again', async () => {
    clock.advance(5_000);
    i.connection.handleSilent();
    i.connection.handleNetworkChange();
    i.connection.handleNetworkChange();
    await settle();
    expect(network.links.filter(({ role }) => role === 'offerer')).toHaveLength(2);
  });

  test('a broken connection is replaced once the mailbox works again', async () => {
    mailboxOpen = false;
    network.last('offerer').break();
    await settle();
    expect([r.happened, i.happened]).toEqual([
      ['up', 'down'],
      ['up', 'down'],
    ]);
    clock.advance(0);
    mailboxOpen = true;
    await settle();
    expect([r.happened.at(-1), i.happened.at(-1)]).toEqual(['up', 'up']);
  });
});

describe('other messages', () => {
  const device = 'AAAAAAAAAAAAAAAAAAAAAA';

  beforeEach(settle);

  test('here and bye arrive, and after bye nothing does', async () => {
    i.connection.tellHere(device);
    await settle();
    i.connection.bye();
    await settle();
    clock.advance(60_000);
    await settle();
    expect(r.happened).toEqual(['up', `here ${device}`, 'bye']);
  });

  test('what was said on the link before a goodbye is heard though the mailbox was faster, for a second at most', async () => {
    i.connection.bye();
    // The link as it was: its last words and its end are still on their way.
    const answerer = network.last('answerer');
    network.last('offerer').closed = answerer.closed = false;
    const [bye] = i.outbox.splice(0);
    if (bye === undefined) throw new Error('nothing was sent');
    r.connection.handleBody(bye);
    answerer.sendControl('finished');
    await settle();
    expect([r.control, r.happened]).toEqual([['finished'], ['up']]);
    clock.advance(1_000);
    expect(r.happened).toEqual(['up', 'bye']);
  });

  test('a replayed body is ignored and a forged one ends the session', () => {
    i.connection.tellHere(device);
    const [body] = i.outbox.splice(0);
    if (body === undefined) throw new Error('nothing was sent');
    r.connection.handleBody(body);
    r.connection.handleBody(body);
    expect(r.happened).toEqual(['up', `here ${device}`]);
    i.connection.tellHere(device);
    const [forged] = i.outbox.splice(0);
    if (forged === undefined) throw new Error('nothing was sent');
    forged[12] = (forged[12] ?? 0) ^ 1;
    r.connection.handleBody(forged);
    expect(r.happened.at(-1)).toBe('broken');
  });
});
