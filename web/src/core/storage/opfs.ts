/** Received files in the origin's private file system, written by one worker (FACTS §2). Secure pages only. */
import { ask } from './ask';
import { ourFolder } from './opfs_folder';
import type { OpfsReply, OpfsRequest, OpfsTask } from './opfs_messages';
import { SinkError, type Sink } from './sink';

/** Left free, so that the browser itself goes on working. */
const SPARE_BYTES = 64 * 1024 * 1024;
/** From here on the browser is asked not to clear it away. */
const PERSIST_BYTES = 1024 * 1024 * 1024;

/** Whether this page has a private file system at all. Only the worker can tell whether it may be written at once. */
export function opfsAvailable(): boolean {
  return globalThis.isSecureContext && 'storage' in navigator && 'getDirectory' in navigator.storage && 'locks' in navigator;
}

export class OpfsSink implements Sink {
  /** Throws `SinkError` where files cannot be written synchronously. */
  static async open(worker: Worker): Promise<OpfsSink> {
    const sink = new OpfsSink(worker);
    await sink.#ask({ op: 'begin' });
    return sink;
  }

  readonly storage = 'disk';
  readonly #worker: Worker;
  readonly #waiting = new Map<number, { resolve(bytes: Uint8Array | null): void; reject(error: SinkError): void }>();
  #next = 0;

  private constructor(worker: Worker) {
    this.#worker = worker;
    worker.onmessage = ({ data }: MessageEvent<OpfsReply>) => {
      const waiting = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.failure === null) waiting?.resolve(data.bytes);
      else waiting?.reject(new SinkError(data.failure));
    };
    worker.onerror = () => {
      for (const { reject } of this.#waiting.values()) reject(new SinkError('failed'));
      this.#waiting.clear();
    };
  }

  expect(totalBytes: number): void {
    if (totalBytes > PERSIST_BYTES && 'persist' in navigator.storage) void navigator.storage.persist().catch(() => false);
  }

  async open(transfer: string, file: number, sizeBytes: number): Promise<void> {
    await this.#ask({ op: 'open', transfer, file, sizeBytes });
  }

  async write(transfer: string, file: number, offset: number, bytes: Uint8Array): Promise<void> {
    const owned = new Uint8Array(bytes);
    await this.#ask({ op: 'write', transfer, file, offset, bytes: owned }, [owned.buffer]);
  }

  async sync(transfer: string, files: readonly number[]): Promise<void> {
    await this.#ask({ op: 'sync', transfer, files });
  }

  async readPart(transfer: string, file: number, offset: number, length: number): Promise<Uint8Array> {
    const bytes = await this.#ask({ op: 'read', transfer, file, offset, length });
    if (bytes === null) throw new SinkError('failed');
    return bytes;
  }

  async truncate(transfer: string, file: number, sizeBytes: number): Promise<void> {
    await this.#ask({ op: 'truncate', transfer, file, sizeBytes });
  }

  async place(transfer: string, file: number): Promise<void> {
    await this.#ask({ op: 'place', transfer, file });
  }

  async read(transfer: string, file: number): Promise<Blob> {
    try {
      const folder = await ask(await ourFolder(), (of) => of.getDirectoryHandle(transfer));
      const handle = await ask(folder, (of) => of.getFileHandle(String(file)));
      return await ask(handle, (of) => of.getFile());
    } catch {
      throw new SinkError('failed');
    }
  }

  async discard(transfer: string, files: readonly number[]): Promise<void> {
    await this.#ask({ op: 'discard', transfer, files });
  }

  async remove(transfer: string): Promise<void> {
    await this.#ask({ op: 'remove', transfer });
  }

  async transfers(): Promise<string[]> {
    return ask(await ourFolder(), async (of) => {
      const found: string[] = [];
      for await (const name of of.keys()) found.push(name);
      return found;
    });
  }

  async parts(transfer: string): Promise<ReadonlyMap<number, number>> {
    const found = new Map<number, number>();
    try {
      const folder = await ask(await ourFolder(), (of) => of.getDirectoryHandle(transfer));
      await ask(folder, async (of) => {
        for await (const [name, handle] of of.entries()) {
          if (handle instanceof FileSystemFileHandle) found.set(Number(name), (await ask(handle, (one) => one.getFile())).size);
        }
      });
    } catch {
      // Nothing is there.
    }
    return found;
  }

  async freeBytes(): Promise<number | null> {
    const { quota, usage } = await navigator.storage.estimate();
    return quota === undefined || usage === undefined ? null : Math.max(quota - usage - SPARE_BYTES, 0);
  }

  #ask(task: OpfsTask, transfer: Transferable[] = []): Promise<Uint8Array | null> {
    const id = this.#next;
    this.#next += 1;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      const request: OpfsRequest = { id, task };
      this.#worker.postMessage(request, transfer);
    });
  }
}
