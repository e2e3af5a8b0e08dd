/** Hands received files to the browser's downloads (FACTS §2): by the service worker where that streams, else as a Blob. */
import { zipOf } from './core/storage/zip';
import { PING_MS, SAVE_PATH, type FromWorker, type SaveEntry, type ToWorker } from './sw/messages';
import { ownScript } from './trusted_types';

/** How long a saved file's address stays good: browsers read it after the click, some of them much later. */
const SAVED_URL_MS = 10 * 60_000;
/** A worker that is there answers sooner, and a browser that downloads from it asks for the first byte sooner. */
const ANSWER_MS = 5000;
/** Downloads end without a word to the page when the person stops them. */
const LONGEST_MS = 24 * 3_600_000;

export type Save = (name: string, entries: readonly SaveEntry[]) => Promise<void>;

/** Registers the service worker where there may be one. Several entries become one zip. */
export function openExport(): Save {
  const registered = streams() ? navigator.serviceWorker.register(ownScript('/sw.js'), { updateViaCache: 'none' }).then(() => true, () => false) : null;
  return async (name, entries) => {
    const worker = (await registered) === true ? await activeWorker() : null;
    if (worker !== null && (await saveThrough(worker, name, entries))) return;
    const [only] = entries;
    if (entries.length === 1 && only !== undefined && only.content !== null) saveBlob(name, only.content);
    else saveBlob(name, await zipOf(entries));
  };
}

/** WebKit reads files of the private file system by `blob:` addresses, and broke streams of workers more than once. */
function streams(): boolean {
  return globalThis.isSecureContext && 'serviceWorker' in navigator && !navigator.vendor.startsWith('Apple');
}

async function activeWorker(): Promise<ServiceWorker | null> {
  const late = new Promise<null>((resolve) => {
    setTimeout(resolve, ANSWER_MS, null);
  });
  const ready = await Promise.race([navigator.serviceWorker.ready, late]);
  return ready?.active ?? null;
}

/** Whether the browser began to download it. */
async function saveThrough(worker: ServiceWorker, name: string, entries: readonly SaveEntry[]): Promise<boolean> {
  const token = crypto.randomUUID();
  const { port1, port2 } = new MessageChannel();
  const words = listen(port1);
  post(worker, { kind: 'save', token, name, entries }, [port2]);
  if (!(await words.heard('ready'))) return false;
  // In a frame of its own: the page stays, and is not asked whether it may be left. No `download` attribute: with it the
  // request goes past the worker to the server (Chromium 156).
  const frame = document.createElement('iframe');
  frame.hidden = true;
  frame.src = SAVE_PATH + token;
  document.body.append(frame);
  const began = await words.heard('began');
  if (began) {
    const pings = setInterval(() => {
      post(worker, { kind: 'ping' });
    }, PING_MS);
    void words.heard('over', LONGEST_MS).then(() => {
      clearInterval(pings);
      setTimeout(() => {
        frame.remove();
      }, SAVED_URL_MS);
    });
  } else {
    frame.remove();
  }
  return began;
}

function post(worker: ServiceWorker, message: ToWorker, transfer: Transferable[] = []): void {
  worker.postMessage(message, transfer);
}

/** What came over a port, whenever it is asked for. */
function listen(port: MessagePort): { heard(word: FromWorker, withinMs?: number): Promise<boolean> } {
  const came = new Set<FromWorker>();
  const waiting = new Map<FromWorker, (heard: boolean) => void>();
  port.onmessage = ({ data }: MessageEvent<FromWorker>) => {
    came.add(data);
    waiting.get(data)?.(true);
  };
  return {
    heard: (word, withinMs = ANSWER_MS) =>
      new Promise((resolve) => {
        waiting.set(word, resolve);
        if (came.has(word)) resolve(true);
        else setTimeout(resolve, withinMs, false);
      }),
  };
}

/** Has the browser download an address of the server; `name`, unless the server says another. */
export function followToDownload(url: string, name = ''): void {
  const anchor = document.createElement('a');
  anchor.href = url;
  anchor.download = name;
  anchor.click();
}

/** Clicks a link to the content. */
function saveBlob(name: string, content: Blob): void {
  const url = URL.createObjectURL(content);
  followToDownload(url, name);
  setTimeout(() => {
    URL.revokeObjectURL(url);
  }, SAVED_URL_MS);
}
