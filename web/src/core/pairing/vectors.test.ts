// The frozen vectors of `crates/pairing/vectors`, which Rust reads too.

import { bytesToHex, hexToBytes } from '@noble/hashes/utils.js';
import { describe, expect, test } from 'vitest';

import codes from '../../../../crates/pairing/vectors/codes.json';
import derivations from '../../../../crates/pairing/vectors/derivations.json';
import links from '../../../../crates/pairing/vectors/links.json';
import seal from '../../../../crates/pairing/vectors/seal.json';
import spake2 from '../../../../crates/pairing/vectors/spake2.json';
import tampered from '../../../../crates/pairing/vectors/tampered.json';
import transcripts from '../../../../crates/pairing/vectors/transcripts.json';
import englishWords from '../../../../crates/pairing/src/words_english.txt?raw';
import pictureSource from '../../../../crates/pairing/src/pictures.rs?raw';
import { utf8 } from './bytes';
import { Code, CodeError } from './code';
import { fingerprintOf } from './identity';
import { Link, LinkError, LinkSecret } from './link';
import { PICTURES } from './pictures';
import { RememberedDevice } from './remembered';
import { Spake2 } from './spake2';
import { OpenError, Opener, Sealer } from './seal';
import { meet, self } from './wired-pair';
import { WORDS } from './words';

function kindOf(attempt: () => unknown): string {
  try {
    attempt();
  } catch (error) {
    if (error instanceof LinkError || error instanceof CodeError) return error.kind;
    throw error;
  }
  return 'accepted';
}

describe('lists', () => {
  test('the words are those of Rust', () => {
    expect(WORDS).toEqual(englishWords.trim().split('\n'));
  });

  test('the pictures are those of Rust, in the same order', () => {
    const inRust = [...pictureSource.matchAll(/\("(.+)", "(.+)"\),/g)].map(([, emoji, name]) => [emoji, name]);
    expect(PICTURES.map(({ emoji, name }) => [emoji, name])).toEqual(inRust);
    expect(inRust).toHaveLength(64);
  });
});

describe('links', () => {
  test.each(links.valid)('$text is read and written the same', ({ text, base, secret, shower, url }) => {
    const link = Link.parse(text);
    expect(link.base).toBe(base);
    expect(link.secret.toText()).toBe(Link.build(base, LinkSecret.fromBytes(hexToBytes(secret)), link.shower).secret.toText());
    expect(bytesToHex(link.shower)).toBe(shower);
    expect(link.toUrl()).toBe(url);
  });

  test.each(links.invalid)('$text is refused: $error', ({ text, error }) => {
    expect(kindOf(() => Link.parse(text))).toBe(error);
  });

  test('a link beyond 512 bytes is refused', () => {
    const long = `https://${'x'.repeat(460)}/#1.AAECAwQFBgcICQoLDA0ODw.EBESExQVFhcYGRobHB0eHw`;
    expect(kindOf(() => Link.parse(long))).toBe('too_long');
  });

  test('a link that is too long once its slash is added is refused', () => {
    const link = (hostBytes: number): string => `https://${'x'.repeat(hostBytes)}#1.AAECAwQFBgcICQoLDA0ODw.EBESExQVFhcYGRobHB0eHw`;
    const longest = Link.parse(link(455)).toUrl();
    expect(longest).toHaveLength(512);
    expect(Link.parse(longest).toUrl()).toBe(longest);
    expect(kindOf(() => Link.parse(link(456)))).toBe('too_long');
  });
});

describe('codes', () => {
  test.each(codes.valid)('$text is read the same', ({ text, nameplate, letters, shown }) => {
    const code = Code.parse(text);
    expect([code.nameplate, code.password(), code.toText()]).toEqual([nameplate, letters, shown]);
  });

  test.each(codes.invalid)('$text is refused: $error', ({ text, error }) => {
    expect(kindOf(() => Code.parse(text))).toBe(error);
  });

  test.each(codes.completions)('$text completes', ({ text, whole }) => {
    expect(Code.complete(text)).toEqual(whole);
  });
});

test.each(derivations)('values derived from $link_secret are those of an independent BLAKE3', (vector) => {
  const secret = LinkSecret.fromBytes(hexToBytes(vector.link_secret));
  expect(secret.mailbox()).toBe(vector.link_mailbox);
  expect(bytesToHex(secret.psk())).toBe(vector.link_psk);
  const key = hexToBytes(vector.public_key);
  expect(bytesToHex(fingerprintOf(key))).toBe(vector.fingerprint);
  expect(new RememberedDevice(key, hexToBytes(vector.secret)).mailboxes(vector.hour)).toEqual(vector.mailboxes);
});

describe('SPAKE2', () => {
  test.each(spake2.exchanges)('$shown and $typed agree with the Python implementation', (vector) => {
    const a = new Spake2('responder', Code.parse(vector.shown), hexToBytes(vector.scalar_a));
    const b = new Spake2('initiator', Code.parse(vector.typed), hexToBytes(vector.scalar_b));
    expect(bytesToHex(a.element)).toBe(vector.element_a);
    expect(bytesToHex(b.element)).toBe(vector.element_b);
    expect(bytesToHex(a.finish(b.element) ?? utf8('refused'))).toBe(vector.key_a);
    expect(bytesToHex(b.finish(a.element) ?? utf8('refused'))).toBe(vector.key_b);
  });

  test.each(spake2.refused_from_b)('refuses an element with $why', ({ element }) => {
    const a = new Spake2('responder', Code.parse('4821-piano-tiger'), new Uint8Array(64).fill(7));
    expect(a.finish(hexToBytes(element))).toBeUndefined();
  });
});

describe('sealed messages', () => {
  test('around each change of the key are those of an independent implementation', () => {
    const opener = new Opener(hexToBytes(seal.key));
    for (const { sealed, plaintext, error } of seal.messages) {
      let opened: string | undefined;
      let refused: string | null = null;
      try {
        opened = bytesToHex(opener.open(hexToBytes(sealed)));
      } catch (thrown) {
        if (!(thrown instanceof OpenError)) throw thrown;
        refused = thrown.kind;
      }
      expect(refused, sealed).toBe(error);
      if (error === null) expect(opened).toBe(plaintext);
    }
  });

  test('are made under a new key after 2²⁰ of them', () => {
    const sealer = new Sealer(hexToBytes(seal.key), 2 ** 20 - 1);
    const made = ['last of its key', 'first of the next key'].map((text) => bytesToHex(sealer.seal(utf8(text))));
    expect(seal.messages.map(({ sealed }) => sealed)).toEqual(expect.arrayContaining(made));
    const later = new Sealer(hexToBytes(seal.key), 2 ** 21);
    expect(seal.messages.map(({ sealed }) => sealed)).toContain(bytesToHex(later.seal(utf8('as far as may be skipped'))));
  });

  test('with any bit flipped are refused and change nothing', () => {
    const sealed = new Sealer(hexToBytes(seal.key)).seal(utf8('candidate'));
    const opener = new Opener(hexToBytes(seal.key));
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const forged = sealed.map((byte, index) => (index === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
      expect(() => opener.open(forged), `bit ${bit}`).toThrow(OpenError);
    }
    expect(opener.open(sealed)).toEqual(utf8('candidate'));
  });
});

describe('transcripts', () => {
  test.each(transcripts.cases)('$method is byte for byte the frozen one', (vector) => {
    const pair = meet(vector.method, self(vector.shower), self(vector.opener), transcripts);
    const sent = pair.deliver().map(({ from, message }) => ({ from, message: bytesToHex(message) }));
    expect(sent).toEqual(vector.messages);

    const [shower, opener] = [pair.shower.met(), pair.opener.met()];
    const [sessionId, certR, certI] = [
      hexToBytes(transcripts.session_id),
      hexToBytes(transcripts.cert_r),
      hexToBytes(transcripts.cert_i),
    ];
    const text = (bytes: Uint8Array): string => bytesToHex(bytes);
    expect([shower.trust, opener.trust]).toEqual([vector.trust, vector.trust]);
    expect([text(shower.peerKey), text(opener.peerKey)]).toEqual([vector.opener.public_key, vector.shower.public_key]);
    expect(shower.peerProfile).toEqual(vector.opener.profile);
    expect(opener.peerProfile).toEqual(vector.shower.profile);
    for (const session of [shower, opener]) {
      expect(text(session.laneKeys().token)).toBe(vector.token);
      expect(text(session.remember().pairSecret)).toBe(vector.pair_secret);
      expect(text(session.resumeSecret().psk)).toBe(vector.resume_secret);
    }
    const bindR = shower.bindMessage(sessionId, certR, certI);
    const bindI = opener.bindMessage(sessionId, certI, certR);
    expect([text(bindR), text(bindI)]).toEqual([vector.bind_r, vector.bind_i]);
    expect(shower.verifyBind(sessionId, certR, certI, bindI)).toBe(true);
    expect(opener.verifyBind(sessionId, certI, certR, bindR)).toBe(true);
    expect(shower.verifyBind(sessionId, certR, certI, bindR), 'our own bind is no answer').toBe(false);
    expect(opener.verifyBind(sessionId, certR, certI, bindR), 'other certificates').toBe(false);

    const sealed = (session: typeof shower): string[] => [text(session.seal(utf8('first'))), text(session.seal(utf8('')))];
    expect(sealed(shower)).toEqual(vector.sealed_r);
    expect(sealed(opener)).toEqual(vector.sealed_i);
    expect(vector.sealed_r.map((message) => text(opener.open(hexToBytes(message))))).toEqual([text(utf8('first')), '']);
    expect(text(shower.laneKeys().stream(7).sealer.seal(utf8('piece')))).toBe(vector.lane_7_r);
    expect(text(opener.laneKeys().stream(7).sealer.seal(utf8('piece')))).toBe(vector.lane_7_i);
    for (const [session, frames] of [
      [shower, vector.lane_8_frames_r],
      [opener, vector.lane_8_frames_i],
    ] as const) {
      const { sealer } = session.laneKeys().lane(8);
      const sealed = [sealer.bind(new Uint8Array(32).fill(8)), sealer.control('{}'), sealer.data(utf8('piece')), sealer.alive()];
      expect(sealed.map(text)).toEqual(frames);
    }
    if (vector.pictures !== undefined) {
      expect(pair.opener.mine?.map(({ index }) => index)).toEqual(vector.pictures.mine);
      expect(pair.shower.rows?.map((row) => row.map(({ index }) => index))).toEqual(vector.pictures.rows);
    }
  });
});

describe('tampered messages', () => {
  for (const { method, shower, opener } of transcripts.cases) {
    test(`of ${method} are refused by the same name as in Rust`, () => {
      const cases = tampered.filter((vector) => vector.method === method);
      expect(cases.length).toBeGreaterThan(30);
      for (const vector of cases) {
        const pair = meet(method, self(shower), self(opener), transcripts);
        pair.deliver((index, message) => (index === vector.index ? vector.replacement.map(hexToBytes) : [message]));
        const target = vector.to === 'R' ? pair.shower : pair.opener;
        const got = {
          refused: target.refused.map(({ kind }) => kind),
          failed: target.failed?.kind ?? null,
          established: target.session !== undefined,
        };
        const { refused, failed, established } = vector;
        expect(got, `message ${vector.index}: ${vector.what}`).toEqual({ refused, failed, established });
      }
    }, 60_000);
  }
});
