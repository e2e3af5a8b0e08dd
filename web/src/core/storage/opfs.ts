/** Received files in the origin's private file system, written by one worker (FACTS §2). Secure pages only. */
import { OPFS_FOLDER, type OpfsReply, type OpfsRequest, type OpfsTask } from './opfs_messages';
import { SinkError, type Sink } from './sink';

/** Left free, so that the browser itself goes on working. */
const SPARE_BYTES = 64 * 1024 * 1024;

/** Whether this page has a private file system at all. Only the worker can tell whether it may be written at once. */
export function opfsAvailable(): boolean {
  return globalThis.isSecureContext && 'storage' in navigator && 'getDirectory' in navigator.storage && 'locks' in navigator;
}

export class OpfsSink implements Sink {
  /**
   * `tab`: a name that no other tab has. What tabs left behind that are gone is removed. Throws `SinkError` where files
   * cannot be written synchronously.
   */
  static async open(worker: Worker, tab: string): Promise<OpfsSink> {
    await holdLock(tab);
    await sweep();
    const sink = new OpfsSink(worker, tab);
    await sink.#ask({ op: 'begin', folder: tab });
    return sink;
  }

  readonly storage = 'disk';
  readonly #worker: Worker;
  readonly #waiting = new Map<number, { resolve(): void; reject(error: SinkError): void }>();
  #next = 0;

  readonly #folder: string;

  private constructor(worker: Worker, folder: string) {
    this.#worker = worker;
    this.#folder = folder;
    worker.onmessage = ({ data }: MessageEvent<OpfsReply>) => {
      const waiting = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.failure === null) waiting?.resolve();
      else waiting?.reject(new SinkError(data.failure));
    };
    worker.onerror = () => {
      for (const { reject } of this.#waiting.values()) reject(new SinkError('failed'));
      this.#waiting.clear();
    };
  }

  open(transfer: string, file: number, sizeBytes: number): Promise<void> {
    return this.#ask({ op: 'open', transfer, file, sizeBytes });
  }

  write(transfer: string, file: number, offset: number, bytes: Uint8Array): Promise<void> {
    const owned = new Uint8Array(bytes);
    return this.#ask({ op: 'write', transfer, file, offset, bytes: owned }, [owned.buffer]);
  }

  sync(transfer: string, files: readonly number[]): Promise<void> {
    return this.#ask({ op: 'sync', transfer, files });
  }

  place(transfer: string, file: number): Promise<void> {
    return this.#ask({ op: 'place', transfer, file });
  }

  async read(transfer: string, file: number): Promise<Blob> {
    try {
      const root = await navigator.storage.getDirectory();
      const tab = await (await root.getDirectoryHandle(OPFS_FOLDER)).getDirectoryHandle(this.#folder);
      const folder = await tab.getDirectoryHandle(transfer);
      return await (await folder.getFileHandle(String(file))).getFile();
    } catch {
      throw new SinkError('failed');
    }
  }

  discard(transfer: string, files: readonly number[]): Promise<void> {
    return this.#ask({ op: 'discard', transfer, files });
  }

  forget(transfer: string): Promise<void> {
    return this.#ask({ op: 'forget', transfer });
  }

  remove(transfer: string): Promise<void> {
    return this.#ask({ op: 'remove', transfer });
  }

  async freeBytes(): Promise<number | null> {
    const { quota, usage } = await navigator.storage.estimate();
    return quota === undefined || usage === undefined ? null : Math.max(quota - usage - SPARE_BYTES, 0);
  }

  #ask(task: OpfsTask, transfer: Transferable[] = []): Promise<void> {
    const id = this.#next;
    this.#next += 1;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      const request: OpfsRequest = { id, task };
      this.#worker.postMessage(request, transfer);
    });
  }
}

/** Held for as long as the tab lives, so that others can tell a tab that is open from one that is gone. */
function holdLock(tab: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const forEver = new Promise<void>(() => undefined);
    navigator.locks
      .request(lockName(tab), () => {
        resolve();
        return forEver;
      })
      .catch(reject);
  });
}

async function sweep(): Promise<void> {
  const held = new Set((await navigator.locks.query()).held?.map(({ name }) => name));
  const root = await navigator.storage.getDirectory();
  const ours = await root.getDirectoryHandle(OPFS_FOLDER, { create: true });
  for await (const tab of ours.keys()) {
    if (!held.has(lockName(tab))) await ours.removeEntry(tab, { recursive: true }).catch(() => undefined);
  }
}

function lockName(tab: string): string {
  return `${OPFS_FOLDER}/${tab}`;
}
