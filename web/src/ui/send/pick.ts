import type { SendItem } from '../../state/model';

/** What a file field holds: files, or a folder with paths inside it (`webkitdirectory`). */
export function itemsFromField(files: FileList | null): SendItem[] {
  return Array.from(files ?? [], (file) => ({
    kind: 'file',
    // Empty for a file that was not picked with its folder.
    path: file.webkitRelativePath || file.name,
    file,
  }));
}

/**
 * What was dropped: files, whole folders, empty ones too.
 *
 * Call it inside the event: the browser empties the transfer when the handler returns. A folder that cannot be read
 * is left out.
 */
export async function itemsFromDrop(transfer: DataTransfer): Promise<SendItem[]> {
  const entries: FileSystemEntry[] = [];
  const loose: SendItem[] = [];
  const handles = new Map<FileSystemEntry, Promise<FileSystemFileHandle | null>>();
  for (const item of transfer.items) {
    if (item.kind !== 'file') continue;
    const handle = handleOf(item);
    const entry = item.webkitGetAsEntry();
    const file = entry === null ? item.getAsFile() : null;
    if (entry !== null) {
      entries.push(entry);
      handles.set(entry, handle);
    }
    else if (file !== null) loose.push({ kind: 'file', path: file.name, file });
  }
  const read = await Promise.all(
    entries.map(async (entry) => withHandle(await itemsOfEntry(entry), (await handles.get(entry)) ?? null)),
  );
  return [...loose, ...read.flat()];
}

interface DroppedItem extends DataTransferItem {
  getAsFileSystemHandle?(): Promise<FileSystemHandle | null>;
}

/** Chromium: a way back to the file after a reload. */
async function handleOf(item: DroppedItem): Promise<FileSystemFileHandle | null> {
  const handle = (await item.getAsFileSystemHandle?.().catch(() => null)) ?? null;
  return handle?.kind === 'file' ? (handle as FileSystemFileHandle) : null;
}

function withHandle(items: SendItem[], handle: FileSystemFileHandle | null): SendItem[] {
  return handle === null ? items : items.map((item) => (item.kind === 'file' ? { ...item, handle } : item));
}

interface OpenPicker {
  showOpenFilePicker?(wish: { multiple: boolean }): Promise<FileSystemFileHandle[]>;
}

/** How soon no person can have closed a picker: then it was never shown. */
const SHOWN_MS = 250;

/**
 * Files by the browser's own picker, which gives a way back to them after a reload. `null` where there is none, or where
 * it was not shown: the field does it then. Chromium on desktops; on phones the field leads to the photos.
 */
export async function itemsFromPicker(): Promise<SendItem[] | null> {
  const browser: Window & OpenPicker = window;
  if (browser.showOpenFilePicker === undefined || !matchMedia('(pointer: fine)').matches) return null;
  const asked = performance.now();
  try {
    const handles = await browser.showOpenFilePicker({ multiple: true });
    return await Promise.all(
      handles.map(async (handle): Promise<SendItem> => ({ kind: 'file', path: handle.name, file: await handle.getFile(), handle })),
    );
  } catch {
    return performance.now() - asked < SHOWN_MS ? null : [];
  }
}

/** Whether what hovers or was pasted has files in it. */
export function hasFiles(transfer: DataTransfer | null): boolean {
  return transfer?.types.includes('Files') ?? false;
}

/** Phones without a folder picker do not have the property. */
export function canPickFolders(): boolean {
  return 'webkitdirectory' in HTMLInputElement.prototype;
}

async function itemsOfEntry(entry: FileSystemEntry): Promise<SendItem[]> {
  const path = entry.fullPath.replace(/^\//, '');
  if (isFile(entry)) {
    const file = await fileOf(entry);
    return file === null ? [] : [{ kind: 'file', path, file }];
  }
  if (!isFolder(entry)) return [];
  const children = await childrenOf(entry);
  if (children.length === 0) return [{ kind: 'folder', path }];
  const items: SendItem[] = [];
  // One folder after the other: a tree of thousands must not open them all at once.
  for (const child of children) items.push(...(await itemsOfEntry(child)));
  return items;
}

function isFile(entry: FileSystemEntry): entry is FileSystemFileEntry {
  return entry.isFile;
}

function isFolder(entry: FileSystemEntry): entry is FileSystemDirectoryEntry {
  return entry.isDirectory;
}

function fileOf(entry: FileSystemFileEntry): Promise<File | null> {
  return new Promise((resolve) => {
    entry.file(resolve, () => {
      resolve(null);
    });
  });
}

/** Chromium gives at most 100 entries a call; an empty answer ends the list. */
async function childrenOf(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const children: FileSystemEntry[] = [];
  for (;;) {
    const batch = await new Promise<FileSystemEntry[]>((resolve) => {
      reader.readEntries(resolve, () => {
        resolve([]);
      });
    });
    if (batch.length === 0) return children;
    children.push(...batch);
  }
}
