/** Why a meeting ended before the two had met. */
import type { AbortReason, PairingError } from '../pairing';

export type MeetingFailure =
  /** A code was mistyped, or somebody else tried it: it is burnt. */
  | 'wrong_code'
  /** A link was used, is too old or was never there; nobody can tell which. */
  | 'code_gone'
  /** A code that somebody used or burnt a little while ago. */
  | 'code_used'
  /** A code whose ten minutes are over. */
  | 'code_expired'
  /** The number of a code is none that the server gave out lately: most likely mistyped, and nothing is used up. */
  | 'code_unknown'
  /** A third device joined: both stopped. */
  | 'crowded'
  /** The key is not the one that the link names. */
  | 'wrong_key'
  /** The name is that of a remembered device, and the key is another. */
  | 'key_changed'
  /** Another tab of this very browser: it has the same key. */
  | 'same_device'
  /** The pictures were not the same. */
  | 'pictures_differ'
  | 'declined'
  /** Met, but the other device ended it before there was a connection: why is said there. */
  | 'ended_there'
  | 'no_answer'
  | 'not_there'
  | 'not_a_link'
  /** The other device speaks another version. */
  | 'version'
  | 'server_full'
  /** The connection does not end at the device that was met. */
  | 'bind_failed'
  | 'protocol';

/** What a person is told of a failed handshake. */
export function meetingFailure(error: PairingError): MeetingFailure {
  switch (error.kind) {
    case 'wrong_code':
      return 'wrong_code';
    case 'wrong_secret':
    case 'too_many_wrong_tries':
      return 'code_gone';
    case 'wrong_shower':
      return 'wrong_key';
    case 'key_changed':
      return 'key_changed';
    case 'equal_statics':
      return 'same_device';
    case 'wrong_pictures':
    case 'pictures_differ':
      return 'pictures_differ';
    case 'crowded':
      return 'crowded';
    case 'cancelled':
      return 'declined';
    case 'newer_version':
    case 'older_version':
      return 'version';
    case 'peer_stopped':
      return stoppedByPeer(error.reason ?? 'protocol');
    case 'too_long':
    case 'malformed':
    case 'wrong_method':
    case 'wrong_role':
    case 'reflected':
    case 'wrong_sender':
    case 'replayed':
    case 'out_of_step':
    case 'equal_ephemerals':
    case 'weak_key':
    case 'tampered':
    case 'commitment_broken':
    case 'bad_profile':
      return 'protocol';
  }
}

function stoppedByPeer(reason: AbortReason): MeetingFailure {
  switch (reason) {
    case 'wrong_code':
      return 'wrong_code';
    case 'wrong_secret':
    case 'closed':
      return 'code_gone';
    case 'pictures':
      return 'pictures_differ';
    case 'key':
      return 'wrong_key';
    case 'version':
      return 'version';
    case 'crowded':
      return 'crowded';
    case 'cancelled':
      return 'declined';
    case 'protocol':
      return 'protocol';
  }
}
