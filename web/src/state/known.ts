/**
 * Whom this page meets again without a human: remembered devices, and sessions that may come back. It knows where each
 * of them is waited for, and waits in one tab of the browser only.
 */
import { Pairing, hourAt, type Self, type Session } from '../core/pairing';
import type { Platform } from '../core/protocol/generated/Platform';
import { RESUME_MS, keptSession, peerIdOf, type KeptSession, type PeerId, type SessionKeeper } from '../core/session/keeper';
import type { Adopt } from '../core/session/peer';
import { Reunion, type Way } from '../core/session/reunion';
import type { SignalingClient } from '../core/signaling/client';
import { MemoryDevices, type KnownDevice, type KnownDevices, type Policy } from '../core/storage/known';
import type { Environment } from './environment';
import type { TabNote } from './tabs';

const HOUR_MS = 3_600_000;
/** A server lets one socket into 256 mailboxes (SG-15); the rest are for links, codes and open sessions. */
const WAITING_PLACES = 210;
/** Three for each thing that is shared. */
const PLACES_A_WAY = 3;

export interface KnownEvents {
  onMet(peer: PeerId, session: Session, adopt: Adopt): void;
  /** Somebody knows what only the two should know, and has another key. */
  onKeyChanged(peer: PeerId): void;
  /** Devices were added, removed or changed. */
  onChanged(): void;
}

interface Acquaintance {
  peer: PeerId;
  device: KnownDevice | null;
  session: KeptSession | null;
  /** Not connected, so it is waited for. */
  away: boolean;
  /** This tab, and no other one of this browser, may wait. */
  held: boolean;
  release: () => void;
  reunion: Reunion | null;
}

export class Known {
  readonly #environment: Environment;
  readonly #signaling: SignalingClient;
  readonly #self: () => Self;
  readonly #events: KnownEvents;
  /** Of sessions alone, where nothing can be remembered: for as long as the page is open. */
  readonly #store: KnownDevices;
  readonly #acquaintances = new Map<PeerId, Acquaintance>();
  /** The server's clock less the injected one. */
  #aheadMs: number | null = null;
  #cancelHour: () => void = () => undefined;

  constructor(environment: Environment, signaling: SignalingClient, self: () => Self, events: KnownEvents) {
    this.#environment = environment;
    this.#signaling = signaling;
    this.#self = self;
    this.#events = events;
    this.#store = environment.known ?? new MemoryDevices();
    environment.tabs.listen((note) => {
      this.#handleNote(note);
    });
  }

  /** Whether devices can be remembered at all. */
  get possible(): boolean {
    return this.#environment.known !== null;
  }

  /** For whoever keeps transfers over a reload. */
  get keeper(): SessionKeeper {
    return this.#store;
  }

  /** Reads what was kept, again after another tab changed it. */
  async load(): Promise<void> {
    const [devices, sessions] = await Promise.all([this.#store.devices(), this.#store.sessions(this.#environment.wallClock())]);
    const remembered = new Set(devices.map(({ peer }) => peer));
    for (const one of this.#acquaintances.values()) if (!remembered.has(one.peer)) this.#setDevice(one, null);
    for (const device of devices) this.#setDevice(this.#acquaintance(device.peer), device);
    for (const session of sessions) {
      const one = this.#acquaintance(session.peer);
      // Of a session that goes on here, this tab knows more.
      if (one.session === null && one.away) one.session = session;
    }
    this.#arrange();
    this.#events.onChanged();
  }

  handleWelcome(timeMs: number): void {
    this.#aheadMs = timeMs - this.#environment.clock.now();
    this.#turnHour();
  }

  /** Everyone who is remembered. */
  devices(): KnownDevice[] {
    return [...this.#acquaintances.values()].flatMap(({ device }) => device ?? []);
  }

  /** Everyone whose session may come back. */
  sessions(): KeptSession[] {
    return [...this.#acquaintances.values()].flatMap(({ session }) => session ?? []);
  }

  device(peer: PeerId): KnownDevice | null {
    return this.#acquaintances.get(peer)?.device ?? null;
  }

  /** Another tab of this browser answers for it. */
  elsewhere(peer: PeerId): boolean {
    return this.#acquaintances.get(peer)?.held === false;
  }

  /** A remembered device that has this name and another key. */
  namesake(name: string, peer: PeerId): KnownDevice | null {
    const plain = (text: string): string => text.normalize('NFKC').trim().toLowerCase();
    return this.devices().find((device) => device.peer !== peer && plain(device.name) === plain(name)) ?? null;
  }

  /** Both opted in. What was stored of the device is replaced; its policy stays. */
  remember(session: Session, name: string, platform: Platform): void {
    const peer = peerIdOf(session.peerKey);
    const one = this.#acquaintance(peer);
    const policy = one.device?.policy ?? { kind: 'ask' };
    this.#save(one, { peer, name, platform, pinned: session.remember(), policy, lastSeenMs: this.#environment.wallClock() });
  }

  setPolicy(peer: PeerId, policy: Policy): void {
    const one = this.#acquaintances.get(peer);
    const device = one?.device ?? null;
    if (one !== undefined && device !== null) this.#save(one, { ...device, policy });
  }

  forget(peer: PeerId): void {
    const one = this.#acquaintances.get(peer);
    if (one === undefined) return;
    this.#setDevice(one, null);
    this.#write(this.#store.dropDevice(peer));
    this.#endIfNothing(one);
    this.#arrange();
    this.#events.onChanged();
  }

  /** An authenticated link is open: it is waited for no more, and the session can come back after this. */
  handleUp(session: Session, name: string, platform: Platform): void {
    const nowMs = this.#environment.wallClock();
    const one = this.#acquaintance(peerIdOf(session.peerKey));
    one.away = false;
    one.session = { ...keptSession(session, nowMs), name, platform };
    void this.#store.saveSession(one.session).catch(() => undefined);
    if (one.device !== null) this.#save(one, { ...one.device, name, platform, lastSeenMs: nowMs });
    this.#arrange();
  }

  /** The device is not to be found where it was: wait for it. */
  handleAway(peer: PeerId): void {
    const one = this.#acquaintances.get(peer);
    if (one === undefined) return;
    one.away = true;
    this.#arrange();
  }

  /** The two have met, by whatever way: wait no more. */
  handleMet(peer: PeerId): void {
    const one = this.#acquaintances.get(peer);
    if (one === undefined) return;
    one.away = false;
    this.#arrange();
  }

  /** The session ended on purpose: it does not come back. A remembered device does. */
  handleOver(peer: PeerId, wait: boolean): void {
    const one = this.#acquaintances.get(peer);
    if (one === undefined) return;
    one.session = null;
    this.#stopWaiting(one);
    one.away = wait;
    void this.#store.dropSession(peer).catch(() => undefined);
    this.#endIfNothing(one);
    this.#arrange();
  }

  /** The page goes away: its places are free for whoever comes next. */
  leave(): void {
    for (const one of this.#acquaintances.values()) this.#stopWaiting(one);
  }

  #handleNote(note: TabNote): void {
    if (note.type === 'known_changed') void this.load().catch(() => undefined);
  }

  #acquaintance(peer: PeerId): Acquaintance {
    const known = this.#acquaintances.get(peer);
    if (known !== undefined) return known;
    const one: Acquaintance = { peer, device: null, session: null, away: true, held: false, release: () => undefined, reunion: null };
    this.#acquaintances.set(peer, one);
    one.release = this.#environment.tabs.hold(peer, () => {
      one.held = true;
      queueMicrotask(() => {
        this.#arrange();
        this.#events.onChanged();
      });
    });
    return one;
  }

  #endIfNothing(one: Acquaintance): void {
    if (one.device !== null || one.session !== null) return;
    this.#stopWaiting(one);
    one.release();
    this.#acquaintances.delete(one.peer);
  }

  #setDevice(one: Acquaintance, device: KnownDevice | null): void {
    const before = one.device?.pinned.pairSecret.join();
    one.device = device;
    // What is waited with has changed.
    if (device?.pinned.pairSecret.join() !== before) this.#stopWaiting(one);
  }

  #stopWaiting(one: Acquaintance): void {
    one.reunion?.stop();
    one.reunion = null;
  }

  #save(one: Acquaintance, device: KnownDevice): void {
    this.#setDevice(one, device);
    this.#write(this.#store.saveDevice(device));
    this.#events.onChanged();
  }

  /** What cannot be written holds until the page is closed. */
  #write(written: Promise<void>): void {
    written.then(
      () => {
        this.#environment.tabs.tell({ type: 'known_changed' });
      },
      () => undefined,
    );
  }

  #turnHour(): void {
    this.#cancelHour();
    if (this.#aheadMs === null) return;
    const timeMs = this.#environment.clock.now() + this.#aheadMs;
    this.#cancelHour = this.#environment.clock.after(HOUR_MS - (timeMs % HOUR_MS), () => {
      this.#turnHour();
    });
    this.#arrange();
  }

  /** Waits for everyone who is away, in as many places as the server grants; those seen last come first. */
  #arrange(): void {
    if (this.#aheadMs === null) return;
    const hour = hourAt(this.#environment.clock.now() + this.#aheadMs);
    const seen = ({ device, session }: Acquaintance): number => Math.max(device?.lastSeenMs ?? 0, session?.savedAtMs ?? 0);
    const wanted = [...this.#acquaintances.values()].sort((one, other) => seen(other) - seen(one));
    let places = 0;
    for (const one of wanted) {
      const ways = one.away && one.held ? this.#ways(one) : [];
      places += ways.length * PLACES_A_WAY;
      if (ways.length === 0 || places > WAITING_PLACES) {
        this.#stopWaiting(one);
        continue;
      }
      one.reunion ??= this.#wait(one);
      one.reunion.setHour(hour);
    }
  }

  /** What is shared with a device, best first. */
  #ways({ device, session }: Acquaintance): Way[] {
    const ways: Way[] = [];
    if (device !== null) {
      const { pinned } = device;
      ways.push({
        mailboxes: (hour) => pinned.mailboxes(hour),
        pairing: (role, mailbox) => Pairing.remembered(this.#self(), role, mailbox, pinned),
      });
    }
    if (session !== null && this.#environment.wallClock() - session.savedAtMs < RESUME_MS) {
      const { resume } = session;
      ways.push({
        mailboxes: (hour) => resume.mailboxes(hour),
        pairing: (role, mailbox) => Pairing.resume(this.#self(), role, mailbox, resume),
      });
    }
    return ways;
  }

  #wait(one: Acquaintance): Reunion {
    return new Reunion({
      signaling: this.#signaling,
      clock: this.#environment.clock,
      ways: this.#ways(one),
      events: {
        onMet: (session, adopt) => {
          one.reunion = null;
          one.away = false;
          this.#events.onMet(one.peer, session, adopt);
        },
        onKeyChanged: () => {
          one.reunion = null;
          one.away = false;
          this.#events.onKeyChanged(one.peer);
        },
      },
    });
  }
}
