import { expect, test } from 'vitest';
import { cleanName, suggestName } from './names';

test('every byte gives another name', () => {
  expect(new Set(Array.from({ length: 256 }, (_, byte) => suggestName(byte))).size).toBe(256);
});

test('a name keeps to 64 bytes without cutting a character, and to one line', () => {
  expect(cleanName('  Kitchen\n laptop ')).toBe('Kitchen laptop');
  expect(cleanName('🦦'.repeat(20))).toBe('🦦'.repeat(16));
  expect(cleanName(' \t ')).toBeNull();
});
