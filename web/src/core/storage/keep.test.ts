import 'fake-indexeddb/auto';
import { IDBFactory } from 'fake-indexeddb';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { openKeep } from './keep';

let drawn = 0;
const generate = (): Uint8Array => {
  drawn += 1;
  return new Uint8Array(32).fill(drawn);
};

beforeEach(() => {
  drawn = 0;
  vi.stubGlobal('indexedDB', new IDBFactory());
});

afterEach(() => {
  vi.unstubAllGlobals();
});

test.each([true, false])('the key of the first visit is the key of the next (secure page: %s)', async (secure) => {
  vi.stubGlobal('isSecureContext', secure);
  const first = await (await openKeep()).secret(generate);
  const next = await (await openKeep()).secret(generate);
  expect(next).toEqual(first);
  expect(drawn).toBe(1);
});

test('on a secure page the key does not lie open in the database', async () => {
  vi.stubGlobal('isSecureContext', true);
  await (await openKeep()).secret(generate);
  const stored = await new Promise((resolve, reject) => {
    const request = indexedDB.open('lanyard');
    request.onsuccess = () => {
      const get = request.result.transaction('self').objectStore('self').get('secret');
      get.onsuccess = () => {
        resolve(get.result);
      };
      get.onerror = reject;
    };
    request.onerror = reject;
  });
  expect(stored).toHaveProperty('wrapped.key.extractable', false);
  expect(stored).not.toHaveProperty('secret');
});

test('two tabs that open at once agree on one key', async () => {
  const [one, other] = await Promise.all([openKeep(), openKeep()]);
  const [first, second] = await Promise.all([one.secret(generate), other.secret(generate)]);
  expect(second).toEqual(first);
});

test('the name is kept', async () => {
  expect(await (await openKeep()).name()).toBeNull();
  await (await openKeep()).setName('Amber Heron');
  expect(await (await openKeep()).name()).toBe('Amber Heron');
});

test('without a database the page still has a key and a name', async () => {
  vi.stubGlobal('indexedDB', undefined);
  const keep = await openKeep();
  await keep.setName('Violet Otter');
  expect(await keep.name()).toBe('Violet Otter');
  expect(await keep.secret(generate)).toEqual(await keep.secret(generate));
});
