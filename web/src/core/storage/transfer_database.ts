/** The ledger in IndexedDB: a row a transfer, and its journal in rows of their own, because it only grows. */
import { openDB, type DBSchema, type IDBPDatabase } from 'idb';
import type { KeptTransfer, TransferDatabase } from './ledger';

interface TransfersSchema extends DBSchema {
  transfers: { key: string; value: KeptTransfer };
  /** By transfer and position. */
  journal: { key: [string, number]; value: Uint8Array<ArrayBuffer> };
}

const DATABASE = 'lanyard-transfers';
const VERSION = 1;

/** `null` where the browser gives no database. */
export async function openTransferDatabase(): Promise<TransferDatabase | null> {
  try {
    return new IndexedTransfers(
      await openDB<TransfersSchema>(DATABASE, VERSION, {
        upgrade: (created) => {
          created.createObjectStore('transfers', { keyPath: 'id' });
          created.createObjectStore('journal');
        },
      }),
    );
  } catch {
    return null;
  }
}

class IndexedTransfers implements TransferDatabase {
  /** The position of the next row of a journal. */
  readonly #next = new Map<string, number>();

  constructor(private readonly database: IDBPDatabase<TransfersSchema>) {}

  async all(): Promise<{ kept: KeptTransfer; journal: Uint8Array[] }[]> {
    const transaction = this.database.transaction(['transfers', 'journal']);
    const found: { kept: KeptTransfer; journal: Uint8Array[] }[] = [];
    for (const kept of await transaction.objectStore('transfers').getAll()) {
      const rows = rowsOf(kept.id);
      const keys = await transaction.objectStore('journal').getAllKeys(rows);
      this.#next.set(kept.id, (keys.at(-1)?.[1] ?? -1) + 1);
      found.push({ kept, journal: await transaction.objectStore('journal').getAll(rows) });
    }
    return found;
  }

  async put(kept: KeptTransfer): Promise<void> {
    await this.database.put('transfers', kept);
  }

  async append(transfer: string, bytes: Uint8Array<ArrayBuffer>, durable: boolean): Promise<void> {
    const at = this.#next.get(transfer) ?? 0;
    this.#next.set(transfer, at + 1);
    const transaction = this.database.transaction('journal', 'readwrite', { durability: durable ? 'strict' : 'relaxed' });
    await Promise.all([transaction.store.put(bytes, [transfer, at]), transaction.done]);
  }

  async drop(transfer: string): Promise<void> {
    await Promise.all([this.database.delete('transfers', transfer), this.dropJournal(transfer)]);
  }

  async dropJournal(transfer: string): Promise<void> {
    await this.database.delete('journal', rowsOf(transfer));
  }
}

function rowsOf(transfer: string): IDBKeyRange {
  return IDBKeyRange.bound([transfer, 0], [transfer, Number.MAX_SAFE_INTEGER]);
}
