// Devices that meet again without a human: remembered ones, and sessions that lost their connection.

import { type MailboxId, mailboxesAround } from './mailbox';

/** How sure the two are of each other. There is no "unverified": without one of these no session exists. */
export type Trust = 'scanned' | 'code' | 'compared' | 'remembered';

/** A device whose key is pinned, and the secret that only the two share. Store both as carefully as the identity. */
export class RememberedDevice {
  constructor(
    readonly peerKey: Uint8Array,
    readonly pairSecret: Uint8Array,
  ) {
    if (peerKey.length !== 32 || pairSecret.length !== 32) throw new RangeError('key and secret have 32 bytes');
  }

  /** Where the two meet: the hour before, this hour, the next. Wait in all three. */
  mailboxes(hour: number): [MailboxId, MailboxId, MailboxId] {
    return mailboxesAround(this.pairSecret, hour);
  }
}

/** What brings one session back. Keep it for 24 hours at most. */
export class ResumeSecret {
  constructor(
    /** The key that the session had; another one is refused. */
    readonly peerKey: Uint8Array,
    /** The level that the session had, and has again when it is back. */
    readonly trust: Trust,
    readonly psk: Uint8Array,
  ) {
    if (peerKey.length !== 32 || psk.length !== 32) throw new RangeError('key and secret have 32 bytes');
  }

  /** Where the two meet when the relay no longer keeps their slots: the hour before, this hour, the next. */
  mailboxes(hour: number): [MailboxId, MailboxId, MailboxId] {
    return mailboxesAround(this.psk, hour);
  }
}
