/** Frames of a sealed WebSocket: what kind they are, and that none is missing (LK-33 in `docs/protocol/link.md`). */
import { LANE_MESSAGE_BYTES } from '../protocol/limits';
import { concat, utf8 } from './bytes';
import { OpenError, type Opener, SEAL_OVERHEAD, type Sealer } from './seal';

/** What stands for a certificate in a lane's bind. */
export const NO_CERTIFICATE: Uint8Array = new Uint8Array(32);

/** The session id of the bind on a lane (LK-37). */
export function laneSessionId(attempt: number): Uint8Array {
  const id = new Uint8Array(16);
  id.set(utf8('lane'));
  new DataView(id.buffer).setUint32(12, attempt);
  return id;
}

export type LaneFrame =
  | { kind: 'bind'; bytes: Uint8Array }
  | { kind: 'control'; text: string }
  | { kind: 'data'; bytes: Uint8Array<ArrayBuffer> }
  | { kind: 'alive' };

export type LaneErrorKind = 'forged' | 'replayed' | 'missing' | 'unknown_kind' | 'too_long';

/** Why a frame was not taken: the lane is to be closed. */
export class LaneError extends Error {
  override readonly name = 'LaneError';

  constructor(readonly kind: LaneErrorKind) {
    super(`a frame of a lane was refused: ${kind}`);
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Seals one direction. */
export class LaneSealer {
  constructor(private readonly sealer: Sealer) {}

  bind(bind: Uint8Array): Uint8Array {
    return this.#seal(1, bind);
  }

  control(text: string): Uint8Array {
    return this.#seal(2, utf8(text));
  }

  data(frames: Uint8Array): Uint8Array {
    return this.#seal(3, frames);
  }

  alive(): Uint8Array {
    return this.#seal(4, new Uint8Array(0));
  }

  #seal(kind: number, payload: Uint8Array): Uint8Array {
    return this.sealer.seal(concat(Uint8Array.of(kind), payload));
  }
}

/** Opens one direction. After an error the lane is to be closed. */
export class LaneOpener {
  /** The counter that is due. */
  #due = 0n;

  constructor(private readonly opener: Opener) {}

  /** @throws {LaneError} close the lane, and say why. */
  open(sealed: Uint8Array): LaneFrame {
    if (sealed.length > LANE_MESSAGE_BYTES) throw new LaneError('too_long');
    if (sealed.length < SEAL_OVERHEAD) throw new LaneError('forged');
    // Before the key is tried: a frame that was left out must not look like a forged one.
    const counter = new DataView(sealed.buffer, sealed.byteOffset, 8).getBigUint64(0);
    if (counter < this.#due) throw new LaneError('replayed');
    if (counter > this.#due) throw new LaneError('missing');
    const plaintext = this.#open(sealed);
    this.#due += 1n;
    const payload = plaintext.subarray(1);
    switch (plaintext[0]) {
      case 1:
        return { kind: 'bind', bytes: payload };
      case 2:
        try {
          return { kind: 'control', text: decoder.decode(payload) };
        } catch {
          throw new LaneError('unknown_kind');
        }
      case 3:
        return { kind: 'data', bytes: payload.slice() };
      case 4:
        return { kind: 'alive' };
      default:
        throw new LaneError('unknown_kind');
    }
  }

  #open(sealed: Uint8Array): Uint8Array {
    try {
      return this.opener.open(sealed);
    } catch (error) {
      if (!(error instanceof OpenError)) throw error;
      throw new LaneError('forged');
    }
  }
}
