/** The devices of the list: those that servers and agents name, and those that this page meets or has met. */
import { Pairing, type Profile, type Session } from '../core/pairing';
import type { ListedDevice } from '../core/protocol/generated/ListedDevice';
import type { Platform } from '../core/protocol/generated/Platform';
import { PLATFORMS } from '../core/protocol/signaling';
import { TEXT_BYTES } from '../core/protocol/limits';
import type { Exchange, ExchangeEvents } from '../core/session/exchange';
import type { MeetingFailure } from '../core/session/failure';
import { peerIdOf, type PeerId } from '../core/session/keeper';
import type { MeetingStep } from '../core/session/meeting';
import { Peer } from '../core/session/peer';
import { RequestError, type SignalingClient } from '../core/signaling/client';
import type { Environment } from './environment';
import type { DeviceView, MeetingView, Model, PictureRow, SendItem } from './model';
import type { Toasts } from './toasts';
import type { Transfers } from './transfers';

/** Strangers who ring at once; more are not answered. */
const RINGING = 3;
/** How long a device that left stays in sight. */
const GONE_MS = 30_000;
const TEXTS = 200;

interface Traffic {
  exchange: Exchange;
  owner: Contact;
}

interface Contact {
  id: string;
  name: string;
  platform: Platform;
  source: DeviceView['source'];
  peer: Peer | null;
  /** What moves between the two; it outlives a session when the device is met anew. */
  traffic: Traffic | null;
  session: Session | null;
  /** Its id at the server, from the list or told by itself. */
  device: string | null;
  presence: DeviceView['presence'];
  meeting: MeetingView | null;
  awaySinceMs: number | null;
  /** What it told of others near. */
  nearby: readonly ListedDevice[];
  /** What waits for the meeting to end. */
  queue: (SendItem[] | string)[];
  /** Rang here: nobody on this side asked for it. */
  rang: boolean;
  route: DeviceView['route'];
}

/** What is known of a device before it was met. */
export interface Stranger {
  id: string;
  name: string;
  platform: Platform;
  source: DeviceView['source'];
  device: string | null;
  rang: boolean;
}

export class Contacts {
  readonly #model: Model;
  readonly #environment: Environment;
  readonly #signaling: SignalingClient;
  readonly #transfers: Transfers;
  readonly #toasts: Toasts;
  readonly #contacts = new Map<string, Contact>();
  #listed: readonly ListedDevice[] = [];
  /** This page's id at the server. */
  #ownDevice: string | null = null;
  #next = 0;

  constructor(model: Model, environment: Environment, signaling: SignalingClient, transfers: Transfers, toasts: Toasts) {
    this.#model = model;
    this.#environment = environment;
    this.#signaling = signaling;
    this.#transfers = transfers;
    this.#toasts = toasts;
  }

  /** A new id for a device that no list names. */
  newId(): string {
    this.#next += 1;
    return `device-${String(this.#next)}`;
  }

  handleWelcome(device: string): void {
    this.#ownDevice = device;
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

  /** This device as handshakes tell of it. */
  self(): { identity: Environment['identity']; profile: { name: string; platform: string; caps: string[] }; random: Environment['random'] } {
    const { identity, random } = this.#environment;
    const { name, platform } = this.#model.self;
    return { identity, random, profile: { name, platform, caps: ['webrtc'] } };
  }

  /** Begins a meeting and shows it in the list. */
  meet(stranger: Stranger, pairing: Pairing, mailbox: string, onEnded: (failure: MeetingFailure | null) => void = () => undefined): void {
    const contact = this.#contact(stranger);
    contact.presence = 'meeting';
    contact.meeting = { step: 'waiting', byUs: !stranger.rang };
    contact.peer = this.#peer(contact, pairing, mailbox, false, onEnded);
    this.publish();
  }

  /** Waits with a link or code for somebody who is not in the list before they were met. */
  await(pairing: Pairing, mailbox: string, source: 'link' | 'code', onEnded: (failure: MeetingFailure | null) => void): Peer {
    const contact = newContact({ id: this.newId(), name: '', platform: 'other', source, device: null, rang: false });
    const peer = this.#peer(contact, pairing, mailbox, true, onEnded);
    contact.peer = peer;
    return peer;
  }

  connect(id: string): void {
    const contact = this.#contacts.get(id);
    if (contact !== undefined && contact.presence !== 'gone' && contact.meeting?.step !== 'failed') {
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
    this.publish();
  }

  /** The page goes away. */
  leaveAll(): void {
    for (const { id, peer } of this.#contacts.values()) {
      // To be told good-bye would end what can go on after a reload.
      if (!this.#environment.ledger.durable || !this.#transfers.isUnfinished(id)) peer?.leave();
    }
  }

  sendFiles(id: string, items: SendItem[]): void {
    if (items.length === 0) this.#toasts.show({ kind: 'nothing_to_send' });
    else this.#send(id, items);
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
    const views = [...this.#contacts.values()].map(viewOf);
    const ownAgent = [...this.#contacts.values()].filter(({ source, session }) => source === 'link' && session !== null);
    for (const listing of this.#listing()) {
      if (known.has(listing.device)) continue;
      // The agent that serves this page, met by its link: it need not be met once more by pictures.
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

  #peer(contact: Contact, pairing: Pairing, mailbox: string, patient: boolean, onEnded: (failure: MeetingFailure | null) => void): Peer {
    const { clock, openLink } = this.#environment;
    return new Peer({
      signaling: this.#signaling,
      clock,
      openLink,
      pairing,
      mailbox,
      patient,
      events: {
        onStep: (step) => {
          contact.meeting = meetingView(step);
          if (step.step === 'pick_row' && step.claimed !== null) introduce(contact, step.claimed);
          this.publish();
        },
        onMet: (session) => {
          onEnded(null);
          return this.#met(contact, session);
        },
        onFailed: (failure) => {
          onEnded(failure);
          if (this.#contacts.get(contact.id) === contact) this.#fail(contact, failure);
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
        onBye: () => {
          this.#gone(contact);
        },
        onBroken: () => {
          this.#transfers.handleDeviceGone(contact.id, 'protocol');
          this.#fail(contact, 'bind_failed');
        },
      },
    });
  }

  #met(contact: Contact, session: Session): Exchange {
    contact.session = session;
    introduce(contact, session.peerProfile);
    contact.presence = 'connecting';
    contact.meeting = null;
    this.#contacts.set(contact.id, contact);
    const traffic = this.#takeOver(contact, session) ?? this.#newTraffic(contact, peerIdOf(session.peerKey));
    contact.traffic = traffic;
    // After this returns, the connection exists and can carry it.
    queueMicrotask(() => {
      if (this.#ownDevice !== null) contact.peer?.tellHere(this.#ownDevice);
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

  /** The same device, met before: what was under way carries on. */
  #takeOver(contact: Contact, session: Session): Traffic | null {
    const old = [...this.#contacts.values()].find(
      (one) => one !== contact && one.session !== null && sameBytes(one.session.peerKey, session.peerKey),
    );
    if (old === undefined) return null;
    this.#contacts.delete(old.id);
    if (old.presence === 'gone' || old.traffic === null) {
      old.peer?.abandon();
      this.#transfers.handleDeviceGone(old.id, 'device_gone');
      return null;
    }
    old.peer?.supersede();
    old.traffic.owner = contact;
    contact.queue.unshift(...old.queue);
    this.#transfers.handleDeviceAway(old.id);
    for (const row of [...this.#model.transfers, ...this.#model.offers, ...this.#model.texts]) {
      if (row.deviceId === old.id) row.deviceId = contact.id;
    }
    return old.traffic;
  }

  #newTraffic(contact: Contact, peer: PeerId): Traffic {
    const owner = (): Contact => traffic.owner;
    const traffic: Traffic = { exchange: this.#environment.makeExchange(this.#exchangeEvents(owner), peer), owner: contact };
    this.#transfers.handleMet(viewOf(contact), peer, traffic.exchange);
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
          transfers.handleOffered(id, traffic.exchange, viewOf(contact), peer, session.trust, entries, totalBytes);
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
        const textId = `in/${String(id)}`;
        this.#addText(textId, contact, 'receive', text);
        this.#toasts.show({ kind: 'text_received', name: contact.name, textId });
      },
      onTextDelivered: (id) => {
        const text = this.#model.texts.find((one) => one.id === `out/${String(id)}`);
        if (text !== undefined) text.state = 'delivered';
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
    this.#environment.clock.after(GONE_MS, () => {
      if (this.#contacts.get(contact.id) === contact && contact.presence === 'gone') this.disconnect(contact.id);
    });
    this.publish();
  }

  #fail(contact: Contact, failure: MeetingFailure): void {
    contact.presence = 'gone';
    contact.peer = null;
    contact.queue = [];
    contact.meeting = { step: 'failed', failure };
    const leftBeforeAnswer = contact.rang && (failure === 'no_answer' || failure === 'declined');
    // Who has no name yet, or left before an answer, is nothing to keep in sight.
    if (contact.session === null && (contact.device === null || leftBeforeAnswer)) this.#contacts.delete(contact.id);
    if (!leftBeforeAnswer) this.#toasts.show({ kind: 'meeting_failed', name: contact.name === '' ? null : contact.name, failure });
    this.publish();
  }

  #send(id: string, item: SendItem[] | string): void {
    const contact = this.#contacts.get(id);
    if (contact !== undefined && contact.traffic !== null && contact.presence !== 'gone') {
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
      else this.#addText(`out/${String(id)}`, contact, 'send', item);
      return;
    }
    const id = exchange.offer(item);
    if (id === null) this.#toasts.show({ kind: 'busy' });
    else this.#transfers.offered(id, exchange, viewOf(contact), peerIdOf(session.peerKey), item);
  }

  #addText(id: string, contact: Contact, direction: 'send' | 'receive', text: string): void {
    this.#model.texts.unshift({
      id,
      deviceId: contact.id,
      deviceName: contact.name,
      direction,
      text,
      atMs: this.#environment.wallClock(),
      state: direction === 'send' ? 'waiting' : 'delivered',
    });
    if (this.#model.texts.length > TEXTS) this.#model.texts.pop();
  }
}

function newContact({ id, name, platform, source, device, rang }: Stranger): Contact {
  return {
    id,
    name,
    platform,
    source,
    device,
    rang,
    peer: null,
    traffic: null,
    session: null,
    presence: 'meeting',
    meeting: null,
    awaySinceMs: null,
    nearby: [],
    queue: [],
    route: null,
  };
}

function introduce(contact: Contact, { name, platform }: Profile): void {
  contact.name = name;
  contact.platform = Object.values(PLATFORMS).find((known) => known === platform) ?? 'other';
}

function viewOf(contact: Contact): DeviceView {
  const { id, name, platform, source, presence, session, meeting, awaySinceMs, queue, route } = contact;
  return { id, name, platform, source, presence, meeting, awaySinceMs, route, trust: session?.trust ?? null, queued: queue.length };
}

function listedView({ device, name, platform, source }: ListedDevice): DeviceView {
  return { id: device, name, platform, source, presence: 'listed', trust: null, route: null, meeting: null, awaySinceMs: null, queued: 0 };
}

/** Connected ones first, then those that are on their way, then the agent of this page, then others. */
function rank({ presence, source }: DeviceView): number {
  switch (presence) {
    case 'connected':
      return 0;
    case 'meeting':
    case 'connecting':
    case 'away':
      return 1;
    case 'listed':
      return source === 'this_agent' ? 2 : 3;
    case 'gone':
      return 4;
  }
}

function meetingView(step: MeetingStep): MeetingView {
  const row = (pictures: Extract<MeetingStep, { step: 'confirm' }>['row']): PictureRow =>
    pictures.map(({ emoji, name }) => ({ symbol: emoji, name }));
  switch (step.step) {
    case 'waiting':
      return { step: 'waiting', byUs: true };
    case 'pick_row':
      return { step: 'pick_row', rows: step.rows.map(row) };
    case 'confirm':
      return { step: 'confirm', row: row(step.row) };
    case 'waiting_for_person':
      return { step: 'waiting_for_person', row: step.row === null ? null : row(step.row) };
  }
}

/** What a person is told when the server did not do what was asked. */
export function requestFailure({ reason }: RequestError): MeetingFailure {
  switch (reason) {
    case 'no_such_nameplate':
    case 'nameplate_used':
    case 'nameplate_expired':
      return 'code_gone';
    case 'full':
    case 'rate_limited':
    case 'queue_full':
      return 'server_full';
    case 'offline':
    case 'no_answer':
      return 'no_answer';
    case 'no_such_device':
      return 'not_there';
    case 'malformed':
    case 'not_joined':
    case 'slot_gone':
      return 'protocol';
  }
}

function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}
