import { hkdf } from '@noble/hashes/hkdf.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';
import { expect, test } from 'vitest';

import { concat, utf8 } from './bytes';
import { Code } from './code';
import { Entropy } from './entropy';
import { decodeFrame, encodeFrame } from './frame';
import { Identity } from './identity';
import { derive } from './kdf';
import { Link, LinkSecret } from './link';
import { mailboxBytes } from './mailbox';
import { Noise } from './noise';
import { Pairing, type Self } from './pairing';
import { commitment } from './pictures';
import { encodeProfile } from './profile';
import { encrypt } from './seal';
import { Session } from './session';
import { Pair, Side } from './wired-pair';

/** Another stream of fixed bytes for each name. */
function fixed(name: string): (length: number) => Uint8Array {
  let drawn = 0;
  return (length) => derive(`test ${name} ${drawn++}`).subarray(0, length);
}

function device(name: string, seed = name): Self {
  const identity = Identity.generate(fixed(name));
  return { identity, profile: { name, platform: 'phone', caps: [] }, random: fixed(`seed ${seed}`) };
}

const DESKTOP = device('desktop');
const SECRET = LinkSecret.generate(fixed('secret'));
const LINK = Link.build('https://relay.example/', SECRET, DESKTOP.identity.fingerprint());
const CODE = Code.parse('4821-piano-tiger');

const shown = (): Side => new Side(Pairing.showLink(DESKTOP, SECRET));
const opened = (seed: string, link = LINK): Side => new Side(Pairing.openLink(device('phone', seed), link));

function next(side: Side): Uint8Array {
  const message = side.outbox.shift();
  if (message === undefined) throw new Error('nothing to say');
  return message;
}

/** Lets the two talk from where they are. */
function carryOn(shower: Side, opener: Side): void {
  for (let message = opener.outbox.shift(); message !== undefined; message = opener.outbox.shift()) {
    shower.take(message);
    for (const answer of shower.outbox.splice(0)) opener.take(answer);
  }
}

test('replays of message 1 do not spend a link', () => {
  const shower = shown();
  const recorded = next(opened('gone'));
  for (let replay = 0; replay < 40; replay++) {
    shower.take(recorded);
    if (replay % 2 === 0) expect(shower.pairing.restart()).toBe(true);
  }
  shower.pairing.restart();
  shower.outbox.length = 0;
  const opener = opened('right');
  carryOn(shower, opener);
  expect(shower.met().trust).toBe('scanned');
  expect(bytesToHex(opener.met().peerKey)).toBe(bytesToHex(DESKTOP.identity.publicKey));
  expect(shower.pairing.restart(), 'a used link does not wait again').toBe(false);
});

test('the fifth joiner without the secret closes the link', () => {
  const shower = shown();
  for (let wrong = 1; wrong <= 5; wrong++) {
    const guess = Link.build('https://relay.example/', LinkSecret.fromBytes(new Uint8Array(16).fill(wrong)), LINK.shower);
    shower.take(next(opened('guesser', guess)));
    expect(shower.refused).toHaveLength(Math.min(wrong, 4));
  }
  expect(shower.failed?.kind).toBe('too_many_wrong_tries');
});

test('whoever answers in place of the shower is unmasked', () => {
  const pair = new Pair(Pairing.showLink(device('stranger'), SECRET), Pairing.openLink(device('phone'), LINK));
  pair.deliver();
  expect(pair.opener.failed?.kind).toBe('wrong_shower');
  expect(pair.shower.session).toBeUndefined();
});

test('a wrong code burns the code on both sides, and the right one is too late', () => {
  const pair = new Pair(
    Pairing.showCode(DESKTOP, CODE),
    Pairing.typeCode(device('phone'), Code.parse('4821-piano-tide')),
  );
  const [element] = pair.deliver();
  expect(pair.shower.failed?.kind).toBe('wrong_code');
  expect(pair.opener.failed?.reason).toBe('wrong_code');
  expect(pair.opener.failed?.message).toContain('make a new code');
  expect(pair.shower.pairing.restart()).toBe(false);
  const late = new Side(Pairing.typeCode(device('phone'), CODE));
  if (element !== undefined) late.take(element.message);
  pair.shower.take(next(late));
  expect(pair.shower.session).toBeUndefined();
});

test('a message under a number of nobody ends the attempt on both sides', () => {
  const shower = shown();
  const opener = opened('right');
  shower.take(next(opener));
  opener.take(next(shower));
  // Message 3 arrives under another number than message 1 did.
  next(opener);
  shower.pairing.refuseSender();
  shower.drain();
  expect(shower.refused.map(({ kind }) => kind)).toEqual(['wrong_sender']);
  opener.take(next(shower));
  expect(opener.failed?.reason).toBe('protocol');

  const code = new Side(Pairing.showCode(DESKTOP, CODE));
  code.pairing.refuseSender();
  code.drain();
  expect(code.failed?.kind, 'a code has one try, whoever spoilt it').toBe('wrong_sender');
});

test('equal one-time keys and equal device keys are refused', () => {
  const mirror = new Pair(
    Pairing.showLink(device('desktop', 'same'), SECRET),
    Pairing.openLink(device('phone', 'same'), LINK),
  );
  mirror.deliver();
  expect(mirror.shower.refused.map(({ kind }) => kind)).toEqual(['equal_ephemerals']);

  const copy = new Pair(Pairing.showLink(DESKTOP, SECRET), Pairing.openLink(device('desktop', 'other'), LINK));
  copy.deliver();
  expect(copy.opener.failed?.kind).toBe('equal_statics');
});

test('an opener refuses a shower with its own one-time key', () => {
  const mailbox = SECRET.mailbox();
  const answered = (ephemeral: Uint8Array): Side => {
    const opener = new Side(Pairing.nearby(device('phone'), 'initiator', mailbox));
    const shower = new Noise('responder', 'nearby', mailboxBytes(mailbox), new Uint8Array(32), DESKTOP.identity, ephemeral);
    shower.readM1(decodeFrame(next(opener), 'nearby', 'responder').payload);
    opener.take(encodeFrame('nearby', 'm2', shower.writeM2(encodeProfile(DESKTOP.profile))));
    return opener;
  };
  const own = new Entropy(fixed('seed phone')).noiseEphemeral();
  expect(answered(own).failed?.kind).toBe('equal_ephemerals');
  expect(answered(new Uint8Array(32).fill(5)).failed, 'with any other key the same message is taken').toBeUndefined();
});

test('a one-time key that makes the shared secret known to everyone is refused', () => {
  const mailbox = SECRET.mailbox();
  for (const weak of [new Uint8Array(32), Uint8Array.from({ length: 32 }, (_, at) => (at === 0 ? 1 : 0))]) {
    const shower = new Side(Pairing.nearby(DESKTOP, 'responder', mailbox));
    shower.take(encodeFrame('nearby', 'm1', m1WithKey(mailbox, weak)));
    expect(shower.failed?.kind).toBe('weak_key');
  }
  const shower = new Side(Pairing.nearby(DESKTOP, 'responder', mailbox));
  shower.take(encodeFrame('nearby', 'm1', m1WithKey(mailbox, new Uint8Array(32).fill(9))));
  expect(shower.failed, 'with any other key the same message is taken').toBeUndefined();
});

/** Message 1 of a nearby pairing, which has no secret, with this public one-time key (Noise §5, §9). */
function m1WithKey(mailbox: string, key: Uint8Array): Uint8Array {
  const derived = (ck: Uint8Array, input: Uint8Array): Uint8Array => hkdf(sha256, input, ck, new Uint8Array(0), 96);
  const name = sha256(utf8('Noise_XXpsk0_25519_ChaChaPoly_SHA256'));
  let hash = sha256(concat(name, utf8('lanyard/1'), Uint8Array.of(3), mailboxBytes(mailbox)));
  const afterPsk = derived(name, new Uint8Array(32));
  hash = sha256(concat(hash, afterPsk.subarray(32, 64)));
  hash = sha256(concat(hash, key));
  const afterKey = derived(afterPsk.subarray(0, 32), key);
  return concat(key, encrypt(afterKey.subarray(32, 64), 0n, new Uint8Array(0), hash));
}

test('a nonce that does not fit the commitment is refused before rows are shown', () => {
  const mailbox = SECRET.mailbox();
  const shower = new Side(Pairing.nearby(DESKTOP, 'responder', mailbox));
  const cheat = device('cheat');
  const noise = new Noise('initiator', 'nearby', mailboxBytes(mailbox), new Uint8Array(32), cheat.identity, new Uint8Array(32).fill(4));
  shower.take(encodeFrame('nearby', 'm1', noise.writeM1()));
  noise.readM2(decodeFrame(next(shower), 'nearby', 'initiator').payload);
  shower.take(encodeFrame('nearby', 'm3', noise.writeM3(encodeProfile(cheat.profile))));
  const session = new Session('initiator', 'compared', cheat.profile, noise.finish());
  shower.take(encodeFrame('nearby', 'commit', session.seal(commitment(new Uint8Array(32).fill(1)))));
  // Having seen R's nonce, it would rather have another one.
  shower.take(encodeFrame('nearby', 'reveal', session.seal(new Uint8Array(32).fill(2))));
  expect(shower.failed?.kind).toBe('commitment_broken');
  expect(shower.rows).toBeUndefined();
});

test('a wrong row declines, and the other side is told', () => {
  const mailbox = SECRET.mailbox();
  const shower = new Side(Pairing.nearby(DESKTOP, 'responder', mailbox));
  const opener = new Side(Pairing.nearby(device('phone'), 'initiator', mailbox));
  carryOn(shower, opener);
  const right = shower.rows?.findIndex((row) => row.every(({ index }, at) => index === opener.mine?.[at]?.index));
  expect(right).toBeGreaterThanOrEqual(0);
  shower.pairing.pickRow(((right ?? 0) + 1) % 3);
  shower.drain();
  for (const message of shower.outbox.splice(0)) opener.take(message);
  expect(shower.failed?.kind).toBe('wrong_pictures');
  expect(opener.failed?.reason).toBe('pictures');
  opener.pairing.confirmPictures(true);
  opener.drain();
  expect(opener.session).toBeUndefined();
});

test('any bytes neither throw nor establish', () => {
  const mailbox = SECRET.mailbox();
  for (let seed = 0; seed < 40; seed++) {
    const noise = derive(`noise ${seed}`);
    const sides = [
      shown(),
      opened('phone'),
      new Side(Pairing.typeCode(device('phone'), CODE)),
      new Side(Pairing.nearby(DESKTOP, 'responder', mailbox)),
    ];
    for (const [index, side] of sides.entries()) {
      const method = [1, 1, 2, 3][index] ?? 0;
      for (const step of [0x01, 0x11, 0x12, 0x13, 0x21, 0xff, noise[0] ?? 0]) {
        side.take(noise.subarray(0, seed % 33));
        side.take(Uint8Array.of(1, method, step, ...noise, ...noise, ...noise));
      }
      expect(side.session).toBeUndefined();
    }
  }
});

test('an ended meeting tells the other side and says nothing more', () => {
  const pair = new Pair(Pairing.showLink(DESKTOP, SECRET), Pairing.openLink(device('phone'), LINK));
  pair.shower.pairing.crowded();
  pair.shower.pairing.cancel();
  pair.shower.drain();
  expect(pair.shower.failed?.kind).toBe('crowded');
  pair.opener.take(next(pair.shower));
  expect(pair.opener.failed?.reason).toBe('crowded');
  pair.opener.take(utf8('anything'));
  expect(pair.opener.refused).toEqual([]);
});
