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
  for (const item of transfer.items) {
    if (item.kind !== 'file') continue;
    const entry = item.webkitGetAsEntry();
    const file = entry === null ? item.getAsFile() : null;
    if (entry !== null) entries.push(entry);
    else if (file !== null) loose.push({ kind: 'file', path: file.name, file });
  }
  const read = await Promise.all(entries.map((entry) => itemsOfEntry(entry)));
  return [...loose, ...read.flat()];
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
