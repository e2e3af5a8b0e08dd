import { expect, test } from 'vitest';
import { assertNever } from './assert';

test('a variant that slipped past the compiler is named in the failure', () => {
  // @ts-expect-error a value the types say cannot be
  expect(() => assertNever({ type: 'later' })).toThrow('{"type":"later"}');
});
