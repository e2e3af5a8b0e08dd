/**
 * Hands received files to the browser's downloads as a stream, and opens the page when the server is out of reach.
 * Registered on secure pages only. Built into one script, `/sw.js`, whose version changes with any file of the page.
 */
/// <reference lib="webworker" />
import { downloadZip, predictLength } from 'client-zip';
import { PING_MS, SAVE_PATH, type FromWorker, type SaveEntry, type ToWorker } from './messages';

declare const self: ServiceWorkerGlobalScope;
/** Replaced by the build: every file of the page, and a hash over all of them. */
declare const LANYARD_FILES: readonly string[];
declare const LANYARD_VERSION: string;

const CACHES = 'lanyard-page-';
const CACHE = CACHES + LANYARD_VERSION;

interface Job {
  name: string;
  entries: readonly SaveEntry[];
  tell: (word: FromWorker) => void;
}

const jobs = new Map<string, Job>();

self.addEventListener('install', (event) => {
  event.waitUntil(
    caches
      .open(CACHE)
      .then((cache) => cache.addAll(LANYARD_FILES.map((file) => new Request(file, { cache: 'no-cache' }))))
      .then(() => self.skipWaiting()),
  );
});

self.addEventListener('activate', (event) => {
  event.waitUntil(
    caches
      .keys()
      .then((names) => Promise.all(names.filter((name) => name.startsWith(CACHES) && name !== CACHE).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener('message', (event) => {
  const message = event.data as ToWorker;
  switch (message.kind) {
    case 'save': {
      const [port] = event.ports;
      const tell = (word: FromWorker): void => {
        port?.postMessage(word);
      };
      jobs.set(message.token, { name: message.name, entries: message.entries, tell });
      tell('ready');
      break;
    }
    case 'ping':
      event.waitUntil(new Promise((resolve) => setTimeout(resolve, PING_MS)));
      break;
  }
});

self.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== 'GET' || url.origin !== self.location.origin) return;
  if (url.pathname.startsWith(SAVE_PATH)) event.respondWith(save(url.pathname.slice(SAVE_PATH.length)));
  else if (request.mode === 'navigate') event.respondWith(fetch(request).catch(() => kept('/')));
  // Named after their content, so the kept ones are the right ones.
  else if (url.pathname.startsWith('/assets/')) event.respondWith(kept(request).catch(() => fetch(request)));
});

async function kept(request: RequestInfo): Promise<Response> {
  const found = await (await caches.open(CACHE)).match(request);
  if (found === undefined) throw new Error('not kept');
  return found;
}

function save(token: string): Promise<Response> {
  const job = jobs.get(token);
  jobs.delete(token);
  if (job === undefined) return Promise.resolve(new Response('This download is over.', { status: 404 }));
  job.tell('began');
  const [only] = job.entries;
  const headers = {
    'content-type': 'application/octet-stream',
    'content-disposition': `attachment; filename*=UTF-8''${encodeURIComponent(job.name).replace(/['()*]/g, escaped)}`,
    'x-content-type-options': 'nosniff',
  };
  if (job.entries.length === 1 && only?.content instanceof Blob) {
    job.tell('over');
    return Promise.resolve(new Response(only.content, { headers: { ...headers, 'content-length': String(only.content.size) } }));
  }
  const sizes = job.entries.map(({ path, content }) => (content === null ? { name: `${path}/` } : { name: path, size: content.size }));
  const zip = downloadZip(job.entries.map(zipped)).body;
  const body = zip?.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      flush: () => {
        job.tell('over');
      },
    }),
  );
  const length = String(predictLength(sizes));
  return Promise.resolve(new Response(body ?? null, { headers: { ...headers, 'content-type': 'application/zip', 'content-length': length } }));
}

function zipped({ path, content }: SaveEntry): { name: string } | { name: string; input: Blob; size: number } {
  return content === null ? { name: `${path}/` } : { name: path, input: content, size: content.size };
}

function escaped(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
}
