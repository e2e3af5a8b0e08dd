// Where two devices meet: ids that the relay can not connect with the secret behind them.

import { fromBase64Url, toBase64Url, u64 } from './bytes';
import { deriveShort } from './kdf';

/** A mailbox at the signaling server: 16 bytes in base64url, 22 characters, as the signaling messages have it. */
export type MailboxId = string;

export function mailboxBytes(mailbox: MailboxId): Uint8Array {
  const bytes = fromBase64Url(mailbox);
  if (bytes?.length !== 16) throw new RangeError('a mailbox id is 16 bytes in base64url');
  return bytes;
}

export function linkMailbox(secret: Uint8Array): MailboxId {
  return toBase64Url(deriveShort('lanyard/1 mailbox', 16, secret));
}

/** The hour that holds this moment of the relay's clock (`welcome`), so that a wrong local clock does no harm. */
export function hourAt(unixMs: number): number {
  return Math.floor(unixMs / 3_600_000);
}

/**
 * Where two devices that share `secret` meet again: the mailboxes of the hour before, this one and the next. To others
 * they look random and new each hour (PA-7).
 */
export function mailboxesAround(secret: Uint8Array, hour: number): [MailboxId, MailboxId, MailboxId] {
  const again = (of: number): MailboxId => toBase64Url(deriveShort('lanyard/1 again', 16, secret, u64(of)));
  return [again(Math.max(0, hour - 1)), again(hour), again(hour + 1)];
}
