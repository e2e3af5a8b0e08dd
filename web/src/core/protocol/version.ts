/** The version this build speaks; the same as `crates/protocol/src/version.rs`. */
export const PROTOCOL_VERSION = 1;

/** The side that must be updated before the two can talk, or `null` when the versions fit. */
export function tooOld(theirs: number): 'them' | 'us' | null {
  if (theirs === PROTOCOL_VERSION) return null;
  return theirs < PROTOCOL_VERSION ? 'them' : 'us';
}
