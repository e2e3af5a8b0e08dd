import { expect, test } from 'vitest';
import { MemorySink } from './memory';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

test('pieces that came in any order are read in theirs', async () => {
  const sink = new MemorySink(100);
  await sink.open('t', 0, 6);
  await sink.write('t', 0, 3, text('def'));
  await sink.write('t', 0, 0, text('abc'));
  await sink.place('t', 0);
  expect(await (await sink.read('t', 0)).text()).toBe('abcdef');
});

test('what a caller does to its buffer later changes nothing', async () => {
  const sink = new MemorySink(100);
  await sink.open('t', 0, 3);
  const buffer = text('abc');
  await sink.write('t', 0, 0, buffer);
  buffer.fill(0);
  await sink.place('t', 0);
  expect(await (await sink.read('t', 0)).text()).toBe('abc');
});

test('a file with a hole is not placed', async () => {
  const sink = new MemorySink(100);
  await sink.open('t', 0, 6);
  await sink.write('t', 0, 3, text('def'));
  await expect(sink.place('t', 0)).rejects.toMatchObject({ failure: 'failed' });
});

test('an empty file needs no bytes', async () => {
  const sink = new MemorySink(100);
  await sink.place('t', 4);
  expect((await sink.read('t', 4)).size).toBe(0);
});

test('the limit counts what all transfers reserve, and removing one makes room', async () => {
  const sink = new MemorySink(100);
  await sink.open('one', 0, 60);
  await expect(sink.open('two', 0, 60)).rejects.toMatchObject({ failure: 'no_space' });
  expect(await sink.freeBytes()).toBe(40);
  await sink.remove('one');
  await sink.open('two', 0, 60);
  expect(await sink.freeBytes()).toBe(40);
});

test('bytes beyond the size are refused, and a file that shrinks drops what is beyond', async () => {
  const sink = new MemorySink(100);
  await sink.open('t', 0, 6);
  await expect(sink.write('t', 0, 4, text('xyz'))).rejects.toMatchObject({ failure: 'failed' });
  await sink.write('t', 0, 3, text('def'));
  await sink.open('t', 0, 3);
  await sink.write('t', 0, 0, text('abc'));
  await sink.place('t', 0);
  expect(await (await sink.read('t', 0)).text()).toBe('abc');
  expect(await sink.freeBytes()).toBe(97);
});

test('a file may be read only when it is whole, and goes with its transfer', async () => {
  const sink = new MemorySink(100);
  for (const file of [0, 1]) {
    await sink.open('t', file, 3);
    await sink.write('t', file, 0, text('abc'));
  }
  await expect(sink.read('t', 0)).rejects.toMatchObject({ failure: 'failed' });
  await sink.place('t', 0);
  expect(await (await sink.read('t', 0)).text()).toBe('abc');
  await sink.discard('t', [1]);
  await expect(sink.read('t', 1)).rejects.toMatchObject({ failure: 'failed' });
  expect(await sink.freeBytes()).toBe(97);
  await sink.remove('t');
  expect(await sink.freeBytes()).toBe(100);
});

test('a part is read back piece by piece', async () => {
  const sink = new MemorySink(100);
  await sink.open('t', 0, 6);
  await sink.write('t', 0, 3, text('def'));
  expect(new TextDecoder().decode(await sink.readPart('t', 0, 3, 3))).toBe('def');
  await expect(sink.readPart('t', 0, 0, 3)).rejects.toMatchObject({ failure: 'failed' });
  expect(await sink.transfers()).toEqual(['t']);
  expect([...(await sink.parts('t'))]).toEqual([[0, 6]]);
});
