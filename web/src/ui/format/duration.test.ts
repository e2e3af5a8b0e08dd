import { describe, expect, it } from 'vitest';
import { formatCountdown, formatDuration } from './duration';

const plain = (text: string) => text.replaceAll('\u00a0', ' ');

describe('formatDuration', () => {
  it.each([
    [0.2, '0 s'],
    [35, '35 s'],
    [59.4, '59 s'],
    [60, '1 min'],
    [240, '4 min'],
    [3599, '1 h'],
    [4200, '1 h 10 min'],
  ])('%d seconds read %s', (seconds, text) => {
    expect(plain(formatDuration(seconds))).toBe(text);
  });
});

describe('formatCountdown', () => {
  it.each([
    [0, '0:00'],
    [23.2, '0:24'],
    [60, '1:00'],
    [545, '9:05'],
    [-3, '0:00'],
  ])('%d seconds left read %s', (seconds, text) => {
    expect(formatCountdown(seconds)).toBe(text);
  });
});
