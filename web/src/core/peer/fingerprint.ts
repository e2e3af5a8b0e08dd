const SHA256_LINE = /^a=fingerprint:sha-256 ((?:[0-9a-f]{2}:){31}[0-9a-f]{2})\s*$/im;

/** The 32 bytes behind `ab:cd:…`, or `null` when it is no SHA-256. */
export function parseFingerprint(text: string): Uint8Array | null {
  const pairs = text.split(':');
  if (pairs.length !== 32 || !pairs.every((pair) => /^[0-9a-f]{2}$/i.test(pair))) return null;
  return Uint8Array.from(pairs, (pair) => Number.parseInt(pair, 16));
}

/** The certificate that a session description names (RFC 8122 §5), or `null` when it names none or several. */
export function fingerprintOfDescription(sdp: string): Uint8Array | null {
  const found = new Set(
    sdp
      .split(/\r\n|\n/)
      .map((line) => SHA256_LINE.exec(line)?.[1]?.toLowerCase())
      .filter((value) => value !== undefined),
  );
  const [only, ...others] = found;
  return only === undefined || others.length > 0 ? null : parseFingerprint(only);
}
