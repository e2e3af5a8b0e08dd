import 'fake-indexeddb/auto';
import { IDBFactory } from 'fake-indexeddb';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { RememberedDevice, ResumeSecret } from '../pairing';
import { RESUME_MS, peerIdOf, type KeptSession } from '../session/keeper';
import { MAX_DEVICES, openKnownDevices, type KnownDevice, type KnownDevices } from './known';

const NOW = 1_795_219_200_000;

function device(number: number, over: Partial<KnownDevice> = {}): KnownDevice {
  const key = new Uint8Array(32).fill(number);
  return {
    peer: peerIdOf(key),
    name: `Device ${String(number)}`,
    platform: 'phone',
    pinned: new RememberedDevice(key, new Uint8Array(32).fill(0xaa)),
    policy: { kind: 'ask' },
    lastSeenMs: NOW + number,
    ...over,
  };
}

function session(number: number, savedAtMs: number): KeptSession {
  const key = new Uint8Array(32).fill(number);
  return { peer: peerIdOf(key), name: 'Violet', platform: 'phone', resume: new ResumeSecret(key, 'scanned', new Uint8Array(32).fill(0xbb)), savedAtMs };
}

async function opened(): Promise<KnownDevices> {
  const known = await openKnownDevices();
  if (known === null) throw new Error('no store');
  return known;
}

/** Everything in a store, as it lies there. */
async function raw(store: string): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open('lanyard-known');
    request.onerror = reject;
    request.onsuccess = () => {
      const all = request.result.transaction(store).objectStore(store).getAll();
      all.onsuccess = () => {
        resolve(all.result);
      };
      all.onerror = reject;
    };
  });
}

beforeEach(() => {
  vi.stubGlobal('indexedDB', new IDBFactory());
  vi.stubGlobal('isSecureContext', true);
});

afterEach(() => {
  vi.unstubAllGlobals();
});

test('a remembered device is there on the next visit, with its policy', async () => {
  const remembered = device(1, { policy: { kind: 'accept_under', bytes: 2_000_000_000 } });
  await (await opened()).saveDevice(remembered);
  expect(await (await opened()).devices()).toEqual([remembered]);
});

test('a forgotten device is gone', async () => {
  const known = await opened();
  await known.saveDevice(device(1));
  await known.dropDevice(device(1).peer);
  expect(await (await opened()).devices()).toEqual([]);
});

test('on a page of plain http there is no store at all', async () => {
  vi.stubGlobal('isSecureContext', false);
  expect(await openKnownDevices()).toBeNull();
});

test('secrets do not lie open in the database, and the key that opens them cannot be read out', async () => {
  const known = await opened();
  await known.saveDevice(device(1));
  await known.saveSession(session(2, NOW));
  const bytes = (value: unknown): string =>
    value instanceof ArrayBuffer || ArrayBuffer.isView(value)
      ? Buffer.from(value instanceof ArrayBuffer ? value : value.buffer).toString('hex')
      : typeof value === 'object' && value !== null
        ? Object.values(value).map(bytes).join()
        : String(value);
  const stored = [...(await raw('devices')), ...(await raw('sessions'))].map(bytes).join();
  expect(stored).toContain('01'.repeat(32));
  expect(stored).not.toContain('aa'.repeat(8));
  expect(stored).not.toContain('bb'.repeat(8));
  const [key] = await raw('wrapping');
  expect(key).toMatchObject({ extractable: false });
});

test('an entry that was put in another one’s place does not open', async () => {
  const known = await opened();
  await known.saveDevice(device(1));
  await new Promise((resolve, reject) => {
    const request = indexedDB.open('lanyard-known');
    request.onerror = reject;
    request.onsuccess = () => {
      const store = request.result.transaction('devices', 'readwrite').objectStore('devices');
      const get = store.get(device(1).peer);
      get.onsuccess = () => {
        store.put(get.result, device(2).peer).onsuccess = resolve;
      };
    };
  });
  expect((await known.devices()).map(({ peer }) => peer)).toEqual([device(1).peer]);
});

test('a session is good for 24 hours, and then removed', async () => {
  const known = await opened();
  await known.saveSession(session(1, NOW));
  await known.saveSession(session(2, NOW + 1_000));
  expect((await known.sessions(NOW + RESUME_MS - 1)).map(({ savedAtMs }) => savedAtMs)).toEqual([NOW + 1_000, NOW]);
  expect((await known.sessions(NOW + RESUME_MS)).map(({ savedAtMs }) => savedAtMs)).toEqual([NOW + 1_000]);
  expect(await raw('sessions')).toHaveLength(1);
});

test('the trust of a session comes back with it', async () => {
  const known = await opened();
  await known.saveSession(session(1, NOW));
  expect((await known.sessions(NOW))[0]?.resume).toEqual(session(1, NOW).resume);
});

test(`beyond ${String(MAX_DEVICES)} devices the one that was away for longest is forgotten`, async () => {
  const known = await opened();
  for (let number = 0; number <= MAX_DEVICES; number += 1) await known.saveDevice(device(number));
  const names = (await known.devices()).map(({ name }) => name);
  expect(names).toHaveLength(MAX_DEVICES);
  expect(names).not.toContain('Device 0');
});
