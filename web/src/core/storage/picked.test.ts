import { expect, test } from 'vitest';
import { MemorySink } from './memory';
import { PickingSink } from './picked';

/** A file as the browser's picker gives it: content appears under the name when the stream is closed. */
class PickedFile {
  content: Uint8Array<ArrayBuffer> | null = null;
  aborted = false;
  #swap = new Uint8Array();

  // eslint-disable-next-line @typescript-eslint/consistent-type-assertions -- the rest of a handle is not used
  readonly handle = {
    createWritable: () =>
      Promise.resolve({
        truncate: (size: number) => {
          const before = this.#swap;
          this.#swap = new Uint8Array(size);
          this.#swap.set(before.subarray(0, size));
          return Promise.resolve();
        },
        write: ({ position, data }: { position: number; data: Uint8Array }) => {
          this.#swap.set(data, position);
          return Promise.resolve();
        },
        close: () => {
          this.content = this.#swap;
          return Promise.resolve();
        },
        abort: () => {
          this.aborted = true;
          return Promise.resolve();
        },
      }),
  } as unknown as FileSystemFileHandle;
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

test('a transfer with a place of its own is written there, in any order, and appears when it is whole', async () => {
  const sink = new PickingSink(new MemorySink(1));
  const picked = new PickedFile();
  sink.pick('t', picked.handle);
  await sink.open('t', 0, 6);
  await sink.write('t', 0, 3, text('def'));
  await sink.write('t', 0, 0, text('abc'));
  expect(picked.content).toBeNull();
  await sink.place('t', 0);
  expect(new TextDecoder().decode(picked.content ?? new Uint8Array())).toBe('abcdef');
});

test('what is given up leaves the chosen file as it was', async () => {
  const sink = new PickingSink(new MemorySink(1));
  const picked = new PickedFile();
  sink.pick('t', picked.handle);
  await sink.open('t', 0, 6);
  await sink.discard('t', [0]);
  expect(picked).toMatchObject({ content: null, aborted: true });
});

test('every other transfer goes to the sink below', async () => {
  const below = new MemorySink(100);
  const sink = new PickingSink(below);
  sink.pick('t', new PickedFile().handle);
  await sink.open('other', 0, 3);
  await sink.write('other', 0, 0, text('abc'));
  await sink.place('other', 0);
  expect(await (await below.read('other', 0)).text()).toBe('abc');
  await sink.remove('other');
  expect(await sink.transfers()).toEqual([]);
});
