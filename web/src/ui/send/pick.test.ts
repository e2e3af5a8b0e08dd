// @vitest-environment jsdom
import { describe, expect, it } from 'vitest';
import { itemsFromDrop } from './pick';

type Tree = File | { [name: string]: Tree };

function entry(name: string, tree: Tree, parent = ''): unknown {
  const fullPath = `${parent}/${name}`;
  if (tree instanceof File) {
    return { isFile: true, isDirectory: false, name, fullPath, file: (done: (file: File) => void) => done(tree) };
  }
  return {
    isFile: false,
    isDirectory: true,
    name,
    fullPath,
    createReader: () => {
      // As Chromium: a part of the list a call, then an empty one.
      const rest = Object.entries(tree).map(([child, below]) => entry(child, below, fullPath));
      return { readEntries: (done: (batch: unknown[]) => void) => done(rest.splice(0, 2)) };
    },
  };
}

function dropped(trees: Record<string, Tree>): DataTransfer {
  const items = Object.entries(trees).map(([name, tree]) => ({ kind: 'file', webkitGetAsEntry: () => entry(name, tree) }));
  return Object.assign(Object.create(null) as DataTransfer, { items });
}

describe('itemsFromDrop', () => {
  it('walks folders past the first batch and keeps empty files and empty folders', async () => {
    const file = (name: string, text = name) => new File([text], name);
    const items = await itemsFromDrop(
      dropped({
        'letter.txt': file('letter.txt'),
        trip: { 'a.jpg': file('a.jpg'), 'b.jpg': file('b.jpg'), 'empty.txt': file('empty.txt', ''), nothing: {}, deep: { 'ü.txt': file('ü.txt') } },
      }),
    );
    expect(items.map(({ kind, path }) => [kind, path])).toEqual([
      ['file', 'letter.txt'],
      ['file', 'trip/a.jpg'],
      ['file', 'trip/b.jpg'],
      ['file', 'trip/empty.txt'],
      ['folder', 'trip/nothing'],
      ['file', 'trip/deep/ü.txt'],
    ]);
  });
});
