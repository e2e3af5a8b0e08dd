import 'fake-indexeddb/auto';
import { IDBFactory } from 'fake-indexeddb';
import { beforeEach, expect, test, vi } from 'vitest';
import { PIECE_BYTES } from '../protocol/frame';
import { encodeBase64Url } from '../protocol/base64url';
import type { JournalRecord } from '../transfer';
import { KEPT_MS, Ledger, SAVED_MS, expiresAtMs, type KeptTransfer } from './ledger';
import { MemorySink } from './memory';
import { reconcile } from './reconcile';
import type { TabLocks } from './tab_lock';
import { openTransferDatabase } from './transfer_database';

const ID = encodeBase64Url(new Uint8Array(16).fill(7));
const NOW = 1_795_219_200_000;
const SIZE = 3 * PIECE_BYTES;

/** Locks as tabs share them: `others` are held elsewhere. */
function locks(others: readonly string[] = []): TabLocks {
  return {
    claim: (transfer) => Promise.resolve(!others.includes(transfer)),
    release: () => undefined,
    held: () => Promise.resolve(new Set(others)),
  };
}

async function opened(tabs = locks()): Promise<Ledger> {
  const database = await openTransferDatabase();
  if (database === null) throw new Error('no database');
  return Ledger.open(database, tabs);
}

function received(over: Partial<KeptTransfer> = {}): KeptTransfer {
  return {
    id: ID,
    direction: 'receive',
    peer: 'peer',
    deviceName: 'Violet',
    platform: 'phone',
    entries: [{ kind: 'file', path: 'film.mov', size_bytes: SIZE }],
    wanted: [{ first: 0, count: 1 }],
    done: [],
    startedAtMs: NOW,
    updatedAtMs: NOW,
    endedAtMs: null,
    savedAtMs: null,
    sources: [],
    ...over,
  };
}

const HEAD: JournalRecord[] = [
  { record: 'accepted', version: 1, transfer: ID, entries: 1, wanted: [{ first: 0, count: 1 }] },
  { record: 'entries', entries: [{ kind: 'file', path: 'film.mov', size_bytes: SIZE }] },
];
const pieces = (first: number, count: number): JournalRecord => ({
  record: 'pieces',
  file: 0,
  version: 0,
  first,
  hashes: encodeBase64Url(new Uint8Array(32 * count).fill(9)),
});
const heldPieces = (ledger: Ledger): number[] => [...(ledger.journal(ID)?.files.get(0)?.pieces.keys() ?? [])];

beforeEach(() => {
  vi.stubGlobal('indexedDB', new IDBFactory());
});

test('a transfer and the pieces that are durable are there at the next visit', async () => {
  const ledger = await opened();
  ledger.begin(received(), null);
  await ledger.append(ID, HEAD, true);
  await ledger.append(ID, [pieces(0, 1)], false);
  await ledger.append(ID, [pieces(1, 1)], true);
  const next = await opened();
  expect(next.get(ID)).toEqual(received());
  expect(heldPieces(next)).toEqual([0, 1]);
  // What is added later comes behind.
  await next.append(ID, [{ record: 'dropped', file: 0, piece: 0 }], true);
  expect(heldPieces(await opened())).toEqual([1]);
});

test('what another tab works on is left to it', async () => {
  const ledger = await opened();
  ledger.begin(received(), null);
  await ledger.append(ID, HEAD, true);
  const next = await opened(locks([ID]));
  expect(next.all()).toEqual([]);
  const sink = new MemorySink(SIZE);
  await sink.open(ID, 0, SIZE);
  await reconcile(next, sink, NOW);
  expect(await sink.transfers(), 'its files are not swept').toEqual([ID]);
});

test('a journal that cannot be kept any more vouches for nothing', async () => {
  const database = await openTransferDatabase();
  if (database === null) throw new Error('no database');
  const ledger = await Ledger.open(database, locks());
  ledger.begin(received(), null);
  await ledger.append(ID, HEAD, true);
  vi.spyOn(database, 'append').mockRejectedValueOnce(new DOMException('full', 'QuotaExceededError'));
  await ledger.append(ID, [pieces(0, 1)], true);
  expect((await opened()).all()).toEqual([]);
});

test('pieces whose bytes are gone are struck, and what was not noted is cut off', async () => {
  const ledger = await opened();
  ledger.begin(received(), null);
  await ledger.append(ID, [...HEAD, pieces(0, 3)], true);
  const sink = new MemorySink(SIZE);
  await sink.open(ID, 0, PIECE_BYTES + 5);
  await reconcile(ledger, sink, NOW);
  expect(heldPieces(ledger)).toEqual([0]);
  expect(heldPieces(await opened())).toEqual([0]);
  expect([...(await sink.parts(ID))]).toEqual([[0, PIECE_BYTES]]);
});

test.each([
  ['too old', KEPT_MS, true],
  ['without its whole file', 0, false],
])('a transfer that is %s goes, with its files', async (_, later, there) => {
  const ledger = await opened();
  ledger.begin(received(), null);
  await ledger.append(ID, [...HEAD, pieces(0, 3), { record: 'placing', file: 0 }, { record: 'placed', file: 0 }], true);
  const sink = new MemorySink(SIZE);
  if (there) await sink.open(ID, 0, SIZE);
  await reconcile(ledger, sink, NOW + later);
  expect(ledger.all()).toEqual([]);
  expect((await opened()).all()).toEqual([]);
  expect(await sink.transfers()).toEqual([]);
});

test('a copy that was saved goes after a day, one that was not after a week', () => {
  expect(expiresAtMs(received({ endedAtMs: NOW + 5 }))).toBe(NOW + 5 + KEPT_MS);
  expect(expiresAtMs(received({ endedAtMs: NOW, savedAtMs: NOW + 7 }))).toBe(NOW + 7 + SAVED_MS);
});

test('files of transfers that nobody knows are swept', async () => {
  const ledger = await opened();
  const sink = new MemorySink(SIZE);
  await sink.open('left-behind', 0, 5);
  await reconcile(ledger, sink, NOW);
  expect(await sink.transfers()).toEqual([]);
});
