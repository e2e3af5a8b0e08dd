// How two devices meet and become sure of each other. The Rust twin is `crates/pairing`; rules are numbered PA-n in
// `docs/protocol/pairing.md`.

export { fromBase64Url, toBase64Url } from './bytes';
export { Code, CodeError, type CodeErrorKind, MAX_CODE_BYTES } from './code';
export type { RandomBytes } from './entropy';
export { isHandshake, MAX_MESSAGE_BYTES, type Method, type Role } from './frame';
export { Identity, fingerprintOf, fingerprintText } from './identity';
export { Link, LinkError, type LinkErrorKind, LinkSecret, MAX_LINK_BYTES } from './link';
export { type MailboxId, hourAt } from './mailbox';
export { type Output, Pairing, type Self } from './pairing';
export { type AbortReason, PairingError, type PairingErrorKind } from './pairing-error';
export { PICTURES, type Picture, type PictureRow, type PictureRows, sameRow } from './pictures';
export type { Profile } from './profile';
export { RememberedDevice, ResumeSecret, type Trust } from './remembered';
export { OpenError, type OpenErrorKind, Opener, SEAL_OVERHEAD, Sealer } from './seal';
export { LaneError, type LaneFrame, LaneOpener, LaneSealer, NO_CERTIFICATE, laneSessionId } from './lane';
export { LaneKeys, Session } from './session';
export { WORDS, completeWord } from './words';
