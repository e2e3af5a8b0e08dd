// What a device says of itself, encrypted inside the handshake (PA-11).

import { concat, utf8 } from './bytes';

/** Name, kind and abilities of a device. The text may come from the other device: set it as text, never as HTML. */
export interface Profile {
  /** What the person called the device; at most 128 bytes of UTF-8. */
  readonly name: string;
  /** The kind of device, such as `computer` or `phone`; at most 32 bytes. */
  readonly platform: string;
  /** What it can do, such as `webrtc`; at most 32 of 1 to 32 bytes each. Unknown ones are ignored. */
  readonly caps: readonly string[];
}

const NAME_BYTES = 128;
const PLATFORM_BYTES = 32;
const CAP_BYTES = 32;
const CAPS = 32;

/** @throws {RangeError} when a part is longer than allowed, or a cap empty. */
export function encodeProfile(profile: Profile): Uint8Array {
  if (profile.caps.length > CAPS) throw new RangeError('a profile has at most 32 caps');
  return concat(
    prefixed(profile.name, 0, NAME_BYTES),
    prefixed(profile.platform, 0, PLATFORM_BYTES),
    Uint8Array.of(profile.caps.length),
    ...profile.caps.map((cap) => prefixed(cap, 1, CAP_BYTES)),
  );
}

/** `undefined` when it can not be read. Bytes after the last cap belong to newer versions and are ignored. */
export function decodeProfile(bytes: Uint8Array): Profile | undefined {
  let offset = 0;
  const text = (least: number, most: number): string | undefined => {
    const length = bytes[offset];
    if (length === undefined || length < least || length > most) return undefined;
    const start = offset + 1;
    offset = start + length;
    return offset > bytes.length ? undefined : decodeUtf8(bytes.subarray(start, offset));
  };
  const name = text(0, NAME_BYTES);
  if (name === undefined) return undefined;
  const platform = text(0, PLATFORM_BYTES);
  if (platform === undefined) return undefined;
  const count = bytes[offset++];
  if (count === undefined || count > CAPS) return undefined;
  const caps: string[] = [];
  for (let index = 0; index < count; index++) {
    const cap = text(1, CAP_BYTES);
    if (cap === undefined) return undefined;
    caps.push(cap);
  }
  return { name, platform, caps };
}

function prefixed(text: string, least: number, most: number): Uint8Array {
  const bytes = utf8(text);
  if (bytes.length < least || bytes.length > most) throw new RangeError(`a text of ${least} to ${most} bytes`);
  return concat(Uint8Array.of(bytes.length), bytes);
}

function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    // Without `ignoreBOM` a leading U+FEFF would vanish here and not in Rust.
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
