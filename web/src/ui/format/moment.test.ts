import { expect, test } from 'vitest';
import { formatAgo } from './moment';

const NOW = 1_795_219_200_000;

test.each([
  [0, 'now'],
  [59, 'now'],
  [60, '1 minute ago'],
  [3_599, '59 minutes ago'],
  [7_200, '2 hours ago'],
  [86_400, 'yesterday'],
  [864_000, '10 days ago'],
  [-50, 'now'],
])('%i seconds ago is "%s"', (seconds, words) => {
  expect(formatAgo(NOW - seconds * 1000, NOW, 'en')).toBe(words);
});
