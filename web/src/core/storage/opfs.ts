/** Received files in the origin's private file system, written by one worker (FACTS §2). Secure pages only. */
import { OPFS_FOLDER, type OpfsReply, type OpfsRequest, type OpfsTask } from './opfs_messages';
import { SinkError, type PlacedEntry, type Sink } from './sink';

/** Left free, so that the browser itself goes on working. */
const SPARE_BYTES = 64 * 1024 * 1024;

/** Whether this page may use the private file system with synchronous writes. */
export function opfsAvailable(): boolean {
  return (
    globalThis.isSecureContext &&
    'storage' in navigator &&
    'getDirectory' in navigator.storage &&
    typeof FileSystemFileHandle !== 'undefined' &&
    'createSyncAccessHandle' in FileSystemFileHandle.prototype
  );
}

export class OpfsSink implements Sink {
  readonly storage = 'disk';
  readonly #worker: Worker;
  readonly #waiting = new Map<number, { resolve(): void; reject(error: SinkError): void }>();
  #next = 0;

  constructor(worker: Worker) {
    this.#worker = worker;
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

  place(transfer: string, { file, isFolder, sizeBytes }: PlacedEntry): Promise<void> {
    return isFolder ? Promise.resolve() : this.#ask({ op: 'place', transfer, file, sizeBytes });
  }

  async read(transfer: string, file: number): Promise<Blob> {
    try {
      const root = await navigator.storage.getDirectory();
      const folder = await (await root.getDirectoryHandle(OPFS_FOLDER)).getDirectoryHandle(transfer);
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
