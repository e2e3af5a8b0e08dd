/** What the application takes from the browser it runs in. The only place besides `ui` that touches the document. */
import { blake3 } from '@noble/hashes/blake3.js';
import { systemClock } from './core/clock';
import { Identity } from './core/pairing';
import { LaneLink, laneSocketOpener } from './core/peer/lane';
import { WebRtcLink } from './core/peer/webrtc';
import { openKeep, type Keep } from './core/storage/keep';
import { openKnownDevices } from './core/storage/known';
import { Ledger } from './core/storage/ledger';
import { DESKTOP_LIMIT_BYTES, MemorySink, PHONE_LIMIT_BYTES } from './core/storage/memory';
import { OpfsSink, opfsAvailable } from './core/storage/opfs';
import { PickingSink } from './core/storage/picked';
import { reconcile } from './core/storage/reconcile';
import type { Sink } from './core/storage/sink';
import { WebLocks } from './core/storage/tab_lock';
import { openTransferDatabase } from './core/storage/transfer_database';
import { signalingUrl, webSocketOpener } from './core/signaling/socket';
import { BrowserExchange } from './core/session/browser_exchange';
import { loadPieceHasher } from './core/transfer/hash';
import { followToDownload, openExport } from './export';
import type { Environment } from './state/environment';
import { suggestName } from './state/names';
import { guessPlatform } from './state/platform';
import { browserTabs } from './state/tabs';
import { ownScript } from './trusted_types';
import storageWorkerUrl from './workers/opfs?worker&url';

const random = (length: number): Uint8Array<ArrayBuffer> => crypto.getRandomValues(new Uint8Array(length));

/** Reads what the page kept of itself, and finds out what this browser offers. */
export async function browserEnvironment(): Promise<Environment> {
  const platform = guessPlatform(navigator);
  const small = platform === 'phone' || platform === 'tablet';
  const memoryLimit = small ? PHONE_LIMIT_BYTES : DESKTOP_LIMIT_BYTES;
  // Each waits for a database, a worker or a compiler: side by side they take as long as the slowest.
  const [{ keep, identity, chosen }, hashPiece, { onDisk, ledger }, known] = await Promise.all([
    readKeep(),
    // Where WebAssembly is forbidden the slower hash gives the same values.
    loadPieceHasher().catch(() => (bytes: Uint8Array) => blake3(bytes)),
    openStorage(),
    openKnownDevices(),
  ]);
  const picking = onDisk === null ? null : new PickingSink(onDisk);
  const sink: Sink = picking ?? new MemorySink(memoryLimit);
  return {
    origin: `${location.origin}/`,
    platform,
    name: { text: chosen ?? suggestName(identity.publicKey[0] ?? 0), chosen: chosen !== null },
    identity,
    clock: systemClock,
    wallClock: () => Date.now(),
    random,
    openSocket: webSocketOpener(signalingUrl(location.origin)),
    openLink: ({ lane, ...options }) =>
      lane === null
        ? new WebRtcLink(options)
        : new LaneLink({ ...options, door: lane, open: laneSocketOpener(location.origin), clock: systemClock }),
    makeExchange: (events) => new BrowserExchange({ clock: systemClock, random, hashPiece, sink, ledger, events, small }),
    keep,
    known,
    tabs: browserTabs(),
    sink,
    ledger,
    hashPiece,
    pickPlace: picking === null ? null : placePicker(picking),
    receiveLimitBytes: onDisk === null ? memoryLimit : null,
    download: (href) => {
      followToDownload(href);
    },
    save: openExport(),
  };
}

interface SavePicker {
  showSaveFilePicker?(wish: { suggestedName: string }): Promise<FileSystemFileHandle>;
}

/** Chromium on desktops. */
function placePicker(sink: PickingSink): Environment['pickPlace'] {
  const browser: Window & SavePicker = window;
  if (browser.showSaveFilePicker === undefined) return null;
  return async (transfer, suggestedName) => {
    // Fails when the person closes it.
    const handle = await browser.showSaveFilePicker?.({ suggestedName }).catch(() => null);
    if (handle === null || handle === undefined) return false;
    sink.pick(transfer, handle);
    return true;
  };
}

async function readKeep(): Promise<{ keep: Keep; identity: Identity; chosen: string | null }> {
  const keep = await openKeep();
  const identity = Identity.fromSecretBytes(await keep.secret(() => Identity.generate(random).secretBytes()));
  return { keep, identity, chosen: await keep.name() };
}

/** With what earlier visits left, where files outlive the page. */
async function openStorage(): Promise<{ onDisk: Sink | null; ledger: Ledger }> {
  const onDisk = opfsAvailable() ? await OpfsSink.open(storageWorker()).catch(() => null) : null;
  const database = onDisk === null ? null : await openTransferDatabase();
  if (onDisk === null || database === null) return { onDisk, ledger: Ledger.inMemory() };
  const ledger = await Ledger.open(database, new WebLocks());
  await reconcile(ledger, onDisk, Date.now()).catch(() => undefined);
  return { onDisk, ledger };
}

function storageWorker(): Worker {
  return new Worker(ownScript(storageWorkerUrl), { type: 'module' });
}
