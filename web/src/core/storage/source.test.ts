import { expect, test } from 'vitest';
import { BlobSource, UnreadableError } from './source';

const MIB = 1024 * 1024;

class CountingBlob extends Blob {
  slices = 0;

  override slice(start?: number, end?: number): Blob {
    this.slices += 1;
    return super.slice(start, end);
  }
}

test('neighbouring reads share one slab of the file', async () => {
  const bytes = Uint8Array.from({ length: 9 * MIB }, (_, at) => (at / MIB) & 0xff);
  const blob = new CountingBlob([bytes]);
  const source = new BlobSource(blob);
  for (let offset = 0; offset < bytes.length; offset += MIB) {
    expect((await source.read(offset, MIB))[0]).toBe(offset / MIB);
  }
  expect(blob.slices).toBe(3);
});

test('reads asked for at once do not fetch a slab twice', async () => {
  const blob = new CountingBlob([new Uint8Array(4 * MIB)]);
  const source = new BlobSource(blob);
  await Promise.all([0, 1, 2, 3].map((piece) => source.read(piece * MIB, MIB)));
  expect(blob.slices).toBe(1);
});

test('bytes past the end are never made up', async () => {
  const source = new BlobSource(new Blob(['abc']));
  await expect(source.read(1, 3)).rejects.toBeInstanceOf(UnreadableError);
  expect(await source.read(3, 0)).toHaveLength(0);
});

test('a file that vanished is unreadable, and later reads still answer', async () => {
  const blob = new Blob(['abc']);
  const gone = Object.assign(new Blob(['abc']), {
    slice: () => Object.assign(new Blob(), { arrayBuffer: () => Promise.reject(new DOMException('gone', 'NotReadableError')) }),
  });
  await expect(new BlobSource(gone).read(0, 3)).rejects.toBeInstanceOf(UnreadableError);
  expect(await new BlobSource(blob).read(0, 3)).toHaveLength(3);
});
