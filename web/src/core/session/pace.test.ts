import { expect, test } from 'vitest';
import vectors from '../../../../crates/transfer/vectors/pace.json';
import { Pace } from './pace';

test('LK-46: a link is slow when little moves though more waits, as in Rust', () => {
  const pace = new Pace();
  for (const [ms, movedBytes, waits, slow] of vectors.looks) {
    expect(pace.handleLook(Number(ms), Number(movedBytes), waits === true), `at ${String(ms)} ms`).toBe(slow);
    expect(pace.pollTimeout() !== null).toBe(waits);
  }
});
