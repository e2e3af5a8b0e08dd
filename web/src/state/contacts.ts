/** The devices of the list: those that servers and agents name, and those that this page meets or has met. */
import { Pairing, type Self, type Session } from '../core/pairing';
import type { ListedDevice } from '../core/protocol/generated/ListedDevice';
import { TEXT_BYTES } from '../core/protocol/limits';
import type { ExchangeEvents } from '../core/session/exchange';
import type { MeetingFailure } from '../core/session/failure';
import { peerIdOf, type PeerId } from '../core/session/keeper';
import { Peer, type Adopt, type Beginning } from '../core/session/peer';
import { RequestError, type SignalingClient } from '../core/signaling/client';
import {
  absentContact,
  canRemember,
  introduce,
  listedView,
  meetingView,
  newContact,
  rank,
  requestFailure,
  viewOf,
  type Contact,
  type Stranger,
  type Traffic,
} from './contact';
import type { Environment } from './environment';
import { Known } from './known';
import type { DeviceView, Model, Policy, SendItem } from './model';
import { Texts } from './texts';
import type { Toasts } from './toasts';
import type { Transfers } from './transfers';

/** Strangers who ring at once; more are not answered. */
const RINGING = 3;
/** How long a device that left stays in sight. */
const GONE_MS = 30_000;

export class Contacts {
  readonly #model: Model;
  readonly #environment: Environment;
  readonly #signaling: SignalingClient;
  readonly #transfers: Transfers;
  readonly #toasts: Toasts;
  readonly #texts: Texts;
  readonly #known: Known;
  readonly #contacts = new Map<string, Contact>();
  #listed: readonly ListedDevice[] = [];
  /** This page's id at the server. */
  #ownDevice: string | null = null;
  /** Ids of the other tabs of this browser, which have the same key. */
  readonly #ownTabs = new Set<string>();
  #next = 0;

  constructor(model: Model, environment: Environment, signaling: SignalingClient, transfers: Transfers, toasts: Toasts) {
    this.#model = model;
    this.#environment = environment;
    this.#signaling = signaling;
    this.#transfers = transfers;
    this.#toasts = toasts;
    this.#texts = new Texts(model, environment.wallClock);
    this.#known = new Known(environment, signaling, () => this.self(), {
      onMet: (peer, session, adopt) => {
        this.#metAgain(peer, session, adopt);
      },
      onKeyChanged: (peer) => {
        this.#fail(this.#knownContact(peer), 'key_changed');
      },
      onChanged: () => {
        this.#showKnown();
      },
    });
  }

  /** Brings back whom this browser knows. */
  async load(): Promise<void> {
    const { tabs } = this.#environment;
    tabs.listen((note) => {
      if (note.type === 'here') this.#ownTabs.add(note.device);
      if (note.type === 'who' && this.#ownDevice !== null) tabs.tell({ type: 'here', device: this.#ownDevice });
      this.publish();
    });
    tabs.tell({ type: 'who' });
    await this.#known.load();
  }

  /** A new id for a device that no list names. */
  newId(): string {
    this.#next += 1;
    return `device-${String(this.#next)}`;
  }

  handleWelcome(device: string, timeMs: number): void {
    this.#ownDevice = device;
    this.#environment.tabs.tell({ type: 'here', device });
    this.#known.handleWelcome(timeMs);
    for (const { peer, session } of this.#contacts.values()) if (session !== null) peer?.tellHere(device);
    this.publish();
  }

  handleNearby(devices: readonly ListedDevice[]): void {
    this.#listed = devices;
    this.publish();
  }

  /** A stranger wants to meet: pictures decide. */
  handleRing(mailbox: string): void {
    const ringing = [...this.#contacts.values()].filter(({ rang, session }) => rang && session === null);
    if (ringing.length >= RINGING) return;
    const stranger = { id: this.newId(), name: '', platform: 'other', source: 'visible', device: null, rang: true } as const;
    this.meet(stranger, Pairing.nearby(this.self(), 'responder', mailbox), mailbox);
  }

  handleNetworkChange(): void {
    for (const { peer } of this.#contacts.values()) peer?.handleNetworkChange();
  }

  /** This device as handshakes tell of it: with the name that it has when it is told, not when a code was made. */
  self(): Self {
    const { identity, random } = this.#environment;
    const { self } = this.#model;
    const caps = this.#known.possible ? ['webrtc', 'remember'] : ['webrtc'];
    return {
      identity,
      random,
      get profile() {
        return { name: self.name, platform: self.platform, caps };
      },
    };
  }

  /** Begins a meeting and shows it in the list. */
  meet(stranger: Stranger, pairing: Pairing, mailbox: string, onEnded: (failure: MeetingFailure | null) => void = () => undefined): void {
    const contact = this.#contact(stranger);
    contact.presence = 'meeting';
    contact.meeting = { step: 'waiting', byUs: !stranger.rang };
    contact.peer = this.#peer(contact, { kind: 'meeting', pairing, mailbox, patient: false }, onEnded);
    this.publish();
  }

  /** Waits with a link or code for somebody who is not in the list before they were met. */
  await(pairing: Pairing, mailbox: string, source: 'link' | 'code', onEnded: (failure: MeetingFailure | null) => void): Peer {
    const contact = newContact({ id: this.newId(), name: '', platform: 'other', source, device: null, rang: false });
    const peer = this.#peer(contact, { kind: 'meeting', pairing, mailbox, patient: true }, onEnded);
    contact.peer = peer;
    return peer;
  }

  connect(id: string): void {
    const contact = this.#contacts.get(id);
    if (contact !== undefined && contact.presence !== 'gone' && contact.meeting?.step !== 'failed') {
      if (contact.key !== null && (contact.presence === 'offline' || contact.left)) this.#known.handleAway(contact.key);
      contact.peer?.handleNetworkChange();
      return;
    }
    const listing = this.#listing().find(({ device }) => device === id || device === contact?.device);
    if (listing === undefined) {
      if (contact !== undefined) this.#fail(contact, 'not_there');
      return;
    }
    const { device, name, platform, source } = listing;
    const stranger = { id, device, name, platform, source, rang: false };
    const calling = this.#contact(stranger);
    calling.presence = 'meeting';
    calling.meeting = { step: 'waiting', byUs: true };
    this.publish();
    this.#signaling.dial(device).then(
      (mailbox) => {
        if (this.#contacts.get(id) === calling && calling.peer === null) {
          this.meet(stranger, Pairing.nearby(this.self(), 'initiator', mailbox), mailbox);
        }
      },
      (error: unknown) => {
        this.#fail(calling, error instanceof RequestError ? requestFailure(error) : 'not_there');
      },
    );
  }

  pickRow(id: string, row: number | null): void {
    this.#contacts.get(id)?.peer?.pickRow(row);
  }

  confirmPictures(id: string, same: boolean): void {
    this.#contacts.get(id)?.peer?.confirmPictures(same);
  }

  disconnect(id: string): void {
    const contact = this.#contacts.get(id);
    if (contact === undefined) return;
    contact.peer?.leave();
    this.#transfers.handleDeviceGone(id, 'device_gone');
    this.#contacts.delete(id);
    // Asked to stay apart: a remembered device is waited for again when somebody taps it, or at the next visit.
    if (contact.key !== null) this.#known.handleOver(contact.key, false);
    this.#showKnown();
  }

  /** The page goes away. Where sessions outlive it, it may be back in a moment: the places are free for it then. */
  leaveAll(): void {
    for (const { peer } of this.#contacts.values()) {
      if (this.#known.keeper.durable) peer?.depart();
      else peer?.leave();
    }
    this.#known.leave();
  }

  remember(id: string, wanted: boolean): void {
    const contact = this.#contacts.get(id);
    if (contact === undefined) return;
    if (!wanted) {
      this.forget(id);
      return;
    }
    if (contact.session === null || !this.#known.possible || !canRemember(contact.session)) return;
    contact.wantedHere = true;
    contact.peer?.tellRemember(true);
    this.#rememberIfBoth(contact);
  }

  forget(id: string): void {
    const contact = this.#contacts.get(id);
    if (contact === undefined) return;
    contact.wantedHere = false;
    contact.wantedThere = false;
    if (contact.session !== null && canRemember(contact.session)) contact.peer?.tellRemember(false);
    if (contact.key !== null) this.#known.forget(contact.key);
    if (contact.presence === 'offline') this.#contacts.delete(id);
    this.publish();
  }

  setPolicy(id: string, policy: Policy): void {
    const key = this.#contacts.get(id)?.key ?? null;
    if (key !== null) this.#known.setPolicy(key, policy);
  }

  /** The device with a known name and another key is to be met anew: the known one is forgotten. */
  forgetKnownName(id: string): void {
    const contact = this.#contacts.get(id);
    if (contact?.meeting?.step !== 'failed' || contact.meeting.failure !== 'key_changed') return;
    const known = this.#known.device(contact.key ?? '') ?? this.#known.namesake(contact.name, contact.key ?? '');
    this.#contacts.delete(id);
    if (known !== null) {
      this.#known.forget(known.peer);
      const absent = this.#byKey(known.peer);
      if (absent !== undefined && absent.presence !== 'connected') this.disconnect(absent.id);
    }
    this.publish();
    if (contact.device !== null && this.#listing().some(({ device }) => device === contact.device)) this.connect(contact.device);
  }

  sendFiles(id: string, items: SendItem[]): void {
    if (items.length === 0) this.#toasts.show({ kind: 'nothing_to_send' });
    else this.#send(id, items);
  }

  /** Asks for links to an offer that the browser is to download. */
  downloadOffer(offerId: string): void {
    const deviceId = this.#transfers.askForLinks(offerId);
    if (deviceId !== null) this.#contacts.get(deviceId)?.peer?.tellHttpWanted(offerId);
  }

  sendText(id: string, text: string): void {
    if (text === '') this.#toasts.show({ kind: 'nothing_to_send' });
    else if (new TextEncoder().encode(text).length > TEXT_BYTES) this.#toasts.show({ kind: 'text_too_long', limitBytes: TEXT_BYTES });
    else this.#send(id, text);
  }

  /** Asks every open link which way its packets take. */
  async refreshRoutes(): Promise<void> {
    for (const contact of this.#contacts.values()) {
      const route = (await contact.peer?.route().catch(() => null)) ?? null;
      if (contact.presence !== 'connected' || route === null) continue;
      contact.route = route;
      for (const transfer of this.#model.transfers) {
        if (transfer.deviceId === contact.id && transfer.endedAtMs === null) transfer.route = { ...route };
      }
    }
    this.publish();
  }

  /** Brings the list of the model up to date. */
  publish(): void {
    const known = new Set([...this.#contacts.values()].map(({ device }) => device).filter((device) => device !== null));
    const views = [...this.#contacts.values()].flatMap((contact) => this.#shown(contact) ?? []);
    const ownAgent = [...this.#contacts.values()].filter(({ source, session }) => (source === 'link' || source === 'code') && session !== null);
    for (const listing of this.#listing()) {
      if (known.has(listing.device) || this.#ownTabs.has(listing.device)) continue;
      // The agent that serves this page, met by its link or code: it need not be met once more by pictures.
      if (listing.source === 'this_agent' && ownAgent.some(({ name }) => name === listing.name)) continue;
      views.push(listedView(listing));
    }
    views.sort((one, other) => rank(one) - rank(other) || one.name.localeCompare(other.name) || one.id.localeCompare(other.id));
    const before = new Map(this.#model.devices.map((view) => [view.id, view]));
    const sameOrder = views.length === this.#model.devices.length && views.every(({ id }, at) => this.#model.devices[at]?.id === id);
    // Views that stay are changed in place, so that only what changed is drawn again.
    const after = views.map((view) => Object.assign(before.get(view.id) ?? view, view));
    if (!sameOrder) this.#model.devices = after;
  }

  #contact(stranger: Stranger): Contact {
    const contact = newContact(stranger);
    const old = this.#contacts.get(stranger.id);
    if (old !== undefined) contact.queue = old.queue;
    this.#contacts.set(contact.id, contact);
    return contact;
  }

  /** Everyone who may be dialled: the server's list first, then what agents told. */
  #listing(): ListedDevice[] {
    const found = new Map<string, ListedDevice>();
    const told = [...this.#contacts.values()].flatMap(({ nearby, presence }) => (presence === 'gone' ? [] : nearby));
    for (const listing of [...this.#listed, ...told]) {
      if (listing.device !== this.#ownDevice && !found.has(listing.device)) found.set(listing.device, listing);
    }
    return [...found.values()];
  }

  #peer(contact: Contact, beginning: Beginning, onEnded: (failure: MeetingFailure | null) => void): Peer {
    const { clock, openLink } = this.#environment;
    return new Peer({
      signaling: this.#signaling,
      clock,
      openLink,
      beginning,
      events: {
        onStep: (step) => {
          contact.meeting = meetingView(step);
          if (step.step === 'pick_row' && step.claimed !== null) introduce(contact, step.claimed);
          this.publish();
        },
        onRefused: () => {
          // Remembered devices are waited for without a word.
          if (contact.source === 'link' || contact.source === 'code') this.#toasts.show({ kind: 'joiner_refused' });
        },
        onMet: (session) => {
          contact.key = peerIdOf(session.peerKey);
          if (this.#known.namesake(session.peerProfile.name, contact.key) !== null) {
            onEnded('key_changed');
            introduce(contact, session.peerProfile);
            this.#contacts.set(contact.id, contact);
            this.#fail(contact, 'key_changed');
            return null;
          }
          onEnded(null);
          return this.#met(contact, session);
        },
        onFailed: (failure) => {
          onEnded(failure);
          if (this.#contacts.get(contact.id) === contact) this.#fail(contact, failure);
        },
        onLeft: () => {
          contact.left = true;
          this.#waitFor(contact);
        },
        onUp: () => {
          this.#up(contact);
        },
        onDown: () => {
          this.#away(contact);
        },
        onLinkState: (state) => {
          if (state === 'disconnected' || state === 'failed') this.#away(contact);
          else if (state === 'connected' && contact.peer?.up === true) this.#up(contact);
        },
        onNearby: (devices) => {
          contact.nearby = devices;
          this.publish();
        },
        onHere: (device) => {
          contact.device = device;
          this.#dropOwnCall(contact);
          this.publish();
        },
        onRemember: (wanted) => {
          this.#handleRemember(contact, wanted);
        },
        onDoor: (securePage) => {
          // Another agent's server is reached by way of the one that served this page.
          if (contact.source === 'mdns') return;
          contact.servesPage = true;
          this.#model.door.securePage = securePage;
          this.publish();
        },
        onHttpLinks: (transfer, base) => {
          if (contact.servesPage) this.#transfers.handleLinks(transfer, base);
        },
        onBye: () => {
          // Before there was a connection: something stood in the way there, which may be this device's own key.
          if (contact.presence === 'connecting') this.#fail(contact, 'ended_there');
          else this.#gone(contact);
        },
        onBroken: () => {
          this.#transfers.handleDeviceGone(contact.id, 'protocol');
          this.#fail(contact, 'bind_failed');
        },
      },
    });
  }

  #met(contact: Contact, session: Session): Traffic['exchange'] {
    contact.session = session;
    introduce(contact, session.peerProfile);
    contact.presence = 'connecting';
    contact.meeting = null;
    contact.left = false;
    contact.wantedThere = false;
    // Who remembers a device that came in another way says so again: an agreement may have been half made (LK-9).
    const peer = peerIdOf(session.peerKey);
    contact.wantedHere = session.trust !== 'remembered' && this.#known.device(peer) !== null && canRemember(session);
    this.#known.handleMet(peer);
    this.#contacts.set(contact.id, contact);
    const traffic = this.#takeOver(contact) ?? contact.traffic ?? this.#newTraffic(contact, peer);
    contact.traffic = traffic;
    // After this returns, the connection exists and can carry it.
    queueMicrotask(() => {
      if (this.#ownDevice !== null) contact.peer?.tellHere(this.#ownDevice);
      if (contact.wantedHere) contact.peer?.tellRemember(true);
      for (const item of contact.queue.splice(0)) this.#hand(contact, item);
      this.publish();
    });
    this.publish();
    return traffic.exchange;
  }

  /** Both had dialled each other: the meeting that people finished first stays, and this side's own call ends. */
  #dropOwnCall(met: Contact): void {
    for (const call of this.#contacts.values()) {
      if (call === met || call.rang || call.session !== null || call.presence !== 'meeting' || call.device !== met.device) continue;
      this.#contacts.delete(call.id);
      call.peer?.leave();
      for (const item of call.queue) this.#hand(met, item);
    }
  }

  /** A device of memory is here again, without anybody's doing. */
  #metAgain(peer: PeerId, session: Session, adopt: Adopt): void {
    const contact = this.#knownContact(peer);
    contact.peer?.supersede();
    contact.peer = this.#peer(contact, { kind: 'met', session, adopt }, () => undefined);
    this.publish();
  }

  #byKey(peer: PeerId): Contact | undefined {
    return [...this.#contacts.values()].find(({ key }) => key === peer);
  }

  #knownContact(peer: PeerId): Contact {
    const known = this.#byKey(peer);
    if (known !== undefined) return known;
    const of = this.#known.device(peer) ?? this.#known.sessions().find((session) => session.peer === peer);
    const contact = absentContact({ peer, name: of?.name ?? '', platform: of?.platform ?? 'other' });
    this.#contacts.set(contact.id, contact);
    return contact;
  }

  /** Everyone of memory is in the list, here or not. */
  #showKnown(): void {
    for (const { peer } of [...this.#known.devices(), ...this.#known.sessions()]) this.#knownContact(peer);
    this.publish();
  }

  #view(contact: Contact): DeviceView {
    const { key } = contact;
    return viewOf(contact, {
      possible: this.#known.possible,
      device: key === null ? null : this.#known.device(key),
      elsewhere: key !== null && this.#known.elsewhere(key),
    });
  }

  /** `null` for a device that only its unfinished business or a good memory would keep in the list. */
  #shown(contact: Contact): DeviceView | null {
    const view = this.#view(contact);
    if (contact.presence !== 'offline' || view.remember === 'yes') return view;
    return this.#unfinished(contact) ? { ...view, presence: 'away' } : null;
  }

  #unfinished({ id, queue }: Contact): boolean {
    return queue.length > 0 || this.#model.transfers.some(({ deviceId, endedAtMs }) => deviceId === id && endedAtMs === null);
  }

  #handleRemember(contact: Contact, wanted: boolean): void {
    contact.wantedThere = wanted;
    if (wanted) {
      this.#rememberIfBoth(contact);
    } else {
      contact.wantedHere = false;
      if (contact.key !== null) this.#known.forget(contact.key);
    }
    this.publish();
  }

  #rememberIfBoth(contact: Contact): void {
    const { session, wantedHere, wantedThere, name, platform } = contact;
    if (session === null || !this.#known.possible) return;
    if (wantedHere && wantedThere) {
      const anew = this.#known.device(peerIdOf(session.peerKey)) === null;
      this.#known.remember(session, name, platform);
      if (anew) this.#toasts.show({ kind: 'device_remembered', name });
    }
    this.publish();
  }

  /** It left its mailbox, or its link is lost for long: it may come back by what the two share. */
  #waitFor(contact: Contact): void {
    if (contact.key === null || contact.session === null) return;
    this.#away(contact);
    if (contact.presence === 'connecting') contact.presence = 'away';
    contact.awaySinceMs ??= this.#environment.wallClock();
    this.#known.handleAway(contact.key);
    const { session } = contact;
    this.#environment.clock.after(GONE_MS, () => {
      // Nothing waits for it: it is out of sight until it is back.
      if (contact.session !== session || contact.presence !== 'away' || this.#unfinished(contact)) return;
      contact.presence = 'offline';
      this.publish();
    });
    this.publish();
  }

  /** The same device, met before: what was under way carries on. */
  #takeOver(contact: Contact): Traffic | null {
    const old = [...this.#contacts.values()].find((one) => one !== contact && one.key === contact.key);
    if (old === undefined) return null;
    this.#contacts.delete(old.id);
    const over = old.presence === 'gone';
    if (over) this.#transfers.handleDeviceGone(old.id, 'device_gone');
    contact.queue.unshift(...old.queue);
    for (const row of [...this.#model.transfers, ...this.#model.offers, ...this.#model.texts]) {
      if (row.deviceId === old.id) row.deviceId = contact.id;
    }
    if (over || old.traffic === null) {
      old.peer?.abandon();
      return null;
    }
    old.peer?.supersede();
    old.traffic.owner = contact;
    this.#transfers.handleDeviceAway(contact.id);
    return old.traffic;
  }

  #newTraffic(contact: Contact, peer: PeerId): Traffic {
    const owner = (): Contact => traffic.owner;
    const traffic: Traffic = { exchange: this.#environment.makeExchange(this.#exchangeEvents(owner), peer), owner: contact };
    this.#transfers.handleMet(this.#view(contact), peer, traffic.exchange);
    return traffic;
  }

  #exchangeEvents(owner: () => Contact): ExchangeEvents {
    const transfers = this.#transfers;
    return {
      onOffered: (id, entries, totalBytes) => {
        const contact = owner();
        const { traffic, session } = contact;
        if (traffic !== null && session !== null) {
          const peer = peerIdOf(session.peerKey);
          const byPolicy = this.#accepts(contact, totalBytes);
          transfers.handleOffered(id, traffic.exchange, this.#view(contact), peer, session.trust, entries, totalBytes, byPolicy);
        }
      },
      onAccepted: (id) => {
        transfers.handleAccepted(id);
      },
      onDeclined: (id, reason) => {
        transfers.handleDeclined(id, reason);
      },
      onPaused: (id, reason, by) => {
        transfers.handlePaused(id, reason, by);
      },
      onUnpaused: (id) => {
        transfers.handleUnpaused(id);
      },
      onFileDone: (id, file) => {
        transfers.handleFileDone(id, file);
      },
      onFileFailed: (id, file, reason) => {
        transfers.handleFileFailed(id, file, reason);
      },
      onFinished: (id) => {
        transfers.handleFinished(id);
      },
      onCancelled: (id, reason, by) => {
        transfers.handleCancelled(id, reason, by);
      },
      onText: (id, text) => {
        const contact = owner();
        const textId = this.#texts.received(id, contact, text);
        this.#toasts.show({ kind: 'text_received', name: contact.name, textId });
      },
      onTextDelivered: (id) => {
        this.#texts.delivered(id);
      },
      onSilent: () => {
        const contact = owner();
        contact.peer?.handleSilent();
        this.#away(contact);
      },
      onHeard: () => {
        const contact = owner();
        contact.peer?.handleHeard();
        if (contact.peer?.up === true) this.#up(contact);
      },
      onSlow: () => {
        owner().peer?.handleSlow();
      },
      onViolation: () => {
        const contact = owner();
        contact.peer?.abandon();
        this.#transfers.handleDeviceGone(contact.id, 'protocol');
        this.#fail(contact, 'protocol');
      },
    };
  }

  #up(contact: Contact): void {
    if (contact.presence === 'connected') return;
    const first = contact.presence === 'connecting';
    contact.presence = 'connected';
    contact.awaySinceMs = null;
    this.#transfers.handleDeviceBack(contact.id);
    if (contact.session !== null) this.#known.handleUp(contact.session, contact.name, contact.platform);
    if (first) this.#toasts.show({ kind: 'device_connected', name: contact.name });
    this.publish();
    void this.refreshRoutes();
  }

  #away(contact: Contact): void {
    if (contact.presence !== 'connected') return;
    contact.presence = 'away';
    contact.awaySinceMs = this.#environment.wallClock();
    contact.route = null;
    this.#transfers.handleDeviceAway(contact.id);
    this.publish();
  }

  #gone(contact: Contact): void {
    contact.presence = 'gone';
    contact.peer = null;
    contact.route = null;
    this.#transfers.handleDeviceGone(contact.id, 'device_gone');
    if (contact.key !== null) this.#known.handleOver(contact.key, true);
    if (contact.key !== null && this.#known.device(contact.key) !== null) {
      Object.assign(contact, { presence: 'offline', session: null, traffic: null, wantedHere: false, wantedThere: false });
      this.publish();
      return;
    }
    this.#environment.clock.after(GONE_MS, () => {
      if (this.#contacts.get(contact.id) === contact && contact.presence === 'gone') this.disconnect(contact.id);
    });
    this.publish();
  }

  #fail(contact: Contact, failure: MeetingFailure): void {
    contact.presence = 'gone';
    contact.peer = null;
    contact.queue = [];
    contact.traffic = null;
    contact.meeting = { step: 'failed', failure };
    const leftBeforeAnswer = contact.rang && (failure === 'no_answer' || failure === 'declined');
    // Who has no name yet, or left before an answer, is nothing to keep in sight.
    const unknown = contact.session === null && contact.key === null;
    if (unknown && (contact.device === null || leftBeforeAnswer)) this.#contacts.delete(contact.id);
    if (!leftBeforeAnswer && failure !== 'key_changed') this.#toasts.show({ kind: 'meeting_failed', name: contact.name === '' ? null : contact.name, failure });
    this.publish();
  }

  #send(id: string, item: SendItem[] | string): void {
    const contact = this.#contacts.get(id);
    if (contact !== undefined && contact.traffic !== null && contact.session !== null && contact.presence !== 'gone') {
      this.#hand(contact, item);
      return;
    }
    if (contact === undefined || contact.presence === 'gone') this.connect(id);
    const waiting = this.#contacts.get(id);
    if (waiting === undefined || waiting.presence === 'gone') {
      this.#toasts.show({ kind: 'meeting_failed', name: waiting?.name ?? null, failure: 'not_there' });
      return;
    }
    waiting.queue.push(item);
    this.publish();
  }

  #hand(contact: Contact, item: SendItem[] | string): void {
    const { session } = contact;
    const exchange = contact.traffic?.exchange;
    if (exchange === undefined || session === null) return;
    if (typeof item === 'string') {
      const id = exchange.sendText(item);
      if (id === null) this.#toasts.show({ kind: 'busy' });
      else this.#texts.sent(id, contact, item);
      return;
    }
    const id = exchange.offer(item);
    if (id === null) this.#toasts.show({ kind: 'busy' });
    else this.#transfers.offered(id, exchange, this.#view(contact), peerIdOf(session.peerKey), item);
  }

  #accepts({ key }: Contact, totalBytes: number): boolean {
    const policy = key === null ? undefined : this.#known.device(key)?.policy;
    switch (policy?.kind) {
      case 'accept':
        return true;
      case 'accept_under':
        return totalBytes < policy.bytes;
      case 'ask':
      case undefined:
        return false;
    }
  }
}
