import { expect, test } from 'vitest';
import { Grant } from './credit';

const MIB = 1024 * 1024;

test('TR-32: nothing is due once there is nothing left to tell', () => {
  const grant = new Grant(8 * MIB);
  grant.poll(0);
  grant.receive(0, 100);
  expect(grant.pollTimeout()).not.toBeNull();
  grant.resize(0, 4 * MIB);
  expect(grant.poll(200)).toBeNull();
  expect(grant.pollTimeout()).toBeNull();
});
