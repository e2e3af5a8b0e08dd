/** Pages that meet again without anybody's doing: remembered devices, sessions that come back, tabs of one browser. */
import { beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../core/clock';
import { Identity } from '../core/pairing';
import { MemoryNetwork } from '../core/peer/memory_link';
import { BrowserExchange } from '../core/session/browser_exchange';
import { RESUME_MS } from '../core/session/keeper';
import { MemoryServer } from '../core/signaling/memory_server';
import { MemoryKeep } from '../core/storage/keep';
import { MemoryDevices } from '../core/storage/known';
import { Ledger } from '../core/storage/ledger';
import { MemorySink } from '../core/storage/memory';
import { loadPieceHasher } from '../core/transfer';
import { startApp, type RunningApp } from './app';
import { firstModel } from './initial';
import type { DeviceView, MeetingView, Notice } from './model';
import { reactive } from './reactive.svelte';
import { MemoryBrowser } from './tabs';

const hashPiece = await loadPieceHasher();
const random = (length: number): Uint8Array => crypto.getRandomValues(new Uint8Array(length));

/** Keeps for as long as the test runs, and says so. */
class LastingDevices extends MemoryDevices {
  override readonly durable = true;
}

/** A browser of one person: its key, what it stores, and its tabs. */
class Browser {
  identity = Identity.generate(random);
  known = new LastingDevices();
  readonly #tabs = new MemoryBrowser();

  constructor(
    readonly name: string,
    readonly secure = true,
  ) {}

  open(): Page {
    const sink = new MemorySink(64 * 1024 * 1024);
    const model = reactive(firstModel('phone', { kind: this.secure ? 'secure' : 'lan', canCopy: true, canShare: false }));
    const ledger = Ledger.inMemory();
    const { tabs, close } = this.#tabs.open();
    const closers: (() => void)[] = [];
    const app = startApp(
      {
        origin: 'https://relay.example/',
        platform: 'phone',
        name: { text: this.name, chosen: true },
        identity: this.identity,
        clock,
        wallClock: () => clock.now(),
        random,
        openSocket: (events) => {
          const socket = server.open(events);
          closers.push(() => {
            socket.close();
          });
          return socket;
        },
        openLink: network.openLink,
        makeExchange: (events) => new BrowserExchange({ clock, random, hashPiece, sink, ledger, events, small: true }),
        keep: new MemoryKeep(),
        known: this.secure ? this.known : null,
        tabs,
        sink,
        ledger,
        hashPiece,
        pickPlace: null,
        receiveLimitBytes: null,
        download: () => undefined,
        save: () => Promise.resolve(),
      },
      model,
    );
    return Object.assign(app, {
      close: async () => {
        app.handleLeave();
        await settle();
        for (const end of closers) end();
        close();
      },
    });
  }
}

interface Page extends RunningApp {
  /** As a browser closes a page or loads it anew. */
  close: () => Promise<void>;
}

let clock: ManualClock;
let server: MemoryServer;
let network: MemoryNetwork;

beforeEach(() => {
  clock = new ManualClock();
  server = new MemoryServer();
  network = new MemoryNetwork();
});

async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setTimeout(resolve));
}

async function until<Value>(what: string, look: () => Value | null | undefined | false): Promise<Value> {
  for (let turn = 0; turn < 1_500; turn += 1) {
    const value = look();
    if (value !== null && value !== undefined && value !== false) return value;
    await new Promise((resolve) => setTimeout(resolve));
    clock.advance(25);
  }
  throw new Error(`never happened: ${what}`);
}

async function pass(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 100) {
    await new Promise((resolve) => setTimeout(resolve));
    clock.advance(100);
  }
}

const device = (app: RunningApp, name: string): DeviceView | undefined => app.model.devices.find((one) => one.name === name);
const connected = (app: RunningApp, name: string): DeviceView | undefined =>
  app.model.devices.find((one) => one.name === name && one.presence === 'connected');
const notices = (app: RunningApp): Notice['kind'][] => app.model.toasts.map(({ notice }) => notice.kind);
const id = (app: RunningApp, name: string): string => device(app, name)?.id ?? '';
const failure = (meeting: MeetingView | null | undefined): string | null => (meeting?.step === 'failed' ? meeting.failure : null);

/** Two pages that met by link. */
async function linked(one: Browser, other: Browser): Promise<[Page, Page]> {
  const [shower, opener] = [one.open(), other.open()];
  await link(shower, opener, one.name, other.name);
  return [shower, opener];
}

async function link(shower: Page, opener: Page, showerName: string, openerName: string): Promise<void> {
  await until('online', () => shower.model.server.state === 'online');
  shower.actions.makeInvite();
  opener.handleInvitation((await until('a link', () => shower.model.invite?.state === 'ready' && shower.model.invite.link)) || '');
  opener.actions.openInvitation();
  await until('connected', () => connected(shower, openerName));
  await until('connected', () => connected(opener, showerName));
}

/** Both people tick "remember". */
async function remembering(one: Browser, other: Browser): Promise<[Page, Page]> {
  const [shower, opener] = await linked(one, other);
  shower.actions.remember(id(shower, other.name), true);
  opener.actions.remember(id(opener, one.name), true);
  await until('remembered', () => device(shower, other.name)?.remember === 'yes');
  await until('remembered', () => device(opener, one.name)?.remember === 'yes');
  return [shower, opener];
}

describe('remembering', () => {
  test('takes two: until the other person wants it too, nothing is stored', async () => {
    const [amber, violet] = [new Browser('Amber'), new Browser('Violet')];
    const [shower, opener] = await linked(amber, violet);
    expect(device(shower, 'Violet')?.remember).toBe('no');
    shower.actions.remember(id(shower, 'Violet'), true);
    await until('asked', () => device(opener, 'Amber')?.remember === 'asked');
    expect(device(shower, 'Violet')?.remember).toBe('wanted');
    expect([await amber.known.devices(), await violet.known.devices()]).toEqual([[], []]);
    opener.actions.remember(id(opener, 'Amber'), true);
    await until('remembered', () => device(shower, 'Violet')?.remember === 'yes');
    expect(notices(opener)).toContain('device_remembered');
    const [ofAmber] = await violet.known.devices();
    const [ofViolet] = await amber.known.devices();
    expect(ofAmber?.pinned.pairSecret).toEqual(ofViolet?.pinned.pairSecret);
    expect(ofAmber?.pinned.peerKey).toEqual(amber.identity.publicKey);
  });

  test('on the next visit both meet without a human, as remembered', async () => {
    const [amber, violet] = [new Browser('Amber'), new Browser('Violet')];
    const [shower, opener] = await remembering(amber, violet);
    await shower.close();
    await opener.close();
    await pass(RESUME_MS / 1_000);
    const [one, other] = [amber.open(), violet.open()];
    await until('together', () => connected(one, 'Violet'));
    await until('together', () => connected(other, 'Amber'));
    expect([device(one, 'Violet')?.trust, device(other, 'Amber')?.trust]).toEqual(['remembered', 'remembered']);
    one.actions.sendText(id(one, 'Violet'), 'still here');
    await until('the text', () => other.model.texts.find(({ text }) => text === 'still here'));
  });

  test('a page that is closed between the two ends of a handshake is waited for, and met when it is back', async () => {
    const [amber, violet] = [new Browser('Amber'), new Browser('Violet')];
    const [shower, opener] = await remembering(amber, violet);
    await shower.close();
    await until('offline', () => device(opener, 'Amber')?.presence === 'offline');
    // Message 3 of the remembered: whoever sends it has met, and who is closed before it comes has not.
    let lost = false;
    server.loses = (body) => (lost ||= body.startsWith('AQQT'));
    const one = amber.open();
    await until('met', () => device(one, 'Violet')?.presence === 'connecting');
    server.loses = () => false;
    await opener.close();
    expect(device(one, 'Violet')).toMatchObject({ presence: 'away', meeting: null });
    const other = violet.open();
    await until('together', () => connected(one, 'Violet'));
    await until('together', () => connected(other, 'Amber'));
  });

  test('who is remembered and not here is listed as such, with the time', async () => {
    const [amber, violet] = [new Browser('Amber'), new Browser('Violet')];
    const [shower, opener] = await remembering(amber, violet);
    await opener.close();
    await until('offline', () => device(shower, 'Violet')?.presence === 'offline');
    expect(device(shower, 'Violet')).toMatchObject({ remember: 'yes', policy: { kind: 'ask' } });
    expect(device(shower, 'Violet')?.lastSeenMs).toBeGreaterThan(0);
  });

  test('a page of plain http neither asks nor is asked', async () => {
    const [amber, violet] = [new Browser('Amber'), new Browser('Violet', false)];
    const [shower, opener] = await linked(amber, violet);
    expect([device(shower, 'Violet')?.remember, device(opener, 'Amber')?.remember]).toEqual(['not_there', 'not_here']);
    shower.actions.remember(id(shower, 'Violet'), true);
    opener.actions.remember(id(opener, 'Amber'), true);
    await pass(1_000);
    expect(await amber.known.devices()).toEqual([]);
    expect([device(shower, 'Violet')?.remember, device(opener, 'Amber')?.remember]).toEqual(['not_there', 'not_here']);
  });

  test('forgotten on one side is forgotten on both', async () => {
    const [amber, violet] = [new Browser('Amber'), new Browser('Violet')];
    const [shower, opener] = await remembering(amber, violet);
    shower.actions.forget(id(shower, 'Violet'));
    await until('forgotten there', () => device(opener, 'Amber')?.remember === 'no');
    expect([await amber.known.devices(), await violet.known.devices()]).toEqual([[], []]);
  });

  test('forgotten while the other was away, they meet no more', async () => {
    const [amber, violet] = [new Browser('Amber'), new Browser('Violet')];
    const [shower, opener] = await remembering(amber, violet);
    await opener.close();
    await until('offline', () => device(shower, 'Violet')?.presence === 'offline');
    shower.actions.forget(id(shower, 'Violet'));
    await pass(RESUME_MS / 1_000);
    // A day later the session is past, too.
    for (const kept of await violet.known.sessions(0)) await violet.known.dropSession(kept.peer);
    await shower.close();
    for (const kept of await amber.known.sessions(0)) await amber.known.dropSession(kept.peer);
    const [one, other] = [amber.open(), violet.open()];
    await pass(30_000);
    expect([connected(one, 'Violet'), connected(other, 'Amber')]).toEqual([undefined, undefined]);
  });

  test('a device that was remembered and is disconnected stays away until somebody taps it', async () => {
    const [amber, violet] = [new Browser('Amber'), new Browser('Violet')];
    const [shower, opener] = await remembering(amber, violet);
    shower.actions.disconnect(id(shower, 'Violet'));
    await until('offline', () => device(shower, 'Violet')?.presence === 'offline');
    await pass(10_000);
    expect(connected(opener, 'Amber')).toBeUndefined();
    shower.actions.connect(id(shower, 'Violet'));
    await until('together', () => connected(opener, 'Amber'));
  });
});

describe('policies', () => {
  async function sentWith(set: (page: Page) => void, bytes: number): Promise<[Page, Page]> {
    const [amber, violet] = [new Browser('Amber'), new Browser('Violet')];
    const [receiver, sender] = await remembering(amber, violet);
    set(receiver);
    sender.actions.sendFiles(id(sender, 'Amber'), [{ kind: 'file', path: 'a.bin', file: new File([new Uint8Array(bytes)], 'a.bin') }]);
    await until('an offer or a transfer', () => receiver.model.offers.some(({ byPolicy }) => !byPolicy) || receiver.model.transfers.length > 0);
    return [receiver, sender];
  }

  test('ask: a person answers', async () => {
    const [receiver] = await sentWith(() => undefined, 1_000);
    expect([receiver.model.offers.length, receiver.model.transfers.length]).toEqual([1, 0]);
  });

  test('accept: files come without a question', async () => {
    const [receiver] = await sentWith((page) => {
      page.actions.setPolicy(id(page, 'Violet'), { kind: 'accept' });
    }, 1_000);
    expect(receiver.model.offers).toEqual([]);
    await until('done', () => receiver.model.transfers[0]?.state.kind === 'done');
  });

  test('accept under a size: the limit itself is asked for, one byte less is not', async () => {
    const under = (page: Page): void => {
      page.actions.setPolicy(id(page, 'Violet'), { kind: 'accept_under', bytes: 1_000 });
    };
    const [asked] = await sentWith(under, 1_000);
    expect(asked.model.offers.length).toBe(1);
    const [taken] = await sentWith(under, 999);
    expect(taken.model.offers.length).toBe(0);
  });

  test('a policy is kept over a reload, and holds for whoever has the key, however it came', async () => {
    const [amber, violet] = [new Browser('Amber'), new Browser('Violet')];
    const [receiver, sender] = await remembering(amber, violet);
    receiver.actions.setPolicy(id(receiver, 'Violet'), { kind: 'accept' });
    await receiver.close();
    const again = amber.open();
    await until('together', () => connected(again, 'Violet'));
    await until('together', () => connected(sender, 'Amber'));
    sender.actions.sendFiles(id(sender, 'Amber'), [{ kind: 'file', path: 'a.txt', file: new File(['a'], 'a.txt') }]);
    await until('taken', () => again.model.transfers[0]?.state.kind === 'done');
  });
});

describe('a known name with another key', () => {
  async function impostor(): Promise<{ amber: Browser; shower: Page; stranger: Page }> {
    const amber = new Browser('Amber');
    const [shower, opener] = await remembering(amber, new Browser('Violet'));
    await opener.close();
    const stranger = new Browser('violet').open();
    shower.actions.makeInvite();
    stranger.handleInvitation((await until('a link', () => shower.model.invite?.state === 'ready' && shower.model.invite.link)) || '');
    stranger.actions.openInvitation();
    await until('stopped', () => shower.model.devices.some(({ meeting }) => failure(meeting) === 'key_changed'));
    return { amber, shower, stranger };
  }

  test('is stopped on the side that remembers, and nothing goes either way', async () => {
    const { shower, stranger } = await impostor();
    await pass(5_000);
    expect(shower.model.devices.filter(({ presence }) => presence === 'connected')).toEqual([]);
    expect(connected(stranger, 'Amber')).toBeUndefined();
    expect(device(shower, 'Violet')?.remember).toBe('yes');
    // The alarm is where the other key is known; there is nothing to be alarmed about at the new one.
    expect(stranger.model.devices.map(({ meeting }) => failure(meeting))).toEqual(['ended_there']);
  });

  test('stop: the one that is remembered stays remembered', async () => {
    const { amber, shower } = await impostor();
    shower.actions.disconnect(id(shower, 'violet'));
    expect(device(shower, 'violet')).toBeUndefined();
    expect((await amber.known.devices()).map(({ name }) => name)).toEqual(['Violet']);
  });

  test('forget and pair again: the old key is dropped and the new one may come', async () => {
    const { amber, shower, stranger } = await impostor();
    shower.actions.forgetKnownName(id(shower, 'violet'));
    await settle();
    expect(await amber.known.devices()).toEqual([]);
    await link(shower, stranger, 'Amber', 'violet');
  });
});

describe('a session that comes back', () => {
  test('after a reload of one page both meet again, with the trust that they had', async () => {
    const [amber, violet] = [new Browser('Amber'), new Browser('Violet')];
    const [shower, opener] = await linked(amber, violet);
    await opener.close();
    const again = violet.open();
    const reloadedMs = clock.now();
    await until('together', () => connected(again, 'Amber'));
    await until('together', () => connected(shower, 'Violet'));
    expect(clock.now() - reloadedMs).toBeLessThan(3_000);
    expect([device(again, 'Amber')?.trust, device(shower, 'Violet')?.trust]).toEqual(['scanned', 'scanned']);
    shower.actions.sendText(id(shower, 'Violet'), 'and on');
    await until('the text', () => again.model.texts.find(({ text }) => text === 'and on'));
  });

  test('after both pages were closed for hours', async () => {
    const [amber, violet] = [new Browser('Amber'), new Browser('Violet')];
    const [shower, opener] = await linked(amber, violet);
    await shower.close();
    await opener.close();
    clock.advance(RESUME_MS - 120_000);
    server.timeMs += RESUME_MS - 120_000;
    const [one, other] = [amber.open(), violet.open()];
    await until('together', () => connected(one, 'Violet'));
    await until('together', () => connected(other, 'Amber'));
  });

  test('not after a day', async () => {
    const [amber, violet] = [new Browser('Amber'), new Browser('Violet')];
    const [shower, opener] = await linked(amber, violet);
    await shower.close();
    await opener.close();
    clock.advance(RESUME_MS);
    server.timeMs += RESUME_MS;
    const [one, other] = [amber.open(), violet.open()];
    await pass(20_000);
    expect([one.model.devices, other.model.devices]).toEqual([[], []]);
  });

  test('not after somebody disconnected', async () => {
    const [amber, violet] = [new Browser('Amber'), new Browser('Violet')];
    const [shower, opener] = await linked(amber, violet);
    shower.actions.disconnect(id(shower, 'Violet'));
    await until('gone', () => device(opener, 'Amber')?.presence === 'gone');
    await opener.close();
    const again = violet.open();
    await pass(20_000);
    expect([connected(shower, 'Violet'), connected(again, 'Amber')]).toEqual([undefined, undefined]);
  });

  test('on plain http while both pages stay open, when the server has forgotten their places', async () => {
    const [shower, opener] = await linked(new Browser('Amber', false), new Browser('Violet', false));
    network.blackHole = true;
    server.restart();
    await until('away', () => device(shower, 'Violet')?.presence === 'away');
    network.blackHole = false;
    await until('together', () => connected(shower, 'Violet'));
    await until('together', () => connected(opener, 'Amber'));
  });

  test('a page that left is out of sight after a while, if nothing waits for it', async () => {
    const [shower, opener] = await linked(new Browser('Amber'), new Browser('Violet'));
    await opener.close();
    await until('away', () => device(shower, 'Violet')?.presence === 'away');
    await pass(31_000);
    expect(device(shower, 'Violet')).toBeUndefined();
  });

  test('a page that left stays in sight while a transfer waits for it', async () => {
    const [shower, opener] = await linked(new Browser('Amber'), new Browser('Violet'));
    await opener.close();
    shower.actions.sendFiles(id(shower, 'Violet'), [{ kind: 'file', path: 'a.txt', file: new File(['a'], 'a.txt') }]);
    await pass(31_000);
    expect(device(shower, 'Violet')?.presence).toBe('away');
  });
});

describe('two tabs of one browser', () => {
  test('do not see each other, though both are visible', async () => {
    const amber = new Browser('Amber');
    const [first, second, stranger] = [amber.open(), amber.open(), new Browser('Violet').open()];
    first.actions.setVisible(600);
    second.actions.setVisible(600);
    await until('seen', () => stranger.model.devices.length === 2);
    await pass(1_000);
    expect([first.model.devices, second.model.devices]).toEqual([[], []]);
  });

  test('one opens the link of the other: it says that both are this device', async () => {
    const amber = new Browser('Amber');
    const [first, second] = [amber.open(), amber.open()];
    await until('online', () => first.model.server.state === 'online');
    first.actions.makeInvite();
    second.handleInvitation((await until('a link', () => first.model.invite?.link)) || '');
    second.actions.openInvitation();
    await until('refused', () => second.model.invitation?.state === 'failed');
    expect(second.model.invitation?.failure).toBe('same_device');
    expect(first.model.invite?.state).toBe('ready');
  });

  test('only one of them answers for remembered devices; the other takes over when it closes', async () => {
    const [amber, violet] = [new Browser('Amber'), new Browser('Violet')];
    const [shower, opener] = await remembering(amber, violet);
    await opener.close();
    const [first, second] = [violet.open(), violet.open()];
    await until('together', () => connected(first, 'Amber'));
    await pass(5_000);
    expect(device(second, 'Amber')).toMatchObject({ presence: 'offline', inOtherTab: true });
    expect(shower.model.devices.filter(({ presence }) => presence === 'connected')).toHaveLength(1);
    await first.close();
    await until('taken over', () => connected(second, 'Amber'));
    await until('together', () => connected(shower, 'Violet'));
  });

  test('what one forgets, the other forgets', async () => {
    const [amber, violet] = [new Browser('Amber'), new Browser('Violet')];
    const [first] = await remembering(amber, violet);
    const second = amber.open();
    await until('listed', () => device(second, 'Violet'));
    first.actions.forget(id(first, 'Violet'));
    await until('gone', () => device(second, 'Violet') === undefined);
  });
});
