/** A link over a WebSocket at the signaling server, each frame sealed (LK-31 to LK-38 in `docs/protocol/link.md`). */
import type { Clock } from '../clock';
import { LaneError, type LaneFrame, type LaneKeys, type LaneOpener, type LaneSealer, NO_CERTIFICATE } from '../pairing';
import { decodeBase64Url } from '../protocol/base64url';
import type { Signal } from '../protocol/generated/Signal';
import { LANE_PAYLOAD_BYTES } from '../protocol/limits';
import type { Link, LinkCertificates, LinkEvents, Route } from './link';

/** Bytes that wait in the browser above which no more data is given to it; it goes on at half of that. */
const HIGH_WATER_BYTES = 512 * 1024;
/** A WebSocket says nothing when its buffer empties. */
const LOOK_MS = 20;
/** A side that sent nothing for so long says that it is alive. */
const ALIVE_MS = 1_000;

/** The little of a WebSocket that a lane needs. */
export interface LaneSocket {
  readonly bufferedBytes: number;
  send(bytes: Uint8Array): void;
  close(): void;
}

export interface LaneSocketEvents {
  onOpen(): void;
  onBytes(bytes: Uint8Array): void;
  /** Once, however it ended; nothing comes after. */
  onClose(): void;
}

export type OpenLaneSocket = (events: LaneSocketEvents) => LaneSocket;

/** What opens a lane: from `joined`, and from the session. */
export interface LaneDoor {
  ticket: string;
  keys: LaneKeys;
}

export interface LaneOptions {
  open: OpenLaneSocket;
  door: LaneDoor;
  attempt: number;
  clock: Clock;
  events: LinkEvents;
}

export class LaneLink implements Link {
  readonly maxMessageBytes = LANE_PAYLOAD_BYTES;
  readonly #clock: Clock;
  readonly #events: LinkEvents;
  readonly #sealer: LaneSealer;
  readonly #opener: LaneOpener;
  readonly #socket: LaneSocket;
  #open = false;
  #over = false;
  #sentBytes = 0;
  /** The server runs on the other device. */
  #atPeer = false;
  #waitsForRoom = false;
  #cancelAlive: () => void = () => undefined;
  #cancelLook: () => void = () => undefined;

  constructor({ open, door, attempt, clock, events }: LaneOptions) {
    this.#clock = clock;
    this.#events = events;
    const { sealer, opener } = door.keys.lane(attempt);
    this.#sealer = sealer;
    this.#opener = opener;
    this.#socket = open({
      onOpen: () => {
        if (this.#over) return;
        this.#open = true;
        this.#socket.send(hello(door.ticket, attempt));
        this.#sayAliveLater();
        events.onOpen();
      },
      onBytes: (bytes) => {
        if (!this.#over) this.#handle(bytes);
      },
      onClose: () => {
        this.#end(false);
      },
    });
  }

  get writable(): boolean {
    return this.#open && !this.#over && this.#socket.bufferedBytes < HIGH_WATER_BYTES;
  }

  get movedBytes(): number {
    return this.#sentBytes - this.#socket.bufferedBytes;
  }

  handleSignal(signal: Signal): void {
    if (signal.kind === 'lane') this.#atPeer = signal.own_server === true;
  }

  restart(): void {
    // There is one way to the server.
  }

  certificates(): LinkCertificates | null {
    return this.#open ? { own: NO_CERTIFICATE, received: NO_CERTIFICATE } : null;
  }

  sendControl(message: string | Uint8Array): void {
    this.#send(typeof message === 'string' ? this.#sealer.control(message) : this.#sealer.bind(message));
  }

  sendData(frame: Uint8Array): void {
    this.#send(this.#sealer.data(frame));
    if (!this.writable) this.#lookForRoom();
  }

  route(): Promise<Route | null> {
    return Promise.resolve(this.#open ? { kind: this.#atPeer ? 'lan' : 'relayed', rttMs: null } : null);
  }

  close(): void {
    this.#over = true;
    this.#cancelAlive();
    this.#cancelLook();
    this.#socket.close();
  }

  #send(sealed: Uint8Array): void {
    if (!this.#open || this.#over) return;
    this.#sentBytes += sealed.length;
    this.#socket.send(sealed);
    this.#sayAliveLater();
  }

  #sayAliveLater(): void {
    this.#cancelAlive();
    this.#cancelAlive = this.#clock.after(ALIVE_MS, () => {
      this.#send(this.#sealer.alive());
    });
  }

  #lookForRoom(): void {
    if (this.#waitsForRoom) return;
    this.#waitsForRoom = true;
    const look = (): void => {
      if (this.#over) return;
      if (this.#socket.bufferedBytes > HIGH_WATER_BYTES / 2) {
        this.#cancelLook = this.#clock.after(LOOK_MS, look);
        return;
      }
      this.#waitsForRoom = false;
      this.#events.onWritable();
    };
    this.#cancelLook = this.#clock.after(LOOK_MS, look);
  }

  #handle(bytes: Uint8Array): void {
    let frame: LaneFrame;
    try {
      frame = this.#opener.open(bytes);
    } catch (error) {
      if (!(error instanceof LaneError)) throw error;
      this.#end(true);
      return;
    }
    switch (frame.kind) {
      case 'bind':
        this.#events.onControl(frame.bytes);
        break;
      case 'control':
        this.#events.onControl(frame.text);
        break;
      case 'data':
        this.#events.onData(frame.bytes);
        break;
      case 'alive':
        this.#events.onAlive?.();
        break;
    }
  }

  #end(tampered: boolean): void {
    if (this.#over) return;
    this.close();
    this.#events.onClosed(tampered ? 'tampered' : 'ended');
  }
}

/** The first message: ticket, and attempt as 64 bits (LK-32). */
function hello(ticket: string, attempt: number): Uint8Array {
  const bytes = new Uint8Array(24);
  bytes.set(decodeBase64Url(ticket)?.subarray(0, 16) ?? []);
  new DataView(bytes.buffer).setUint32(20, attempt);
  return bytes;
}

/** Opens real WebSockets at the page's own origin. */
export function laneSocketOpener(origin: string): OpenLaneSocket {
  const url = new URL('/v1/relay', origin);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return (events) => {
    const socket = new WebSocket(url.href);
    socket.binaryType = 'arraybuffer';
    let closed = false;
    const close = (): void => {
      if (closed) return;
      closed = true;
      events.onClose();
    };
    socket.onopen = () => {
      if (!closed) events.onOpen();
    };
    socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (closed) return;
      if (data instanceof ArrayBuffer) {
        events.onBytes(new Uint8Array(data));
      } else {
        socket.close();
        close();
      }
    };
    socket.onclose = close;
    return {
      get bufferedBytes() {
        return socket.bufferedAmount;
      },
      send: (bytes) => {
        if (socket.readyState === WebSocket.OPEN) socket.send(new Uint8Array(bytes));
      },
      close: () => {
        closed = true;
        socket.close();
      },
    };
  };
}
