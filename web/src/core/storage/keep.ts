/** What the page keeps of itself between visits: its key and its name. */
import { openDB, type DBSchema, type IDBPDatabase } from 'idb';

interface WrappedSecret {
  /** Never leaves the browser: made non-extractable. */
  key: CryptoKey;
  iv: Uint8Array<ArrayBuffer>;
  sealed: ArrayBuffer;
}

interface KeepSchema extends DBSchema {
  self: {
    key: string;
    value: { name: string } | { secret: Uint8Array<ArrayBuffer> } | { wrapped: WrappedSecret };
  };
}

const DATABASE = 'lanyard';
const VERSION = 1;
const SECRET_BYTES = 32;

export interface Keep {
  /** The device's secret key: 32 bytes, made by `generate` on the first visit. */
  secret(generate: () => Uint8Array): Promise<Uint8Array>;
  name(): Promise<string | null>;
  setName(name: string): Promise<void>;
}

/** Forgets with the page; for private windows without a database. */
export class MemoryKeep implements Keep {
  #secret: Uint8Array | null = null;
  #name: string | null = null;

  secret(generate: () => Uint8Array): Promise<Uint8Array> {
    this.#secret ??= generate();
    return Promise.resolve(this.#secret);
  }

  name(): Promise<string | null> {
    return Promise.resolve(this.#name);
  }

  setName(name: string): Promise<void> {
    this.#name = name;
    return Promise.resolve();
  }
}

class DatabaseKeep implements Keep {
  constructor(private readonly database: IDBPDatabase<KeepSchema>) {}

  async secret(generate: () => Uint8Array): Promise<Uint8Array> {
    const stored = await this.database.get('self', 'secret');
    const known = stored === undefined ? null : await unwrap(stored);
    if (known !== null) return known;
    const secret = new Uint8Array(generate());
    const entry = await wrap(secret);
    // Two tabs may open at once: whoever is first decides for both.
    const transaction = this.database.transaction('self', 'readwrite');
    const first = await transaction.store.get('secret');
    if (first === undefined || stored !== undefined) await transaction.store.put(entry, 'secret');
    await transaction.done;
    const kept = first === undefined || stored !== undefined ? null : await unwrap(first);
    return kept ?? secret;
  }

  async name(): Promise<string | null> {
    const stored = await this.database.get('self', 'name');
    return stored !== undefined && 'name' in stored ? stored.name : null;
  }

  async setName(name: string): Promise<void> {
    await this.database.put('self', { name }, 'name');
  }
}

/** The page's database, or memory where the browser gives none. */
export async function openKeep(): Promise<Keep> {
  try {
    const database = await openDB<KeepSchema>(DATABASE, VERSION, {
      upgrade: (created) => {
        created.createObjectStore('self');
      },
    });
    return new DatabaseKeep(database);
  } catch {
    return new MemoryKeep();
  }
}

type Stored = KeepSchema['self']['value'];

/** Wrapped by a key that scripts cannot read out, where the browser has WebCrypto (SAFETY §4 rule 7). */
async function wrap(secret: Uint8Array<ArrayBuffer>): Promise<Stored> {
  if (!webCrypto()) return { secret };
  const key = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt']);
  const iv = crypto.getRandomValues(new Uint8Array(12));
  return { wrapped: { key, iv, sealed: await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, key, secret) } };
}

async function unwrap(stored: Stored): Promise<Uint8Array | null> {
  let secret: Uint8Array | null = null;
  if ('secret' in stored) {
    ({ secret } = stored);
  } else if ('wrapped' in stored && webCrypto()) {
    const { key, iv, sealed } = stored.wrapped;
    try {
      secret = new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-GCM', iv }, key, sealed));
    } catch {
      secret = null;
    }
  }
  return secret?.length === SECRET_BYTES ? secret : null;
}

/** Absent on plain http, whatever the types say. */
function webCrypto(): boolean {
  return globalThis.isSecureContext && 'subtle' in crypto;
}
