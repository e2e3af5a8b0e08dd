/** Writes received files into the origin's private file system, one task after the other. */
import { OPFS_FOLDER, type OpfsReply, type OpfsRequest, type OpfsTask } from '../core/storage/opfs_messages';
import type { SinkFailure } from '../core/storage/sink';

/** Files kept open at once; the least recently used one is flushed and closed. */
const OPEN_FILES = 32;

const open = new Map<string, FileSystemSyncAccessHandle>();
let work: Promise<void> = Promise.resolve();

self.onmessage = ({ data }: MessageEvent<OpfsRequest>) => {
  work = work.then(async () => {
    let failure: SinkFailure | null = null;
    let bytes: Uint8Array<ArrayBuffer> | null = null;
    try {
      bytes = await carryOut(data.task);
    } catch (error) {
      failure = error instanceof DOMException && error.name === 'QuotaExceededError' ? 'no_space' : 'failed';
    }
    const reply: OpfsReply = { id: data.id, failure, bytes };
    self.postMessage(reply, bytes === null ? [] : [bytes.buffer]);
  });
};

async function carryOut(task: OpfsTask): Promise<Uint8Array<ArrayBuffer> | null> {
  switch (task.op) {
    case 'begin':
      // Exposed in workers only, and not in every browser that has the rest.
      if (!('createSyncAccessHandle' in FileSystemFileHandle.prototype)) throw new Error('no synchronous access');
      break;
    case 'open':
      (await handle(task.transfer, task.file)).truncate(task.sizeBytes);
      break;
    case 'write': {
      const file = await handle(task.transfer, task.file);
      for (let at = 0; at < task.bytes.length; ) {
        const written = file.write(task.bytes.subarray(at), { at: task.offset + at });
        if (written === 0) throw new DOMException('nothing was written', 'QuotaExceededError');
        at += written;
      }
      break;
    }
    case 'sync':
      for (const file of task.files) open.get(key(task.transfer, file))?.flush();
      break;
    case 'read': {
      const bytes = new Uint8Array(task.length);
      const read = (await handle(task.transfer, task.file)).read(bytes, { at: task.offset });
      if (read !== task.length) throw new Error('the file is shorter');
      return bytes;
    }
    case 'truncate': {
      const folder = await transferFolder(task.transfer);
      const there = await folder.getFileHandle(String(task.file)).catch(() => null);
      if (there === null) break;
      const file = await handle(task.transfer, task.file);
      if (file.getSize() > task.sizeBytes) file.truncate(task.sizeBytes);
      close(key(task.transfer, task.file));
      break;
    }
    case 'place':
      // An empty file was never written to.
      await handle(task.transfer, task.file);
      close(key(task.transfer, task.file));
      break;
    case 'discard':
      await discard(task.transfer, task.files);
      break;
    case 'remove':
      for (const name of [...open.keys()].filter((one) => one.startsWith(`${task.transfer}/`))) close(name);
      await (await ourFolder()).removeEntry(task.transfer, { recursive: true }).catch(() => undefined);
      break;
  }
  return null;
}

async function discard(transfer: string, files: readonly number[]): Promise<void> {
  if (files.length === 0) return;
  const folder = await transferFolder(transfer);
  for (const file of files) {
    close(key(transfer, file));
    await folder.removeEntry(String(file)).catch(() => undefined);
  }
}

async function handle(transfer: string, file: number): Promise<FileSystemSyncAccessHandle> {
  const name = key(transfer, file);
  const known = open.get(name);
  if (known !== undefined) {
    // Last in, last closed.
    open.delete(name);
    open.set(name, known);
    return known;
  }
  const folder = await transferFolder(transfer);
  const opened = await (await folder.getFileHandle(String(file), { create: true })).createSyncAccessHandle();
  const [oldest] = open.keys();
  if (oldest !== undefined && open.size >= OPEN_FILES) close(oldest);
  open.set(name, opened);
  return opened;
}

function close(name: string): void {
  const file = open.get(name);
  open.delete(name);
  file?.flush();
  file?.close();
}

async function ourFolder(): Promise<FileSystemDirectoryHandle> {
  return (await navigator.storage.getDirectory()).getDirectoryHandle(OPFS_FOLDER, { create: true });
}

async function transferFolder(transfer: string): Promise<FileSystemDirectoryHandle> {
  return (await ourFolder()).getDirectoryHandle(transfer, { create: true });
}

function key(transfer: string, file: number): string {
  return `${transfer}/${String(file)}`;
}
