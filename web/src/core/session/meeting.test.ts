import { beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../clock';
import { Code, Identity, Link, LinkSecret, Pairing, type Self, type Session } from '../pairing';
import type { MeetingFailure } from './failure';
import { Meeting, type MeetingStep } from './meeting';

const random = (length: number): Uint8Array => crypto.getRandomValues(new Uint8Array(length));
const MAILBOX = 'AAAAAAAAAAAAAAAAAAAAAA';

function self(name: string): Self {
  return { identity: Identity.generate(random), profile: { name, platform: 'phone', caps: [] }, random };
}

interface Side {
  meeting: Meeting;
  steps: MeetingStep[];
  sessions: Session[];
  failures: MeetingFailure[];
  refused: number;
  outbox: Uint8Array[];
}

let clock: ManualClock;

function side(pairing: Pairing, patient = false): Side {
  const seen: Omit<Side, 'meeting'> = { steps: [], sessions: [], failures: [], refused: 0, outbox: [] };
  const meeting = new Meeting({
    pairing,
    clock,
    patient,
    events: {
      send: (body) => seen.outbox.push(body),
      onStep: (step) => seen.steps.push(step),
      onMet: (session) => seen.sessions.push(session),
      onRefused: () => (seen.refused += 1),
      onFailed: (failure) => seen.failures.push(failure),
    },
  });
  return Object.assign(seen, { meeting });
}

function carry(one: Side, other: Side): void {
  while (one.outbox.length + other.outbox.length > 0) {
    for (const body of one.outbox.splice(0)) other.meeting.handleBody(body);
    for (const body of other.outbox.splice(0)) one.meeting.handleBody(body);
  }
}

function join(shower: Side, opener: Side): void {
  shower.meeting.handleJoined([]);
  opener.meeting.handleJoined([0]);
  shower.meeting.handlePresence('joined');
  carry(shower, opener);
}

beforeEach(() => {
  clock = new ManualClock();
});

describe('by link', () => {
  function linked(): { shower: Side; opener: Side } {
    const host = self('Studio');
    const secret = LinkSecret.generate(random);
    const link = Link.build('http://192.168.1.2:53380/', secret, host.identity.fingerprint());
    return { shower: side(Pairing.showLink(host, secret), true), opener: side(Pairing.openLink(self('Amber'), link)) };
  }

  test('both meet and know each other’s names', () => {
    const { shower, opener } = linked();
    join(shower, opener);
    expect(shower.sessions.map(({ trust, peerProfile }) => [trust, peerProfile.name])).toEqual([['scanned', 'Amber']]);
    expect(opener.sessions.map(({ trust, peerProfile }) => [trust, peerProfile.name])).toEqual([['scanned', 'Studio']]);
    clock.advance(600_000);
    expect([shower.failures, opener.failures]).toEqual([[], []]);
  });

  test('a mailbox that stays empty means that the link is used or too old', () => {
    const { opener } = linked();
    opener.meeting.handleJoined([]);
    clock.advance(5_000);
    expect(opener.failures).toEqual(['code_gone']);
  });

  test('an opener that is never answered says so, and tells the other side that it left', () => {
    const { opener } = linked();
    opener.meeting.handleJoined([0]);
    opener.outbox.splice(0);
    clock.advance(20_000);
    expect(opener.failures).toEqual(['no_answer']);
    expect(opener.outbox).toHaveLength(1);
  });

  test('a shown link waits for ever, and for the next joiner when one goes away half-way', () => {
    const { shower, opener } = linked();
    shower.meeting.handleJoined([]);
    clock.advance(3_600_000);
    opener.meeting.handleJoined([0]);
    for (const body of opener.outbox.splice(0)) shower.meeting.handleBody(body);
    shower.outbox.splice(0);
    shower.meeting.handlePresence('left');
    expect([shower.failures, shower.sessions, shower.refused]).toEqual([[], [], 1]);
  });

  test('a joiner that goes away without a word is told of once, and not after it was refused', () => {
    const { shower, opener } = linked();
    shower.meeting.handleJoined([]);
    shower.meeting.handlePresence('joined');
    shower.meeting.handlePresence('left');
    expect(shower.refused).toBe(1);
    shower.meeting.handlePresence('joined');
    opener.meeting.handleJoined([0]);
    const [m1] = opener.outbox.splice(0);
    m1?.fill(0, 3);
    if (m1 !== undefined) shower.meeting.handleBody(m1);
    shower.meeting.handlePresence('left');
    expect([shower.refused, shower.failures]).toEqual([2, []]);
  });

  test('a body under a number of nobody is refused, and the opener is told', () => {
    const { shower, opener } = linked();
    shower.meeting.handleJoined([]);
    opener.meeting.handleJoined([0]);
    for (const body of opener.outbox.splice(0)) shower.meeting.handleBody(body);
    shower.outbox.splice(0);
    shower.meeting.handleWrongSender();
    carry(shower, opener);
    expect([shower.refused, shower.sessions, opener.failures]).toEqual([1, [], ['protocol']]);
  });

  test('a third side ends it for both', () => {
    const { shower, opener } = linked();
    shower.meeting.handleJoined([]);
    opener.meeting.handleJoined([0]);
    shower.meeting.handleLost('crowded');
    opener.meeting.handleLost('crowded');
    expect([shower.failures, opener.failures]).toEqual([['crowded'], ['crowded']]);
  });
});

test('a wrong code is told to both, and burns it', () => {
  const shown = Code.generate('4821', random);
  const others = ['piano', 'tiger', 'zebra'].filter((word) => !shown.words.some((mine) => mine === word));
  const shower = side(Pairing.showCode(self('Studio'), shown), true);
  const opener = side(Pairing.typeCode(self('Amber'), Code.parse(`4821-${others[0] ?? ''}-${others[0] ?? ''}`)));
  join(shower, opener);
  expect([shower.failures, opener.failures]).toEqual([['wrong_code'], ['wrong_code']]);
});

describe('nearby', () => {
  let r: Side;
  let i: Side;

  beforeEach(() => {
    r = side(Pairing.nearby(self('Studio'), 'responder', MAILBOX));
    i = side(Pairing.nearby(self('Amber'), 'initiator', MAILBOX));
    join(r, i);
  });

  function right(): number {
    const [pick] = r.steps.slice(-1);
    const [show] = i.steps.slice(-1);
    if (pick?.step !== 'pick_row' || show?.step !== 'confirm') throw new Error('nothing to compare');
    return pick.rows.findIndex((row) => row.every(({ index }, column) => index === show.row[column]?.index));
  }

  test('the one who picks is told who asks', () => {
    expect(r.steps.at(-1)).toMatchObject({ step: 'pick_row', claimed: { name: 'Amber', platform: 'phone' } });
  });

  test('both people have to say yes', () => {
    r.meeting.pickRow(right());
    carry(r, i);
    expect([r.sessions, i.sessions]).toEqual([[], []]);
    expect(r.steps.at(-1)).toEqual({ step: 'waiting_for_person', row: null });
    i.meeting.confirmPictures(true);
    carry(r, i);
    expect([r.sessions[0]?.trust, i.sessions[0]?.trust]).toEqual(['compared', 'compared']);
  });

  test('a wrong row ends it for both', () => {
    r.meeting.pickRow((right() + 1) % 3);
    carry(r, i);
    expect([r.failures, i.failures]).toEqual([['pictures_differ'], ['pictures_differ']]);
  });

  test('none of the rows ends it for both', () => {
    r.meeting.pickRow(null);
    carry(r, i);
    expect([r.failures, i.failures]).toEqual([['pictures_differ'], ['pictures_differ']]);
  });

  test('the other person’s answer does not shorten our own time', () => {
    const row = right();
    i.meeting.confirmPictures(true);
    carry(r, i);
    clock.advance(100_000);
    expect(r.failures).toEqual([]);
    r.meeting.pickRow(row);
    carry(r, i);
    expect([r.sessions.length, i.sessions.length]).toEqual([1, 1]);
  });

  test('people who never answer are given up after two minutes', () => {
    clock.advance(120_000);
    expect([r.failures, i.failures]).toEqual([['no_answer'], ['no_answer']]);
  });

  test('giving up tells the other side', () => {
    r.meeting.abandon();
    carry(r, i);
    expect([r.failures, i.failures]).toEqual([[], ['declined']]);
  });
});
