import { beforeAll, describe, expect, test } from 'vitest';
import { type PieceHasher, loadPieceHasher } from './hash';
import { type NamedBytes, WiredPair } from './wired-pair';

const MIB = 1024 * 1024;
const ID = 'AQEBAQEBAQEBAQEBAQEBAQ';

let pieceHash: PieceHasher;
beforeAll(async () => {
  pieceHash = await loadPieceHasher();
});

/** Bytes that differ from file to file and from place to place. */
function content(seed: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed + 1;
  for (let at = 0; at < length; at += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

function files(...sizes: number[]): NamedBytes[] {
  return sizes.map((size, seed) => ({ path: `folder/file ${String(seed)}`, bytes: content(seed, size) }));
}

function connected(): WiredPair {
  const pair = new WiredPair(pieceHash);
  pair.linkUp();
  return pair;
}

function expectArrived(pair: WiredPair, expected: readonly NamedBytes[]): void {
  for (const { path, bytes } of expected) {
    const placed = pair.b.placed.get(path);
    expect(placed !== undefined && Buffer.compare(placed, bytes) === 0, path).toBe(true);
  }
  expect(pair.b.placed.size).toBe(expected.length);
  expect([pair.b.parts.size, pair.b.journals.size]).toEqual([0, 0]);
}

const bothFinished = (pair: WiredPair) => () => pair.a.saw('finished') && pair.b.saw('finished');

describe('two exchanges', () => {
  test('move files and folders as they were', () => {
    const pair = connected();
    const sent = files(0, 1, 65_536, MIB - 1, MIB, MIB + 1, 3 * MIB + 7);
    pair.a.offer(ID, sent, ['empty/deep']);
    pair.runUntil(bothFinished(pair));
    pair.run();
    expectArrived(pair, sent);
    expect(pair.b.folders).toEqual(['empty/deep']);
    expect(pair.a.exchange.isIdle && pair.b.exchange.isIdle).toBe(true);
  });

  test('write nothing before accept', () => {
    const pair = connected();
    pair.b.accepts = false;
    pair.a.offer(ID, files(10, 2 * MIB));
    pair.runUntil(() => pair.b.saw('offered'));
    pair.run();
    expect([pair.b.bytesWritten, pair.b.parts.size, pair.b.journals.size, pair.a.bytesSent]).toEqual([0, 0, 0, 0]);
  });

  test('leave nothing of a declined offer', () => {
    const pair = connected();
    pair.b.accepts = false;
    pair.a.offer(ID, files(10));
    pair.runUntil(() => pair.b.saw('offered'));
    pair.b.exchange.decline(ID, 'declined');
    pair.runUntil(() => pair.a.saw('declined'));
    expect(pair.a.exchange.isIdle && pair.b.exchange.isIdle).toBe(true);
  });

  test('carry on over lost links without writing a piece twice', () => {
    for (const every of [3, 10, 40]) {
      const pair = connected();
      const sent = files(6 * MIB + 5, 1000, 0, 2 * MIB);
      pair.a.offer(ID, sent);
      for (let lost = 0; lost < 4; lost += 1) {
        for (let steps = 0; steps < every; steps += 1) pair.step();
        pair.linkLost();
        pair.linkUp();
      }
      pair.runUntil(bothFinished(pair));
      pair.run();
      expectArrived(pair, sent);
      expect(pair.b.bytesWritten).toBe(sent.reduce((sum, { bytes }) => sum + bytes.length, 0));
    }
  });

  test('carry on from the journal after the receiver was reloaded', () => {
    const pair = connected();
    const sent = files(12 * MIB, 10, 3 * MIB);
    pair.a.offer(ID, sent);
    pair.runUntil(() => pair.b.bytesWritten >= 10 * MIB);
    pair.linkLost();
    pair.b.reload(pair.now);
    pair.linkUp();
    pair.runUntil(bothFinished(pair));
    pair.run();
    expectArrived(pair, sent);
    expect(pair.b.bytesWritten).toBeLessThan(12 * MIB + 10 + 3 * MIB + 8 * MIB);
  });

  test('send only the rest after the sender was reloaded', () => {
    const pair = connected();
    const sent = files(12 * MIB);
    pair.a.offer(ID, sent);
    pair.runUntil(() => pair.b.bytesWritten >= 6 * MIB);
    pair.linkLost();
    pair.a.reload(pair.now);
    pair.linkUp();
    pair.runUntil(bothFinished(pair));
    pair.run();
    expectArrived(pair, sent);
    expect(pair.b.bytesWritten).toBe(12 * MIB);
  });

  test('pause when there is no space and go on when there is', () => {
    const pair = connected();
    const sent = files(6 * MIB, 2000);
    pair.a.offer(ID, sent);
    pair.runUntil(() => pair.b.bytesWritten >= MIB);
    pair.b.writeError = 'no_space';
    pair.runUntil(() => pair.a.saw('paused') && pair.b.saw('paused'));
    pair.run();
    pair.b.writeError = null;
    pair.b.exchange.unpause(pair.now, ID);
    pair.runUntil(bothFinished(pair));
    pair.run();
    expectArrived(pair, sent);
  });

  test.each(['a', 'b'] as const)('cancel from side %s leaves no part and keeps the link', (side) => {
    const pair = connected();
    pair.a.offer(ID, files(16 * MIB));
    pair.runUntil(() => pair.b.bytesWritten > 0);
    pair[side].exchange.cancel(ID, 'by_person');
    pair.runUntil(() => pair.a.saw('cancelled') && pair.b.saw('cancelled'));
    pair.run();
    expect([pair.b.parts.size, pair.b.journals.size, pair.a.closed, pair.b.closed]).toEqual([0, 0, null, null]);
    pair.a.offer('AgICAgICAgICAgICAgICAg', [{ path: 'next', bytes: content(1, 10) }]);
    pair.runUntil(bothFinished(pair));
  });

  test.each(['a', 'b'] as const)('one file cancelled from side %s does not hold up the others', (side) => {
    const pair = connected();
    const sent = files(16 * MIB, 2 * MIB);
    pair.a.offer(ID, sent);
    pair.runUntil(() => pair.b.bytesWritten > 0);
    pair[side].exchange.cancelFile(pair.now, ID, 0);
    pair.runUntil(bothFinished(pair));
    pair.run();
    expectArrived(pair, sent.slice(1));
  });

  test('bring texts once and in order over lost links', () => {
    const pair = connected();
    for (let id = 0; id < 20; id += 1) {
      pair.a.exchange.sendText(id, `text ${String(id)}`);
      if (id % 2 === 0) pair.step();
      if (id % 5 === 0) {
        pair.linkLost();
        pair.linkUp();
      }
    }
    pair.run();
    const texts = pair.b.events.flatMap((event) => (event.type === 'text' ? [event.id] : []));
    expect(texts).toEqual(Array.from({ length: 20 }, (_, id) => id));
    expect(pair.a.exchange.isIdle).toBe(true);
  });

  test('notice silence after two seconds, and the next word', () => {
    const pair = connected();
    pair.run();
    const start = pair.now;
    while (!pair.a.saw('silent')) {
      pair.now = pair.a.exchange.pollTimeout() ?? Infinity;
      pair.a.exchange.handleTimeout(pair.now);
      pair.a.work(pair.now);
    }
    expect(pair.now - start).toBe(2000);
    pair.runUntil(() => pair.a.saw('heard'));
  });

  test('tell progress at both ends', () => {
    const pair = connected();
    pair.a.offer(ID, files(24 * MIB));
    pair.runUntil(() => pair.b.bytesWritten >= 16 * MIB);
    const [a, b] = [pair.a.exchange.progress(pair.now, ID), pair.b.exchange.progress(pair.now, ID)];
    expect(a?.totalBytes).toBe(24 * MIB);
    expect(b?.verifiedBytes).toBeGreaterThanOrEqual(16 * MIB);
    expect(a?.verifiedBytes).toBeLessThanOrEqual(b?.verifiedBytes ?? 0);
  });

  test('close with a code, say it, and are deaf from then on', () => {
    const pair = connected();
    pair.run();
    pair.a.exchange.handleControl(pair.now, 'nonsense');
    pair.runUntil(() => pair.b.closed !== null);
    expect([pair.a.closed, pair.b.closed]).toEqual(['malformed_message', 'malformed_message']);
    expect(pair.a.exchange.pollTimeout()).toBe(null);
  });
});
