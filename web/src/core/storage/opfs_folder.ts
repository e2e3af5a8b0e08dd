/** Where received files lie in the origin's private file system. */
import { ask } from './ask';

/** Each transfer has a folder of its own in it. */
const OPFS_FOLDER = 'lanyard-received';

export async function ourFolder(): Promise<FileSystemDirectoryHandle> {
  return ask(await navigator.storage.getDirectory(), (of) => of.getDirectoryHandle(OPFS_FOLDER, { create: true }));
}
