/** Whether the other side is there, by our own clock (TR-70): a channel's own state says it late or never. */
import type { ControlMessage } from '../protocol/generated/ControlMessage';
import type { Config } from './config';
import type { TransferEvent } from './output';

export class Liveness {
  #heard: number;
  #pinged: number | null = null;
  #isSilent = false;
  #nonce = 0;

  constructor(
    now: number,
    private readonly config: Config,
  ) {
    this.#heard = now;
  }

  /** Anything at all came. */
  handleHeard(now: number): TransferEvent | null {
    this.#heard = now;
    this.#pinged = null;
    const wasSilent = this.#isSilent;
    this.#isSilent = false;
    return wasSilent ? { type: 'heard' } : null;
  }

  handleTimeout(now: number): { ping: ControlMessage | null; event: TransferEvent | null } {
    let ping: ControlMessage | null = null;
    if (this.#pingDue() <= now) {
      this.#pinged = now;
      this.#nonce = (this.#nonce + 1) >>> 0;
      ping = { type: 'ping', nonce: this.#nonce };
    }
    const fallsSilent = !this.#isSilent && this.#heard + this.config.silentAfterMs <= now;
    this.#isSilent ||= fallsSilent;
    return { ping, event: fallsSilent ? { type: 'silent' } : null };
  }

  pollTimeout(): number {
    return this.#isSilent ? this.#pingDue() : Math.min(this.#pingDue(), this.#heard + this.config.silentAfterMs);
  }

  #pingDue(): number {
    return (this.#pinged ?? this.#heard) + this.config.pingAfterMs;
  }
}
