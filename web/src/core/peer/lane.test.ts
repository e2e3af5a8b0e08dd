import { beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../clock';
import { LaneKeys } from '../pairing';
import { LaneLink, type LaneSocket, type LaneSocketEvents } from './lane';
import type { LinkEnd } from './link';

/** A server that joins two sockets, and may change what it carries. */
class Server {
  readonly sockets: LaneSocketEvents[] = [];
  readonly hellos: Uint8Array[] = [];
  carry = (frame: Uint8Array): Uint8Array[] => [frame];
  bufferedBytes = 0;

  open(events: LaneSocketEvents): LaneSocket {
    const at = this.sockets.push(events) - 1;
    let first = true;
    const buffered = (): number => this.bufferedBytes;
    return {
      get bufferedBytes() {
        return buffered();
      },
      send: (bytes: Uint8Array) => {
        if (first) this.hellos.push(bytes);
        else for (const frame of this.carry(bytes.slice())) this.sockets[1 - at]?.onBytes(frame);
        first = false;
      },
      close: () => undefined,
    };
  }
}

interface Side {
  link: LaneLink;
  control: (string | Uint8Array)[];
  data: Uint8Array[];
  happened: string[];
  ends: LinkEnd[];
}

let clock: ManualClock;
let server: Server;
let sides: [Side, Side];

function side(keys: LaneKeys): Side {
  const seen: Omit<Side, 'link'> = { control: [], data: [], happened: [], ends: [] };
  const link = new LaneLink({
    open: (events) => server.open(events),
    door: { ticket: 'AAECAwQFBgcICQoLDA0ODw', keys },
    attempt: 7,
    clock,
    events: {
      onSignal: () => undefined,
      onOpen: () => seen.happened.push('open'),
      onState: () => undefined,
      onControl: (message) => seen.control.push(message),
      onData: (frame) => seen.data.push(frame),
      onWritable: () => seen.happened.push('writable'),
      onAlive: () => seen.happened.push('alive'),
      onClosed: (why) => seen.ends.push(why ?? 'ended'),
    },
  });
  return { ...seen, link };
}

beforeEach(() => {
  clock = new ManualClock();
  server = new Server();
  const [token, one, other] = [1, 2, 3].map((byte) => new Uint8Array(32).fill(byte));
  if (token === undefined || one === undefined || other === undefined) throw new Error('three keys');
  sides = [side(new LaneKeys(token, one, other)), side(new LaneKeys(token, other, one))];
  for (const socket of server.sockets) socket.onOpen();
});

test('LK-32: the first message names ticket and attempt', () => {
  const [hello] = server.hellos;
  expect([...(hello ?? [])]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 0, 0, 0, 0, 0, 0, 7]);
});

test('LK-33: each kind arrives as it was sent', () => {
  const [one, other] = sides;
  one.link.sendControl(new Uint8Array(32).fill(9));
  one.link.sendControl('{}');
  other.link.sendData(new Uint8Array(65_536).fill(5));
  expect(other.control).toEqual([new Uint8Array(32).fill(9), '{}']);
  expect(one.data).toEqual([new Uint8Array(65_536).fill(5)]);
  expect([one.ends, other.ends]).toEqual([[], []]);
});

describe('LK-33: a server that does not carry frames as they are is noticed', () => {
  let earlier: Uint8Array[] = [];
  let count = 0;
  const second = (change: (frame: Uint8Array) => Uint8Array[]) => (frame: Uint8Array) => {
    count += 1;
    earlier.push(frame.slice());
    return count === 2 ? change(frame) : [frame];
  };

  test.each<[string, (frame: Uint8Array) => Uint8Array[]]>([
    ['changes a bit', (frame) => [frame.map((byte, at) => (at === 12 ? byte ^ 1 : byte))]],
    ['shortens one', (frame) => [frame.subarray(0, frame.length - 1)]],
    ['leaves one out', () => []],
    ['repeats one', (frame) => [frame, frame]],
    ['brings an old one', () => earlier.slice(0, 1)],
    ['makes one up', () => [new Uint8Array(40)]],
  ])('%s', (_, change) => {
    earlier = [];
    count = 0;
    server.carry = second(change);
    const [one, other] = sides;
    for (const text of ['first', 'second', 'third']) one.link.sendControl(text);
    expect(other.ends).toEqual(['tampered']);
    expect(other.control.length).toBeLessThan(3);
  });
});

test('LK-38: a side that says nothing for a second is alive', () => {
  const [one, other] = sides;
  clock.advance(2_500);
  expect(other.happened.filter((what) => what === 'alive')).toHaveLength(2);
  one.link.close();
  clock.advance(5_000);
  expect(other.happened.filter((what) => what === 'alive')).toHaveLength(2);
});

test('a full buffer stops data and says when there is room', () => {
  const [one] = sides;
  server.bufferedBytes = 600_000;
  one.link.sendData(new Uint8Array(10));
  expect(one.link.writable).toBe(false);
  clock.advance(100);
  expect(one.happened).toEqual(['open']);
  server.bufferedBytes = 1_000;
  clock.advance(20);
  expect([one.link.writable, one.happened]).toEqual([true, ['open', 'writable']]);
});

test('LK-39: the badge is that of a direct way where the other device says that the server is its own', async () => {
  const [one] = sides;
  expect(await one.link.route()).toEqual({ kind: 'relayed', rttMs: null });
  one.link.handleSignal({ kind: 'lane', own_server: true });
  expect(await one.link.route()).toEqual({ kind: 'lan', rttMs: null });
});
