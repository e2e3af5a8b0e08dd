/**
 * The devices that this browser knows: remembered ones, and sessions that may come back. Secrets lie wrapped by a key that
 * scripts cannot read out (SAFETY §4 rule 7), so there is no such store on a page of plain http.
 */
import { openDB, type DBSchema, type IDBPDatabase } from 'idb';
import { RememberedDevice, ResumeSecret, type Trust } from '../pairing';
import type { Platform } from '../protocol/generated/Platform';
import { RESUME_MS, type KeptSession, type PeerId, type SessionKeeper } from '../session/keeper';

/** What happens to an offer of a remembered device. */
export type Policy = { kind: 'ask' } | { kind: 'accept' } | { kind: 'accept_under'; bytes: number };

export interface KnownDevice {
  peer: PeerId;
  /** Hostile. */
  name: string;
  platform: Platform;
  /** The pinned key and the secret that only the two share. */
  pinned: RememberedDevice;
  policy: Policy;
  /** Milliseconds since 1970. */
  lastSeenMs: number;
}

/** Beyond these the one that was not seen for longest is forgotten. */
export const MAX_DEVICES = 64;
/** Beyond these the oldest is dropped. */
export const MAX_SESSIONS = 32;

export interface KnownDevices extends SessionKeeper {
  devices(): Promise<KnownDevice[]>;
  saveDevice(device: KnownDevice): Promise<void>;
  dropDevice(peer: PeerId): Promise<void>;
}

interface Sealed {
  iv: Uint8Array<ArrayBuffer>;
  bytes: ArrayBuffer;
}

interface StoredDevice {
  name: string;
  platform: Platform;
  key: Uint8Array<ArrayBuffer>;
  secret: Sealed;
  policy: Policy;
  lastSeenMs: number;
}

interface StoredSession {
  name: string;
  platform: Platform;
  key: Uint8Array<ArrayBuffer>;
  secret: Sealed;
  trust: Trust;
  savedAtMs: number;
}

interface KnownSchema extends DBSchema {
  devices: { key: PeerId; value: StoredDevice };
  sessions: { key: PeerId; value: StoredSession };
  wrapping: { key: 'key'; value: CryptoKey };
}

const DATABASE = 'lanyard-known';
const VERSION = 1;

/** The store, or `null` where secrets cannot be kept: plain http, or a browser without a database. */
export async function openKnownDevices(): Promise<KnownDevices | null> {
  if (!globalThis.isSecureContext || !('subtle' in crypto)) return null;
  try {
    const database = await openDB<KnownSchema>(DATABASE, VERSION, {
      upgrade: (created) => {
        created.createObjectStore('devices');
        created.createObjectStore('sessions');
        created.createObjectStore('wrapping');
      },
    });
    return new DatabaseDevices(database, await wrappingKey(database));
  } catch {
    return null;
  }
}

/** One key for all secrets of this browser, made on the first visit. */
async function wrappingKey(database: IDBPDatabase<KnownSchema>): Promise<CryptoKey> {
  const made = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt']);
  // Two tabs may open at once: whoever is first decides for both.
  const transaction = database.transaction('wrapping', 'readwrite');
  const first = await transaction.store.get('key');
  if (first === undefined) await transaction.store.put(made, 'key');
  await transaction.done;
  return first ?? made;
}

class DatabaseDevices implements KnownDevices {
  readonly durable = true;

  constructor(
    private readonly database: IDBPDatabase<KnownSchema>,
    private readonly wrapping: CryptoKey,
  ) {}

  async devices(): Promise<KnownDevice[]> {
    const found: KnownDevice[] = [];
    for (const [peer, stored] of await this.#all('devices')) {
      const { name, platform, key, policy, lastSeenMs } = stored;
      const secret = await this.#unwrap('device', peer, stored.secret);
      if (secret !== null) found.push({ peer, name, platform, pinned: new RememberedDevice(key, secret), policy, lastSeenMs });
    }
    return found.sort((one, other) => other.lastSeenMs - one.lastSeenMs);
  }

  async saveDevice({ peer, name, platform, pinned, policy, lastSeenMs }: KnownDevice): Promise<void> {
    const secret = await this.#wrap('device', peer, pinned.pairSecret);
    const stored = { name, platform, key: new Uint8Array(pinned.peerKey), secret, policy: { ...policy }, lastSeenMs };
    await this.database.put('devices', stored, peer);
    await this.#prune('devices', MAX_DEVICES, (one) => one.lastSeenMs);
  }

  async dropDevice(peer: PeerId): Promise<void> {
    await this.database.delete('devices', peer);
  }

  async sessions(nowMs: number): Promise<KeptSession[]> {
    const found: KeptSession[] = [];
    for (const [peer, stored] of await this.#all('sessions')) {
      const { name, platform, key, trust, savedAtMs } = stored;
      const good = savedAtMs <= nowMs && nowMs - savedAtMs < RESUME_MS;
      const secret = good ? await this.#unwrap('session', peer, stored.secret) : null;
      if (secret === null) await this.dropSession(peer);
      else found.push({ peer, name, platform, resume: new ResumeSecret(key, trust, secret), savedAtMs });
    }
    return found.sort((one, other) => other.savedAtMs - one.savedAtMs);
  }

  async saveSession({ peer, name, platform, resume, savedAtMs }: KeptSession): Promise<void> {
    const secret = await this.#wrap('session', peer, resume.psk);
    const stored = { name, platform, key: new Uint8Array(resume.peerKey), secret, trust: resume.trust, savedAtMs };
    await this.database.put('sessions', stored, peer);
    await this.#prune('sessions', MAX_SESSIONS, (one) => one.savedAtMs);
  }

  async dropSession(peer: PeerId): Promise<void> {
    await this.database.delete('sessions', peer);
  }

  async #all<Store extends 'devices' | 'sessions'>(store: Store): Promise<[PeerId, KnownSchema[Store]['value']][]> {
    const transaction = this.database.transaction(store);
    const [peers, values] = await Promise.all([transaction.store.getAllKeys(), transaction.store.getAll()]);
    return values.flatMap((value, at) => {
      const peer = peers[at];
      return peer === undefined ? [] : [[peer, value] satisfies [PeerId, KnownSchema[Store]['value']]];
    });
  }

  /** Keeps the `most` newest. */
  async #prune<Store extends 'devices' | 'sessions'>(
    store: Store,
    most: number,
    ageOf: (value: KnownSchema[Store]['value']) => number,
  ): Promise<void> {
    const all = await this.#all(store);
    const oldest = all.sort(([, one], [, other]) => ageOf(other) - ageOf(one)).slice(most);
    for (const [peer] of oldest) await this.database.delete(store, peer);
  }

  /** Tied to what it is and to whom it belongs, so that entries cannot be swapped. */
  async #wrap(what: 'device' | 'session', peer: PeerId, secret: Uint8Array): Promise<Sealed> {
    const iv = crypto.getRandomValues(new Uint8Array(12));
    const bytes = await crypto.subtle.encrypt(algorithm(iv, what, peer), this.wrapping, new Uint8Array(secret));
    return { iv, bytes };
  }

  async #unwrap(what: 'device' | 'session', peer: PeerId, { iv, bytes }: Sealed): Promise<Uint8Array | null> {
    try {
      const secret = new Uint8Array(await crypto.subtle.decrypt(algorithm(iv, what, peer), this.wrapping, bytes));
      return secret.length === 32 ? secret : null;
    } catch {
      return null;
    }
  }
}

function algorithm(iv: Uint8Array<ArrayBuffer>, what: string, peer: PeerId): AesGcmParams {
  return { name: 'AES-GCM', iv, additionalData: new TextEncoder().encode(`${what} ${peer}`) };
}

/** Forgets with the page; for tests. */
export class MemoryDevices implements KnownDevices {
  readonly durable: boolean = false;
  readonly #devices = new Map<PeerId, KnownDevice>();
  readonly #sessions = new Map<PeerId, KeptSession>();

  devices(): Promise<KnownDevice[]> {
    return Promise.resolve([...this.#devices.values()].map((device) => ({ ...device })));
  }

  saveDevice(device: KnownDevice): Promise<void> {
    this.#devices.set(device.peer, { ...device });
    return Promise.resolve();
  }

  dropDevice(peer: PeerId): Promise<void> {
    this.#devices.delete(peer);
    return Promise.resolve();
  }

  sessions(nowMs: number): Promise<KeptSession[]> {
    return Promise.resolve([...this.#sessions.values()].filter(({ savedAtMs }) => nowMs - savedAtMs < RESUME_MS));
  }

  saveSession(kept: KeptSession): Promise<void> {
    this.#sessions.set(kept.peer, kept);
    return Promise.resolve();
  }

  dropSession(peer: PeerId): Promise<void> {
    this.#sessions.delete(peer);
    return Promise.resolve();
  }
}
