/** What the page and its service worker say to each other. Both are ours, so nothing here is decoded. */

/** One entry of what is saved; `content` is `null` for an empty folder. */
export interface SaveEntry {
  /** `/` between parts. */
  path: string;
  content: Blob | null;
}

export type ToWorker =
  /** Answers come over the port that is sent along. */
  | { kind: 'save'; token: string; name: string; entries: readonly SaveEntry[] }
  /** A browser may end a worker that hears nothing for 30 s, and call a cut stream whole (FACTS §2). */
  | { kind: 'ping' };

/** `ready`: the address may be opened. `began`: the browser fetches it. `over`: nothing more will be read. */
export type FromWorker = 'ready' | 'began' | 'over';

/** Addresses below it never reach the server. */
export const SAVE_PATH = '/_save/';

export const PING_MS = 5000;
