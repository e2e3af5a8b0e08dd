import { expect, test } from 'vitest';
import { hrefOf } from './transfer_terms';

test.each([
  ['a b/ü.txt', '/s/CQkJCQkJCQkJCQkJCQkJCQ/a%20b/%C3%BC.txt'],
  ['100%/#1?.txt', '/s/CQkJCQkJCQkJCQkJCQkJCQ/100%25/%231%3F.txt'],
  // Nothing in a name leads out of the link.
  ['javascript:alert(1)', '/s/CQkJCQkJCQkJCQkJCQkJCQ/javascript%3Aalert(1)'],
  ['//elsewhere.example/x', '/s/CQkJCQkJCQkJCQkJCQkJCQ///elsewhere.example/x'],
])('a browser downloads %j below the link', (path, href) => {
  expect(hrefOf('/s/CQkJCQkJCQkJCQkJCQkJCQ/', path)).toBe(href);
  expect(new URL(href, 'http://192.168.1.5:53380/').host).toBe('192.168.1.5:53380');
});
