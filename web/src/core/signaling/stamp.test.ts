import { expect, test } from 'vitest';

import { encodeBase64Url } from '../protocol/base64url';
import { findStamp } from './stamp';

test('the documented stamp is the first one', async () => {
  const device = encodeBase64Url(new Uint8Array(16).fill(7));
  expect(await findStamp(device, '48210', 12)).toBe(16_957);
});

test('others run while a stamp is looked for', async () => {
  let pauses = 0;
  await findStamp(encodeBase64Url(new Uint8Array(16).fill(7)), '48210', 12, () => {
    pauses += 1;
    return Promise.resolve();
  });
  expect(pauses).toBe(8);
});
