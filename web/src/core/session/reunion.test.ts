import { beforeEach, expect, test } from 'vitest';
import { ManualClock } from '../clock';
import { Identity, Pairing, RememberedDevice, ResumeSecret, hourAt, type Self, type Session } from '../pairing';
import { SignalingClient } from '../signaling/client';
import { MemoryServer } from '../signaling/memory_server';
import { Reunion, type Way } from './reunion';

const random = (length: number): Uint8Array => crypto.getRandomValues(new Uint8Array(length));
const SECRET = random(32);

let clock: ManualClock;
let server: MemoryServer;

beforeEach(() => {
  clock = new ManualClock();
  server = new MemoryServer();
});

interface Device {
  self: Self;
  signaling: SignalingClient;
  sessions: Session[];
  mailboxes: string[];
  changed: number;
  reunion?: Reunion;
}

function device(name: string): Device {
  const nothing = (): void => undefined;
  const events = { onState: nothing, onWelcome: nothing, onNearby: nothing, onRing: nothing };
  const signaling = new SignalingClient({ open: server.open, clock, random: () => 0.5, events });
  signaling.start();
  const self = { identity: Identity.generate(random), profile: { name, platform: 'phone', caps: [] }, random };
  return { self, signaling, sessions: [], mailboxes: [], changed: 0 };
}

function remembered(own: Device, other: Device, key = other.self.identity.publicKey): Way {
  const pinned = new RememberedDevice(key, SECRET);
  return {
    mailboxes: (hour) => pinned.mailboxes(hour),
    pairing: (role, mailbox) => Pairing.remembered(own.self, role, mailbox, pinned),
  };
}

function resumed(own: Device, other: Device): Way {
  const secret = new ResumeSecret(other.self.identity.publicKey, 'scanned', SECRET.map((byte) => byte ^ 1));
  return {
    mailboxes: (hour) => secret.mailboxes(hour),
    pairing: (role, mailbox) => Pairing.resume(own.self, role, mailbox, secret),
  };
}

function wait(own: Device, ways: readonly Way[], hour = hourAt(server.timeMs)): Reunion {
  const reunion = new Reunion({
    signaling: own.signaling,
    clock,
    ways,
    events: {
      onMet: (session, adopt) => {
        own.sessions.push(session);
        const nothing = (): void => undefined;
        own.mailboxes.push(adopt({ onJoined: nothing, onPresence: nothing, onBody: nothing, onWrongSender: nothing, onLost: nothing }).id);
      },
      onKeyChanged: () => {
        own.changed += 1;
      },
    },
  });
  reunion.setHour(hour);
  own.reunion = reunion;
  return reunion;
}

/** Lets messages arrive, and time pass. */
async function pass(ms = 1_000): Promise<void> {
  for (let passed = 0; passed < ms; passed += 100) {
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    clock.advance(100);
  }
}

function bothMetInOnePlace(one: Device, other: Device): void {
  expect([one.sessions.length, other.sessions.length]).toEqual([1, 1]);
  expect(one.mailboxes).toEqual(other.mailboxes);
  expect(one.sessions[0]?.remember().pairSecret).toEqual(other.sessions[0]?.remember().pairSecret);
}

test('two that remember each other meet without a human, whoever comes first', async () => {
  const [one, other] = [device('Amber'), device('Violet')];
  wait(one, [remembered(one, other)]);
  await pass();
  expect(one.sessions).toEqual([]);
  wait(other, [remembered(other, one)]);
  await pass();
  bothMetInOnePlace(one, other);
  expect(one.sessions[0]).toMatchObject({ role: 'responder', trust: 'remembered' });
});

test('coming at the same time they meet once', async () => {
  const [one, other] = [device('Amber'), device('Violet')];
  await pass();
  wait(one, [remembered(one, other)]);
  wait(other, [remembered(other, one)]);
  await pass();
  bothMetInOnePlace(one, other);
});

test.each([-1, 1])('clocks an hour apart do no harm (%i)', async (apart) => {
  const [one, other] = [device('Amber'), device('Violet')];
  const hour = hourAt(server.timeMs);
  wait(one, [remembered(one, other)], hour);
  wait(other, [remembered(other, one)], hour + apart);
  await pass();
  bothMetInOnePlace(one, other);
});

test('with two things shared they meet by one of them', async () => {
  const [one, other] = [device('Amber'), device('Violet')];
  wait(one, [remembered(one, other), resumed(one, other)]);
  wait(other, [remembered(other, one), resumed(other, one)]);
  await pass();
  bothMetInOnePlace(one, other);
  expect(one.sessions[0]?.trust).toBe('remembered');
});

test('where one has forgotten, the session still comes back, with the trust that it had', async () => {
  const [one, other] = [device('Amber'), device('Violet')];
  wait(one, [remembered(one, other), resumed(one, other)]);
  wait(other, [resumed(other, one)]);
  await pass(60_000);
  bothMetInOnePlace(one, other);
  expect(one.sessions[0]?.trust).toBe('scanned');
});

test('the hour changes while one waits', async () => {
  const [one, other] = [device('Amber'), device('Violet')];
  const hour = hourAt(server.timeMs);
  const reunion = wait(one, [remembered(one, other)], hour);
  await pass();
  expect(reunion.size).toBe(3);
  for (let later = 1; later <= 5; later += 1) reunion.setHour(hour + later);
  expect(reunion.size).toBe(3);
  wait(other, [remembered(other, one)], hour + 5);
  await pass();
  bothMetInOnePlace(one, other);
});

test('a key that is not the pinned one ends it on the side that pinned another', async () => {
  const [one, other, older] = [device('Amber'), device('Violet'), device('Violet')];
  wait(one, [remembered(one, older)]);
  await pass();
  wait(other, [remembered(other, one)]);
  await pass();
  expect([one.sessions, other.sessions.length, one.changed]).toEqual([[], 1, 1]);
});

test('the side that comes second finds a changed key too', async () => {
  const [one, other, older] = [device('Amber'), device('Violet'), device('Amber')];
  wait(one, [remembered(one, other)]);
  await pass();
  wait(other, [remembered(other, older)]);
  await pass();
  expect([one.sessions, other.sessions, other.changed]).toEqual([[], [], 1]);
});

test('a place that is still kept for the other side makes a crowd, which passes', async () => {
  const [one, other] = [device('Amber'), device('Violet')];
  const gone = device('Amber');
  // The page crashed: the server keeps its places, and it comes back as somebody new.
  wait(gone, [remembered(one, other)]);
  await pass();
  gone.signaling.close();
  wait(one, [remembered(one, other)]);
  await pass();
  wait(other, [remembered(other, one)]);
  await pass(40_000);
  bothMetInOnePlace(one, other);
});

test('a lost socket is no end: both return and meet', async () => {
  const [one, other] = [device('Amber'), device('Violet')];
  wait(one, [remembered(one, other)]);
  await pass();
  server.dropAll();
  await pass(5_000);
  wait(other, [remembered(other, one)]);
  await pass(5_000);
  bothMetInOnePlace(one, other);
});

test('stopped, it leaves its places', async () => {
  const [one, other] = [device('Amber'), device('Violet')];
  wait(one, [remembered(one, other)]).stop();
  wait(other, [remembered(other, one)]);
  await pass(30_000);
  expect([one.sessions, other.sessions]).toEqual([[], []]);
});
