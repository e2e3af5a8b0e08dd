import { describe, expect, it } from 'vitest';
import { formatBytes, formatPart, formatRate, percent } from './units';

const plain = (text: string) => text.replaceAll('\u00a0', ' ');

describe('formatBytes', () => {
  it.each([
    [0, '0 B'],
    [1, '1 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [3_100_000, '3.1 MB'],
    [9_949_999, '9.9 MB'],
    [9_960_000, '10 MB'],
    [612_400_000, '612 MB'],
    [999_600_000, '1.0 GB'],
    [1_800_000_000, '1.8 GB'],
    [Number.MAX_SAFE_INTEGER, '9.0 PB'],
  ])('%d bytes read %s', (bytes, text) => {
    expect(plain(formatBytes(bytes, 'en'))).toBe(text);
  });

  it('writes the decimal mark of the language', () => {
    expect(plain(formatBytes(1_200_000_000, 'de'))).toBe('1,2 GB');
  });
});

describe('formatRate', () => {
  it('adds the second to the unit', () => {
    expect(plain(formatRate(38_000_000, 'en'))).toBe('38 MB/s');
  });
});

describe('formatPart', () => {
  it('gives both figures in the unit of the total', () => {
    const { done, total } = formatPart(300_000_000, 3_600_000_000, 'en');
    expect([done, plain(total)]).toEqual(['0.3', '3.6 GB']);
  });
});

describe('percent', () => {
  it('says 100 only when nothing is left', () => {
    expect(percent(999_999, 1_000_000)).toBe(99);
    expect(percent(1_000_000, 1_000_000)).toBe(100);
  });

  it('takes an empty file as complete', () => {
    expect(percent(0, 0)).toBe(100);
  });
});
