import { expect, test } from 'vitest';
import { decodeBase64Url, encodeBase64Url } from './base64url';
import { DecodeError } from './decode';
import { decodeServerMessage } from './signaling';

const ID = 'A'.repeat(22);

test('base64url of every length comes back as it was', () => {
  for (let length = 0; length < 70; length += 1) {
    const bytes = Uint8Array.from({ length }, (_, at) => (at * 37 + length) & 0xff);
    const text = encodeBase64Url(bytes);
    expect(text).toMatch(/^[A-Za-z0-9_-]*$/);
    expect(decodeBase64Url(text)).toEqual(bytes);
  }
});

test('every last letter that carries stray bits is refused', () => {
  const accepted = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'].filter(
    (last) => decodeBase64Url(`A${last}`) !== null,
  );
  expect(accepted).toEqual(['A', 'Q', 'g', 'w']);
});

test('a field of the prototype is not a field of the message', () => {
  expect(() => decodeServerMessage('{"type":"ring","__proto__":{"mailbox":"x"}}')).toThrow('mailbox: missing');
});

test('a failure names the field and never its value', () => {
  const secret = 'do-not-show-this';
  try {
    decodeServerMessage(JSON.stringify({ type: 'nearby', devices: [{ device: ID, name: 'x', platform: secret, source: 'mdns' }] }));
    expect.unreachable();
  } catch (error) {
    expect(error).toBeInstanceOf(DecodeError);
    expect(String(error)).toContain('devices[0].platform');
    expect(String(error)).not.toContain(secret);
  }
});

test('names without letters, names beyond 64 bytes and lists beyond 256 devices are refused', () => {
  const listed = (name: string, count = 1): string =>
    JSON.stringify({
      type: 'nearby',
      devices: Array.from({ length: count }, () => ({ device: ID, name, platform: 'phone', source: 'linked' })),
    });
  expect(() => decodeServerMessage(listed('é'.repeat(32)))).not.toThrow();
  expect(() => decodeServerMessage(listed('é'.repeat(33)))).toThrow('devices[0].name');
  expect(() => decodeServerMessage(listed(''))).toThrow('devices[0].name: empty');
  expect(() => decodeServerMessage(listed('x', 256))).not.toThrow();
  expect(() => decodeServerMessage(listed('x', 257))).toThrow('more than 256');
});
