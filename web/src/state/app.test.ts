/** Two whole applications, joined by a server and links inside this process. */
import { beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../core/clock';
import { Identity } from '../core/pairing';
import { MemoryNetwork } from '../core/peer/memory_link';
import { BrowserExchange } from '../core/session/browser_exchange';
import { MemoryServer } from '../core/signaling/memory_server';
import { MemoryKeep } from '../core/storage/keep';
import { KEPT_MS, Ledger, type KeptTransfer, type TransferDatabase } from '../core/storage/ledger';
import { MemorySink } from '../core/storage/memory';
import { reconcile } from '../core/storage/reconcile';
import type { TabLocks } from '../core/storage/tab_lock';
import { zipOf } from '../core/storage/zip';
import { loadPieceHasher } from '../core/transfer';
import { startApp, type RunningApp } from './app';
import type { Environment } from './environment';
import { firstModel } from './initial';
import type { DeviceView, Notice, OfferView, SendItem, TransferView } from './model';
import { reactive } from './reactive.svelte';
import { MemoryBrowser } from './tabs';

const ORIGIN = 'http://192.168.1.2:53380/';
const MIB = 1024 * 1024;
const hashPiece = await loadPieceHasher();
const random = (length: number): Uint8Array => crypto.getRandomValues(new Uint8Array(length));

interface Page extends RunningApp {
  saved: Map<string, Blob>;
}

let clock: ManualClock;
let server: MemoryServer;
let network: MemoryNetwork;

beforeEach(() => {
  clock = new ManualClock();
  server = new MemoryServer();
  network = new MemoryNetwork();
});

interface PageOptions {
  invitation?: string;
  limitBytes?: number;
  identity?: Identity;
  /** What an earlier visit left. */
  sink?: MemorySink;
  ledger?: Ledger;
}

function page(name: string, options: PageOptions = {}): Page {
  const saved = new Map<string, Blob>();
  const sink = options.sink ?? new MemorySink(options.limitBytes ?? 64 * 1024 * 1024);
  const ledger = options.ledger ?? Ledger.inMemory();
  const model = reactive(firstModel('phone', { kind: 'lan', canCopy: true, canShare: false }));
  const environment: Environment = {
    origin: ORIGIN,
    platform: 'phone',
    name: { text: name, chosen: true },
    identity: options.identity ?? Identity.generate(random),
    clock,
    wallClock: () => clock.now(),
    random,
    openSocket: server.open,
    openLink: network.openLink,
    makeExchange: (events) => new BrowserExchange({ clock, random, hashPiece, sink, ledger, events, small: true }),
    keep: new MemoryKeep(),
    known: null,
    tabs: new MemoryBrowser().open().tabs,
    sink,
    ledger,
    hashPiece,
    pickPlace: null,
    receiveLimitBytes: 64 * 1024 * 1024,
    download: () => undefined,
    save: async (name, entries) => {
      const [only] = entries;
      saved.set(name, entries.length === 1 && only !== undefined && only.content !== null ? only.content : await zipOf(entries));
    },
  };
  const app = startApp(environment, model);
  if (options.invitation !== undefined) app.handleInvitation(options.invitation);
  return Object.assign(app, { saved });
}

/** Lets time pass, a little at a time, until something is true. */
async function until<Value>(what: string, look: () => Value | null | undefined | false): Promise<Value> {
  for (let turn = 0; turn < 3_000; turn += 1) {
    const value = look();
    if (value !== null && value !== undefined && value !== false) return value;
    await new Promise((resolve) => setTimeout(resolve));
    clock.advance(10);
  }
  throw new Error(`never happened: ${what}`);
}

/** Lets so much time pass, with turns enough for both sides to hear each other's pings. */
async function pass(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 100) {
    await new Promise((resolve) => setTimeout(resolve));
    clock.advance(100);
  }
}

const device = (app: Page, name: string): DeviceView | undefined => app.model.devices.find((one) => one.name === name);
const connected = (app: Page, name: string): DeviceView | undefined =>
  app.model.devices.find((one) => one.name === name && one.presence === 'connected');
const notices = (app: Page): Notice['kind'][] => app.model.toasts.map(({ notice }) => notice.kind);

function file(path: string, content: string | Uint8Array<ArrayBuffer>): SendItem {
  return { kind: 'file', path, file: new File([content], path.split('/').at(-1) ?? path) };
}

/** A page and another one that came by its link. */
async function linked(options: { limitBytes?: number } = {}): Promise<{ shower: Page; opener: Page; toOpener: string; toShower: string }> {
  const shower = page('Amber Heron', options);
  shower.actions.makeInvite();
  const invitation = (await until('a link', () => shower.model.invite?.link)) ?? '';
  const opener = page('Violet Otter', { ...options, invitation });
  opener.actions.openInvitation();
  const toOpener = (await until('connected', () => connected(shower, 'Violet Otter'))).id;
  const toShower = (await until('connected', () => connected(opener, 'Amber Heron'))).id;
  return { shower, opener, toOpener, toShower };
}

async function offered(app: Page): Promise<OfferView> {
  return until('an offer', () => app.model.offers.find(({ space }) => space.state !== 'checking'));
}

async function ended(app: Page): Promise<TransferView> {
  return until('an end', () => app.model.transfers.find(({ endedAtMs }) => endedAtMs !== null));
}

/** The database of one browser, over any number of visits. */
class Database implements TransferDatabase {
  readonly rows = new Map<string, { kept: KeptTransfer; journal: Uint8Array[] }>();

  all(): Promise<{ kept: KeptTransfer; journal: Uint8Array[] }[]> {
    return Promise.resolve([...this.rows.values()].map(({ kept, journal }) => ({ kept, journal: [...journal] })));
  }

  put(kept: KeptTransfer): Promise<void> {
    this.rows.set(kept.id, { kept, journal: this.rows.get(kept.id)?.journal ?? [] });
    return Promise.resolve();
  }

  append(transfer: string, bytes: Uint8Array): Promise<void> {
    this.rows.get(transfer)?.journal.push(bytes);
    return Promise.resolve();
  }

  drop(transfer: string): Promise<void> {
    this.rows.delete(transfer);
    return Promise.resolve();
  }

  dropJournal(transfer: string): Promise<void> {
    this.rows.get(transfer)?.journal.splice(0);
    return Promise.resolve();
  }
}

const noOtherTab: TabLocks = {
  claim: () => Promise.resolve(true),
  release: () => undefined,
  held: () => Promise.resolve(new Set()),
};

function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, Math.min(at + 65_536, length)));
  return bytes;
}

/** Two pages with the link of the first; the second answers it. */
async function meetAgain(shower: Page, opener: Page): Promise<void> {
  shower.actions.makeInvite();
  const invitation = (await until('a link', () => shower.model.invite?.link)) ?? '';
  opener.handleInvitation(invitation);
  opener.actions.openInvitation();
  await until('connected', () => shower.model.devices.some(({ presence }) => presence === 'connected'));
}

describe('a page that is loaded anew', () => {
  const identity = Identity.generate(random);
  let database: Database;
  let sink: MemorySink;

  /** One visit of the same browser. */
  const visit = async (afterMs = 0): Promise<Page> => {
    const ledger = await Ledger.open(database, noOtherTab);
    await reconcile(ledger, sink, clock.now() + afterMs);
    return page('Amber Heron', { identity, sink, ledger });
  };

  beforeEach(() => {
    database = new Database();
    sink = new MemorySink(64 * MIB);
  });

  test('goes on receiving where it was, and gets nothing twice that was kept', async () => {
    const first = await visit();
    const sender = page('Violet Otter');
    await meetAgain(first, sender);
    const content = randomBytes(16 * MIB);
    const to = (await until('connected', () => connected(sender, 'Amber Heron'))).id;
    sender.actions.sendFiles(to, [file('film.bin', content)]);
    first.actions.acceptOffer((await offered(first)).id);
    await until('half of it', () => (first.model.transfers[0]?.doneBytes ?? 0) > 8 * MIB);
    first.handleLeave();

    const next = await visit();
    expect(next.model.transfers[0]).toMatchObject({ title: 'film.bin', state: { kind: 'kept', needs: 'device' } });
    const kept = next.model.transfers[0]?.doneBytes ?? 0;
    expect(kept).toBeGreaterThan(0);
    await meetAgain(next, sender);
    const done = await ended(next);
    expect(done.state).toEqual({ kind: 'done' });
    next.actions.saveAll(done.id);
    const saved = await until('saved', () => next.saved.get('film.bin'));
    expect(hashPiece(new Uint8Array(await saved.arrayBuffer()))).toEqual(hashPiece(content));
    expect((await ended(sender)).state).toEqual({ kind: 'done' });
  });

  test('goes on sending when the same file is picked again, and is told of another one', async () => {
    const first = await visit();
    const receiver = page('Violet Otter');
    await meetAgain(first, receiver);
    const content = randomBytes(16 * MIB);
    const picked = (bytes: Uint8Array<ArrayBuffer>): SendItem => ({
      kind: 'file',
      path: 'film.bin',
      file: new File([bytes], 'film.bin', { lastModified: 1_700_000_000_000 }),
    });
    const to = (await until('connected', () => connected(first, 'Violet Otter'))).id;
    first.actions.sendFiles(to, [picked(content)]);
    receiver.actions.acceptOffer((await offered(receiver)).id);
    await until('some of it', () => (receiver.model.transfers[0]?.doneBytes ?? 0) > 6 * MIB);
    await until('its ends are known', () => database.rows.values().next().value?.kept.sources[0]?.last);
    first.handleLeave();

    const next = await visit();
    const { id } = next.model.transfers[0] ?? { id: '' };
    expect(next.model.transfers[0]?.state).toEqual({ kind: 'kept', needs: 'files' });
    const changed = content.slice();
    changed[0] = (changed[0] ?? 0) ^ 1;
    next.actions.pickAgain(id, [picked(changed)]);
    await until('told', () => next.model.toasts.some(({ notice }) => notice.kind === 'other_file' && notice.why === 'content'));
    next.actions.pickAgain(id, [picked(content.slice(1))]);
    await until('told', () => next.model.toasts.some(({ notice }) => notice.kind === 'other_file' && notice.why === 'size'));
    next.actions.pickAgain(id, [picked(content)]);
    await until('the files are there', () => next.model.transfers[0]?.state.kind === 'kept' && next.model.transfers[0].state.needs === 'device');
    await meetAgain(next, receiver);
    expect((await ended(next)).state).toEqual({ kind: 'done' });
    receiver.actions.saveAll((await ended(receiver)).id);
    const saved = await until('saved', () => receiver.saved.get('film.bin'));
    expect(hashPiece(new Uint8Array(await saved.arrayBuffer()))).toEqual(hashPiece(content));
  });

  test('still has what was received, until it is removed or 7 days are over', async () => {
    const first = await visit();
    const sender = page('Violet Otter');
    await meetAgain(first, sender);
    const to = (await until('connected', () => connected(sender, 'Amber Heron'))).id;
    sender.actions.sendFiles(to, [file('a.txt', 'hello')]);
    first.actions.acceptOffer((await offered(first)).id);
    await ended(first);
    const next = await visit();
    expect(next.model.transfers[0]).toMatchObject({ title: 'a.txt', state: { kind: 'done' }, canSave: true });
    expect((await visit(KEPT_MS)).model.transfers).toEqual([]);
    expect(await sink.transfers()).toEqual([]);
  });

  test('what is discarded is gone at the next visit', async () => {
    const first = await visit();
    const sender = page('Violet Otter');
    await meetAgain(first, sender);
    const to = (await until('connected', () => connected(sender, 'Amber Heron'))).id;
    sender.actions.sendFiles(to, [file('big.bin', randomBytes(12 * MIB))]);
    first.actions.acceptOffer((await offered(first)).id);
    await until('bytes', () => (first.model.transfers[0]?.doneBytes ?? 0) > 4 * MIB);
    first.handleLeave();
    const next = await visit();
    next.actions.cancel(next.model.transfers[0]?.id ?? '');
    expect((await visit()).model.transfers).toEqual([]);
    expect(await sink.transfers()).toEqual([]);
  });
});

describe('meeting', () => {
  test('a page that was opened by a link does nothing until the tap', async () => {
    const shower = page('Amber Heron');
    shower.actions.makeInvite();
    const invitation = await until('a link', () => shower.model.invite?.link);
    const opener = page('Violet Otter', { invitation });
    await until('online', () => opener.model.server.state === 'online');
    await pass(5_000);
    expect(opener.model.invitation).toEqual({ host: '192.168.1.2:53380', state: 'waiting_for_tap', failure: null });
    expect([shower.model.devices, opener.model.devices]).toEqual([[], []]);
    expect(shower.model.invite?.state).toBe('ready');
  });

  test('by link: both see each other as scanned, and the link is used up', async () => {
    const { shower, opener } = await linked();
    expect(device(shower, 'Violet Otter')?.trust).toBe('scanned');
    expect(device(opener, 'Amber Heron')).toMatchObject({ trust: 'scanned', presence: 'connected' });
    expect(opener.model.invitation).toBeNull();
    expect(shower.model.invite?.state).toBe('used');
    await until('a route', () => device(shower, 'Violet Otter')?.route?.kind === 'lan');
  });

  test('a link that was used opens nothing more', async () => {
    const shower = page('Amber Heron');
    shower.actions.makeInvite();
    const invitation = await until('a link', () => shower.model.invite?.link);
    const first = page('Violet Otter', { invitation });
    first.actions.openInvitation();
    await until('connected', () => connected(first, 'Amber Heron'));
    first.actions.disconnect(connected(first, 'Amber Heron')?.id ?? '');
    await until('gone', () => device(shower, 'Violet Otter')?.presence === 'gone');
    const late = page('Silver Lynx', { invitation });
    late.actions.openInvitation();
    await until('refused', () => late.model.invitation?.state === 'failed');
    expect(late.model.invitation?.failure).toBe('code_gone');
    expect(late.model.devices).toEqual([]);
  });

  test('by code: typed with spaces and capitals', async () => {
    const shower = page('Amber Heron');
    const typer = page('Violet Otter');
    shower.actions.makeInvite();
    const code = await until('a code', () => shower.model.invite?.code);
    typer.actions.enterCode(code.toUpperCase().replaceAll('-', ' '));
    await until('connected', () => connected(shower, 'Violet Otter'));
    expect((await until('connected', () => connected(typer, 'Amber Heron'))).trust).toBe('code');
  });

  test('a wrong code is burnt and replaced, and both are told', async () => {
    const shower = page('Amber Heron');
    const typer = page('Violet Otter');
    shower.actions.makeInvite();
    const code = await until('a code', () => shower.model.invite?.code);
    typer.actions.enterCode(`${code.split('-')[0] ?? ''}-zebra-zebra`);
    await until('told', () => typer.model.toasts.find(({ notice }) => notice.kind === 'meeting_failed'));
    expect(typer.model.toasts[0]?.notice).toMatchObject({ failure: 'wrong_code' });
    const next = await until('a new code', () => shower.model.invite?.code ?? null);
    expect(next).not.toBe(code);
    expect([shower.model.devices, typer.model.devices]).toEqual([[], []]);
  });

  test('typing errors are told before anything is sent', () => {
    const typer = page('Violet Otter');
    typer.actions.enterCode('4821-pinao-tiger');
    typer.actions.enterCode('https://elsewhere.example/#1.AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAA');
    expect(typer.model.toasts.map(({ notice }) => notice)).toEqual([
      { kind: 'meeting_failed', name: null, failure: 'not_a_link' },
      { kind: 'other_server', host: 'elsewhere.example' },
    ]);
    expect(typer.model.devices, 'nothing was begun there').toEqual([]);
  });

  async function comparing(): Promise<{ caller: Page; called: Page; right: number; callerId: string; calledId: string }> {
    const called = page('Amber Heron');
    const caller = page('Violet Otter');
    called.actions.setVisible(600);
    const calledId = (await until('listed', () => device(caller, 'Amber Heron'))).id;
    caller.actions.sendText(calledId, 'hello');
    const picking = await until('rows', () => called.model.devices.find(({ meeting }) => meeting?.step === 'pick_row'));
    const showing = await until('a row', () => caller.model.devices.find(({ meeting }) => meeting?.step === 'confirm'));
    expect(picking.name).toBe('Violet Otter');
    if (picking.meeting?.step !== 'pick_row' || showing.meeting?.step !== 'confirm') throw new Error('nothing to compare');
    const shown = JSON.stringify(showing.meeting.row);
    const right = picking.meeting.rows.findIndex((row) => JSON.stringify(row) === shown);
    return { caller, called, right, callerId: picking.id, calledId };
  }

  test('nearby: pictures are compared, and what was to be sent waits for that', async () => {
    const { caller, called, right, callerId, calledId } = await comparing();
    expect(device(caller, 'Amber Heron')?.queued).toBe(1);
    called.actions.pickRow(callerId, right);
    caller.actions.confirmPictures(calledId, true);
    await until('the text', () => called.model.texts.find(({ text }) => text === 'hello'));
    expect(device(called, 'Violet Otter')?.trust).toBe('compared');
    await until('delivered', () => caller.model.texts[0]?.state === 'delivered');
  });

  test('nearby: a wrong row ends it, and nothing was sent', async () => {
    const { caller, called, right, callerId } = await comparing();
    called.actions.pickRow(callerId, (right + 1) % 3);
    await until('told', () => device(caller, 'Amber Heron')?.meeting?.step === 'failed');
    expect(device(caller, 'Amber Heron')?.meeting).toEqual({ step: 'failed', failure: 'pictures_differ' });
    expect([called.model.texts, caller.model.texts]).toEqual([[], []]);
  });

  test('nearby: two pages that dial each other meet once, and both send what waited', async () => {
    const heron = page('Amber Heron');
    const otter = page('Violet Otter');
    heron.actions.setVisible(600);
    otter.actions.setVisible(600);
    const toOtter = (await until('listed', () => device(heron, 'Violet Otter'))).id;
    const toHeron = (await until('listed', () => device(otter, 'Amber Heron'))).id;
    heron.actions.sendText(toOtter, 'from the heron');
    otter.actions.sendText(toHeron, 'from the otter');
    const called = (app: Page): DeviceView | undefined => app.model.devices.find(({ meeting }) => meeting?.step === 'pick_row');
    await until('rung', () => called(heron) !== undefined && called(otter) !== undefined);
    // Only the call of the otter is answered.
    const ring = await until('rows', () => called(heron));
    const call = await until('a row', () => otter.model.devices.find(({ meeting }) => meeting?.step === 'confirm'));
    if (ring.meeting?.step !== 'pick_row' || call.meeting?.step !== 'confirm') throw new Error('nothing to compare');
    const shown = JSON.stringify(call.meeting.row);
    heron.actions.pickRow(ring.id, ring.meeting.rows.findIndex((row) => JSON.stringify(row) === shown));
    otter.actions.confirmPictures(call.id, true);
    await until('both texts', () => [heron, otter].every(({ model }) => model.texts.length === 2 && model.texts.every(({ state }) => state === 'delivered')));
    await pass(5_000);
    for (const app of [heron, otter]) {
      expect(app.model.devices.map(({ presence }) => presence)).toEqual(['connected']);
      expect(notices(app)).not.toContain('meeting_failed');
    }
  });

  test('a page that is opened again takes the place of the one before', async () => {
    const identity = Identity.generate(random);
    const shower = page('Amber Heron');
    for (let visit = 0; visit < 2; visit += 1) {
      shower.actions.makeInvite();
      const invitation = await until('a link', () => shower.model.invite?.link);
      const opener = page('Violet Otter', { invitation, identity });
      opener.actions.openInvitation();
      await until('connected', () => connected(opener, 'Amber Heron'));
      clock.advance(6_000);
    }
    await until('connected', () => connected(shower, 'Violet Otter'));
    expect(shower.model.devices.map(({ name }) => name)).toEqual(['Violet Otter']);
  });

  test('somebody in the middle of the link is shown, and nothing moves', async () => {
    network.intercepted = true;
    const shower = page('Amber Heron');
    shower.actions.makeInvite();
    const invitation = await until('a link', () => shower.model.invite?.link);
    const opener = page('Violet Otter', { invitation });
    opener.actions.openInvitation();
    const row = await until('told', () => device(opener, 'Amber Heron')?.meeting);
    expect(row).toEqual({ step: 'failed', failure: 'bind_failed' });
  });
});

test('a device that leaves after it was met and before there is a link is not waited for in silence', async () => {
  network.blackHole = true;
  const shower = page('Amber Heron');
  shower.actions.makeInvite();
  const invitation = await until('a link', () => shower.model.invite?.link);
  const opener = page('Violet Otter', { invitation });
  opener.actions.openInvitation();
  await until('met', () => device(opener, 'Amber Heron')?.presence === 'connecting');
  server.takeOut();
  const row = await until('told', () => device(opener, 'Amber Heron')?.meeting);
  expect(row).toEqual({ step: 'failed', failure: 'ended_there' });
  expect(notices(opener)).toContain('meeting_failed');
});

describe('sending', () => {

  test('files, an empty file and an empty folder arrive whole, and can be saved one by one', async () => {
    const { shower, opener, toShower } = await linked();
    const big = Uint8Array.from({ length: 3 * MIB + 17 }, (_, at) => (at * 31) & 0xff);
    opener.actions.sendFiles(toShower, [
      file('trip/clip.bin', big),
      file('trip/notes — ünïcode.txt', 'hello'),
      file('trip/empty.txt', ''),
      { kind: 'folder', path: 'trip/later' },
    ]);
    const offer = await offered(shower);
    expect(offer).toMatchObject({ deviceName: 'Violet Otter', trust: 'scanned', fileCount: 3, entryCount: 4, totalBytes: big.length + 5 });
    expect(shower.model.transfers).toEqual([]);
    shower.actions.acceptOffer(offer.id);
    const row = await ended(shower);
    expect(row).toMatchObject({ state: { kind: 'done' }, doneFiles: 3, doneBytes: big.length + 5, canSave: true, direction: 'receive' });
    expect(await ended(opener)).toMatchObject({ state: { kind: 'done' }, doneFiles: 3, direction: 'send', canSave: false });
    for (const { id } of row.files) shower.actions.saveFile(row.id, id);
    await until('saved', () => shower.saved.size === 3);
    const clip = new Uint8Array((await shower.saved.get('clip.bin')?.arrayBuffer()) ?? new ArrayBuffer());
    expect(hashPiece(clip)).toEqual(hashPiece(big));
    expect(await shower.saved.get('notes — ünïcode.txt')?.text()).toBe('hello');
    expect(shower.saved.get('empty.txt')?.size).toBe(0);
    shower.actions.saveAll(row.id);
    await until('a zip', () => shower.saved.get('trip.zip'));
  });

  test('text arrives once, and the sender learns that it did', async () => {
    const { shower, opener, toOpener } = await linked();
    shower.actions.sendText(toOpener, 'see you at 8');
    const text = await until('the text', () => opener.model.texts[0]);
    expect(text).toMatchObject({ text: 'see you at 8', deviceName: 'Amber Heron', direction: 'receive' });
    await until('delivered', () => shower.model.texts[0]?.state === 'delivered');
    expect(opener.model.texts).toHaveLength(1);
  });

  test('what is declined is told and leaves nothing', async () => {
    const { shower, opener, toShower } = await linked();
    opener.actions.sendFiles(toShower, [file('a.txt', 'a')]);
    shower.actions.declineOffer((await offered(shower)).id);
    expect((await ended(opener)).state).toEqual({ kind: 'declined', reason: 'person' });
    expect([shower.model.offers, shower.model.transfers]).toEqual([[], []]);
  });

  test('an offer that nobody answers is declined after a minute, unless it is given more time', async () => {
    const { shower, opener, toShower } = await linked();
    opener.actions.sendFiles(toShower, [file('a.txt', 'a')]);
    const { id } = await offered(shower);
    await pass(40_000);
    shower.actions.extendOffer(id);
    await pass(40_000);
    expect(shower.model.offers).toHaveLength(1);
    await pass(30_000);
    expect((await ended(opener)).state).toEqual({ kind: 'declined', reason: 'no_answer' });
  });

  test('what does not fit cannot be accepted', async () => {
    const { shower, opener, toShower } = await linked({ limitBytes: MIB });
    opener.actions.sendFiles(toShower, [file('big.bin', new Uint8Array(2 * MIB))]);
    const offer = await offered(shower);
    expect(offer.space).toEqual({ state: 'too_large', limitBytes: MIB, where: 'memory' });
    shower.actions.acceptOffer(offer.id);
    expect([shower.model.offers.length, shower.model.transfers.length]).toEqual([1, 0]);
  });

  test.each(['sender', 'receiver'] as const)('the %s stops it for both', async (who) => {
    const { shower, opener, toShower } = await linked();
    opener.actions.sendFiles(toShower, [file('big.bin', new Uint8Array(12 * MIB))]);
    const { id } = await offered(shower);
    shower.actions.acceptOffer(id);
    await until('bytes', () => (shower.model.transfers[0]?.doneBytes ?? 0) > 0);
    (who === 'sender' ? opener : shower).actions.cancel(id);
    const by = { sender: ['us', 'them'], receiver: ['them', 'us'] }[who];
    expect([(await ended(opener)).state, (await ended(shower)).state]).toEqual(by.map((one) => ({ kind: 'cancelled', by: one })));
    expect(shower.model.transfers[0]?.canSave).toBe(false);
    expect(notices(opener)).toContain('transfer_cancelled');
  });

  test('a paused transfer stands still until it is resumed', async () => {
    const { shower, opener, toShower } = await linked();
    opener.actions.sendFiles(toShower, [file('big.bin', new Uint8Array(12 * MIB))]);
    const { id } = await offered(shower);
    shower.actions.acceptOffer(id);
    await until('bytes', () => (shower.model.transfers[0]?.doneBytes ?? 0) > 0);
    shower.actions.pause(id);
    await until('paused', () => opener.model.transfers[0]?.state.kind === 'paused');
    expect(opener.model.transfers[0]?.state).toEqual({ kind: 'paused', by: 'them', reason: 'person' });
    shower.actions.resume(id);
    expect((await ended(opener)).state).toEqual({ kind: 'done' });
  });

  test('a broken link interrupts and the next one carries on', async () => {
    const { shower, opener, toShower } = await linked();
    opener.actions.sendFiles(toShower, [file('big.bin', new Uint8Array(12 * MIB).fill(7))]);
    const { id } = await offered(shower);
    shower.actions.acceptOffer(id);
    await until('bytes', () => (shower.model.transfers[0]?.doneBytes ?? 0) > 2 * MIB);
    network.last('offerer').break();
    expect(shower.model.transfers[0]?.state.kind).toBe('interrupted');
    expect((await ended(shower)).state).toEqual({ kind: 'done' });
    expect(network.links.length).toBeGreaterThan(2);
  });

  test('the server may go away while files move', async () => {
    const { shower, opener, toShower } = await linked();
    opener.actions.sendFiles(toShower, [file('big.bin', new Uint8Array(6 * MIB))]);
    const { id } = await offered(shower);
    shower.actions.acceptOffer(id);
    server.down = true;
    server.dropAll();
    expect((await ended(shower)).state).toEqual({ kind: 'done' });
    expect(shower.model.server.state).toBe('reconnecting');
    server.down = false;
    await until('back', () => shower.model.server.state === 'online');
  });

  test('what a device that leaves had begun is put aside and kept', async () => {
    const { shower, opener, toShower } = await linked();
    opener.actions.sendFiles(toShower, [file('big.bin', new Uint8Array(12 * MIB))]);
    shower.actions.acceptOffer((await offered(shower)).id);
    await until('bytes', () => (shower.model.transfers[0]?.doneBytes ?? 0) > 0);
    opener.handleLeave();
    await until('put aside', () => shower.model.transfers[0]?.state.kind === 'kept');
    expect(shower.model.transfers[0]).toMatchObject({ endedAtMs: null, state: { needs: 'device' } });
    expect(device(shower, 'Violet Otter')?.presence).toBe('gone');
  });

  test('an offer that nobody answered goes with the device that made it', async () => {
    const { shower, opener, toShower } = await linked();
    opener.actions.sendFiles(toShower, [file('a.txt', 'a')]);
    await offered(shower);
    opener.handleLeave();
    await until('gone', () => shower.model.offers.length === 0);
    expect(shower.model.transfers).toEqual([]);
  });

  test('nothing at all is not sent, and too long a text is refused with its limit', async () => {
    const { shower, toOpener } = await linked();
    shower.actions.sendFiles(toOpener, []);
    shower.actions.sendText(toOpener, 'x'.repeat(49_153));
    expect(notices(shower).slice(-2)).toEqual(['nothing_to_send', 'text_too_long']);
    expect([shower.model.transfers, shower.model.texts]).toEqual([[], []]);
  });
});
