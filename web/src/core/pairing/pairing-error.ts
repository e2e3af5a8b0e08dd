// What can go wrong while two devices meet, in words for people and names for programs.

/** The names are those of Rust's `PairingError::name`. */
export type PairingErrorKind =
  | 'too_long'
  | 'malformed'
  | 'newer_version'
  | 'older_version'
  | 'wrong_method'
  | 'wrong_role'
  | 'reflected'
  | 'wrong_sender'
  | 'replayed'
  | 'out_of_step'
  | 'equal_ephemerals'
  | 'equal_statics'
  | 'weak_key'
  | 'wrong_code'
  | 'wrong_secret'
  | 'too_many_wrong_tries'
  | 'tampered'
  | 'wrong_shower'
  | 'key_changed'
  | 'commitment_broken'
  | 'wrong_pictures'
  | 'pictures_differ'
  | 'bad_profile'
  | 'cancelled'
  | 'crowded'
  | 'peer_stopped';

const TEXT: Record<PairingErrorKind, string> = {
  too_long: 'a message longer than 4096 bytes came: the other side is no Lanyard device',
  malformed: 'a message could not be read: the other side is no Lanyard device, or the message was damaged',
  newer_version: 'the other device runs a newer Lanyard: update this one, then try again',
  older_version: 'the other device runs an older Lanyard: update it, then try again',
  wrong_method: 'the other device tries to meet in another way than this one: start again on both',
  wrong_role: 'the other device plays the same part as this one: start again, one shows and one opens',
  reflected: 'our own message came back to us: somebody between the devices interferes, start again',
  wrong_sender: 'a message came under the number of a side that is not there: the server interferes, start again',
  replayed: 'a message came twice: it was ignored',
  out_of_step: 'a message came out of turn: start again',
  equal_ephemerals: 'the other side uses our own one-time key: somebody between the devices interferes, start again',
  equal_statics: "the other device has this device's own key: if it is a copy of this one, reset its identity",
  weak_key: 'the other side sent a key that protects nothing: somebody interferes, start again',
  wrong_code: 'the code was wrong, or somebody else tried it: it is used up, make a new code',
  wrong_secret: 
    'the other device does not know the secret of this link or pairing: scan the link again, or pair the two anew',
  too_many_wrong_tries: 'five wrong attempts were made on this link: it is closed, make a new one',
  tampered: 'a message was changed on its way: somebody between the devices interferes, start again',
  wrong_shower:
    'somebody else answered in place of the device that showed this link: do not go on, ask for a new link',
  key_changed:
    'this device has another key than the one you remembered: forget it and pair again only if you know why',
  commitment_broken:
    'the other side changed its mind about the pictures: somebody between the devices interferes, start again',
  wrong_pictures: 'these are not the pictures of the other screen: nothing was accepted, start again',
  pictures_differ: 'the pictures differ: nothing was accepted, start again',
  bad_profile: "the device's name or abilities can not be read: update both devices",
  cancelled: 'the meeting was ended on this device',
  crowded: 'a third device tried to join, so both stopped: make a new code',
  peer_stopped: 'the other device stopped',
};

/** What an abort message says. It is not authenticated, so it explains and proves nothing. */
export type AbortReason =
  | 'wrong_code'
  | 'wrong_secret'
  | 'protocol'
  | 'pictures'
  | 'key'
  | 'version'
  | 'crowded'
  | 'cancelled'
  | 'closed';

/** The byte of a reason is its place here plus one. */
const REASONS: readonly (readonly [AbortReason, string])[] = [
  ['wrong_code', 'the code was wrong, or somebody else tried it; it is used up, make a new code'],
  ['wrong_secret', 'it has another secret for this link or pairing; scan the link again, or pair the two anew'],
  ['protocol', 'it could not follow our messages; start again'],
  ['pictures', 'the pictures were not the same; nothing was accepted, start again'],
  ['key', 'it expected another device in our place; do not go on before you know why'],
  ['version', 'the two run different versions of Lanyard; update the older one'],
  ['crowded', 'a third device tried to join; make a new code'],
  ['cancelled', 'its user ended the meeting'],
  ['closed', 'the link was closed after wrong attempts; ask for a new one'],
];

/** Why a meeting failed. The message says what happened and what to do next. */
export class PairingError extends Error {
  override readonly name = 'PairingError';

  constructor(
    readonly kind: PairingErrorKind,
    /** Of `peer_stopped`: what the other side says. */
    readonly reason?: AbortReason,
  ) {
    const said = REASONS.find(([name]) => name === reason);
    super(said === undefined ? TEXT[kind] : `${TEXT[kind]}: ${said[1]}`);
  }

  /** The byte that tells the other side. */
  abortByte(): number {
    const reason = reasonFor(this.kind);
    return REASONS.findIndex(([name]) => name === reason) + 1;
  }
}

/** An unknown byte, also of a newer version, is a breach of the protocol. */
export function abortReason(byte: number | undefined): AbortReason {
  return REASONS[(byte ?? 0) - 1]?.[0] ?? 'protocol';
}

function reasonFor(kind: PairingErrorKind): AbortReason {
  switch (kind) {
    case 'wrong_code':
    case 'wrong_secret':
    case 'cancelled':
    case 'crowded':
      return kind;
    case 'too_many_wrong_tries':
      return 'closed';
    case 'newer_version':
    case 'older_version':
      return 'version';
    case 'wrong_pictures':
    case 'pictures_differ':
      return 'pictures';
    case 'wrong_shower':
    case 'key_changed':
      return 'key';
    case 'too_long':
    case 'malformed':
    case 'wrong_method':
    case 'wrong_role':
    case 'reflected':
    case 'wrong_sender':
    case 'replayed':
    case 'out_of_step':
    case 'equal_ephemerals':
    case 'equal_statics':
    case 'weak_key':
    case 'tampered':
    case 'commitment_broken':
    case 'bad_profile':
    case 'peer_stopped':
      return 'protocol';
  }
}
