/**
 * Writes received files into the origin's private file system. Most of a small file's time is spent waiting for the browser
 * to make it, so several are worked on at once: the tasks of one file come one after the other, and one that is about
 * several files comes after everything before it and before everything after it.
 */
import { ask } from '../core/storage/ask';
import { ourFolder } from '../core/storage/opfs_folder';
import type { OpfsReply, OpfsRequest, OpfsTask } from '../core/storage/opfs_messages';
import type { SinkFailure } from '../core/storage/sink';

/** Files kept open at once; the least recently used one is flushed and closed. */
const OPEN_FILES = 64;
/** Files worked on at once: so few that none of them is ever the least recently used one. */
const AT_ONCE = 16;

const open = new Map<string, FileSystemSyncAccessHandle>();
/** Folders of transfers, by name. */
const folders = new Map<string, Promise<FileSystemDirectoryHandle>>();
/** The last task that was about several files, and since then the last one of each file. */
let common: Promise<void> = Promise.resolve();
const last = new Map<string, Promise<void>>();
let atWork = 0;
const queue: (() => void)[] = [];

self.onmessage = ({ data }: MessageEvent<OpfsRequest>) => {
  const { task } = data;
  if ('file' in task) {
    const name = key(task.transfer, task.file);
    const done = (last.get(name) ?? common).then(() => inTurn(() => answer(data)));
    last.set(name, done);
    void done.then(() => {
      if (last.get(name) === done) last.delete(name);
    });
  } else {
    common = Promise.all([common, ...last.values()]).then(() => answer(data));
    last.clear();
  }
};

async function inTurn(step: () => Promise<void>): Promise<void> {
  if (atWork < AT_ONCE) atWork += 1;
  else await new Promise<void>((resolve) => queue.push(resolve));
  await step();
  // The place goes to whoever waits for it.
  const next = queue.shift();
  if (next === undefined) atWork -= 1;
  else next();
}

/** Never fails: what happened is told. */
async function answer({ id, task }: OpfsRequest): Promise<void> {
  let failure: SinkFailure | null = null;
  let bytes: Uint8Array<ArrayBuffer> | null = null;
  try {
    bytes = await carryOut(task);
  } catch (error) {
    failure = error instanceof DOMException && error.name === 'QuotaExceededError' ? 'no_space' : 'failed';
    // Somebody else may have removed it.
    if ('transfer' in task) folders.delete(task.transfer);
  }
  const reply: OpfsReply = { id, failure, bytes };
  self.postMessage(reply, bytes === null ? [] : [bytes.buffer]);
}

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
      const there = await ask(folder, (of) => of.getFileHandle(String(task.file))).catch(() => null);
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
      folders.delete(task.transfer);
      await ask(await ourFolder(), (of) => of.removeEntry(task.transfer, { recursive: true })).catch(() => undefined);
      break;
  }
  return null;
}

async function discard(transfer: string, files: readonly number[]): Promise<void> {
  if (files.length === 0) return;
  const folder = await transferFolder(transfer);
  for (const file of files) {
    close(key(transfer, file));
    await ask(folder, (of) => of.removeEntry(String(file))).catch(() => undefined);
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
  const made = await ask(folder, (of) => of.getFileHandle(String(file), { create: true }));
  const opened = await ask(made, (of) => of.createSyncAccessHandle());
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

function transferFolder(transfer: string): Promise<FileSystemDirectoryHandle> {
  const known = folders.get(transfer) ?? makeFolder(transfer);
  folders.set(transfer, known);
  return known;
}

async function makeFolder(transfer: string): Promise<FileSystemDirectoryHandle> {
  return ask(await ourFolder(), (of) => of.getDirectoryHandle(transfer, { create: true }));
}

function key(transfer: string, file: number): string {
  return `${transfer}/${String(file)}`;
}
