/** The same vectors that `crates/transfer/tests/vectors.rs` reads. */
import { bytesToHex, hexToBytes } from '@noble/hashes/utils.js';
import { describe, expect, test } from 'vitest';
import names from '../../../../crates/transfer/vectors/names.json';
import values from '../../../../crates/transfer/vectors/values.json';
import { decodeEntry } from '../protocol/control';
import { Fields } from '../protocol/decode';
import type { ManifestEntry } from '../protocol/generated/ManifestEntry';
import { display } from './display';
import { fileRoot, loadPieceHasher } from './hash';
import { JournalError, Kept, crc32 } from './journal';
import { Manifest, ManifestError } from './manifest';
import { PathError, SafePath } from './name';

const entriesOf = (entries: unknown): ManifestEntry[] => new Fields({ entries }).list('entries', 100, decodeEntry);

function problemOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof PathError || error instanceof ManifestError) return error.problem;
  }
  return 'none';
}

describe('a name', () => {
  test.each(names.safe)('is made safe: $offered', ({ offered, path }) => {
    expect(SafePath.parse(offered).text).toBe(path);
  });

  test.each(names.refused)('is refused: $offered', ({ offered, problem }) => {
    expect(problemOf(() => SafePath.parse(offered))).toBe(problem);
  });
});

test.each(names.shown)('a text is shown: $shown', ({ text, shown }) => {
  expect(display(text)).toBe(shown);
  expect(display(shown)).toBe(shown);
});

test('manifests are taken and refused', () => {
  for (const entries of names.manifests) expect(problemOf(() => Manifest.of(entriesOf(entries)))).toBe('none');
  for (const { entries, problem } of names.refused_manifests) {
    expect(problemOf(() => Manifest.of(entriesOf(entries))), JSON.stringify(entries)).toBe(problem);
  }
});

test('pieces and files are hashed', async () => {
  const pieceHash = await loadPieceHasher();
  for (const { len, hash } of values.hashes) {
    expect(bytesToHex(pieceHash(Uint8Array.from({ length: len }, (_, at) => at % 251)))).toBe(hash);
  }
  for (const { size_bytes, pieces, root } of values.roots) {
    expect(bytesToHex(fileRoot(size_bytes, pieces.map(hexToBytes)))).toBe(root);
  }
});

test('CRC-32 is the one of IEEE 802.3', () => {
  expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf4_3926);
});

describe('a journal', () => {
  const journal = hexToBytes(values.journal.hex);
  const head = 8 + JSON.stringify(values.journal.records[0]).length;
  const manifestEnd = head + 8 + JSON.stringify(values.journal.records[1]).length;

  test('is read whole', () => {
    const kept = Kept.read(journal);
    expect(kept.intactBytes).toBe(journal.length);
    expect([...(kept.files.get(0)?.pieces.keys() ?? [])]).toEqual([0]);
    expect(kept.files.get(0)?.restated).toEqual({ sizeBytes: 3_145_728, modifiedMs: null });
    expect(kept.files.get(1)?.fate).toEqual({ kind: 'placed' });
    expect(kept.files.get(2)?.fate).toEqual({ kind: 'failed', reason: 'cancelled' });
    expect(kept.parts()).toEqual([0]);
  });

  test('is read up to where it was torn', () => {
    for (let cut = 0; cut < journal.length; cut += 1) {
      const read = (): Kept => Kept.read(journal.subarray(0, cut));
      if (cut < manifestEnd) expect(read).toThrow(JournalError);
      else expect(read().intactBytes).toBeLessThanOrEqual(cut);
    }
  });

  test('with a flipped bit is read only up to it', () => {
    for (let at = manifestEnd; at < journal.length; at += 1) {
      const damaged = journal.slice();
      damaged[at] = (damaged[at] ?? 0) ^ (1 << at % 8);
      expect(Kept.read(damaged).intactBytes).toBeLessThanOrEqual(at);
    }
  });
});
