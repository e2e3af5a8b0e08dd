/** One connection to another device, whatever carries it. The transfer engine does not know which. */
import type { Signal } from '../protocol/generated/Signal';

/** Bytes waiting in the browser above which no more data is given to it (FACTS §3). */
export const HIGH_WATER_BYTES = 1024 * 1024;
/** Bytes of one message on the data channel at most, whatever the other side announces. */
export const MAX_MESSAGE_BYTES = 256 * 1024;

export type LinkRole = 'offerer' | 'answerer';

/** `disconnected` and `failed` end nothing: the other device may be asleep. */
export type LinkState = 'connecting' | 'connected' | 'disconnected' | 'failed';

/** `impossible`: nothing of its kind can work here. `tampered`: the server changed what it carried. */
export type LinkEnd = 'ended' | 'impossible' | 'tampered';

export interface Route {
  kind: 'lan' | 'internet' | 'relayed';
  /** Milliseconds; `null` until a connectivity check was answered. */
  rttMs: number | null;
}

/** SHA-256 of the two certificates of the encrypted connection, as this side used and received them. */
export interface LinkCertificates {
  own: Uint8Array;
  received: Uint8Array;
}

export interface LinkEvents {
  /** To be brought to the other side, sealed. */
  onSignal(signal: Signal): void;
  /** Both channels are open; sending works from here on. */
  onOpen(): void;
  onState(state: LinkState): void;
  onControl(message: string | Uint8Array): void;
  onData(frame: Uint8Array): void;
  /** After `sendData` found the buffer full: there is room again. */
  onWritable(): void;
  /** A sign of life that carries nothing. */
  onAlive?(): void;
  /** The connection is over; nothing comes after. Never called by our own `close`. */
  onClosed(why?: LinkEnd): void;
}

export interface Link {
  /** Bytes of the largest frame the other side takes; 0 until open. */
  readonly maxMessageBytes: number;
  /** Whether `sendData` should be called: less than `HIGH_WATER_BYTES` wait. */
  readonly writable: boolean;
  /** Bytes that `sendData` was given and that wait no more. */
  readonly movedBytes: number;
  handleSignal(signal: Signal): void;
  /** Looks for a path anew over the networks of this moment. Only the offerer's has an effect. */
  restart(): void;
  /** `null` until open. */
  certificates(): LinkCertificates | null;
  sendControl(message: string | Uint8Array): void;
  sendData(frame: Uint8Array): void;
  /** The path that packets take now, or `null` while there is none. */
  route(): Promise<Route | null>;
  /** Ends it at once; no event follows. */
  close(): void;
}
