/** Links inside one process, for tests: the same seam as WebRTC, without a network. */
import type { IceServer } from '../protocol/generated/IceServer';
import type { Signal } from '../protocol/generated/Signal';
import type { Link, LinkCertificates, LinkEvents, LinkRole, Route } from './link';

export class MemoryNetwork {
  readonly links: MemoryLink[] = [];
  /** Nothing arrives any more, and nobody is told. */
  blackHole = false;
  /** Somebody in the middle shows a certificate of their own. */
  intercepted = false;

  readonly openLink = (options: { role: LinkRole; iceServers: readonly IceServer[]; events: LinkEvents }): Link => {
    const link = new MemoryLink(this, this.links.length, options.role, options.events);
    this.links.push(link);
    return link;
  };

  /** The last link of that role. */
  last(role: LinkRole): MemoryLink {
    const link = this.links.findLast((one) => one.role === role);
    if (link === undefined) throw new Error(`no ${role} yet`);
    return link;
  }
}

export class MemoryLink implements Link {
  readonly maxMessageBytes = 64 * 1024;
  writable = true;
  movedBytes = 0;
  restarts = 0;
  closed = false;
  #other: MemoryLink | null = null;

  constructor(
    private readonly network: MemoryNetwork,
    private readonly number: number,
    readonly role: LinkRole,
    private readonly events: LinkEvents,
  ) {
    if (role === 'offerer') this.#later(() => events.onSignal({ kind: 'offer', sdp: String(number) }));
  }

  handleSignal(signal: Signal): void {
    if (signal.kind === 'offer') {
      this.#other = this.network.links[Number(signal.sdp)] ?? null;
      this.events.onSignal({ kind: 'answer', sdp: String(this.number) });
    } else if (signal.kind === 'answer' && this.#other === null) {
      this.#other = this.network.links[Number(signal.sdp)] ?? null;
      this.#later(() => {
        this.events.onOpen();
      });
      const other = this.#other;
      if (other !== null) {
        other.#later(() => {
          other.events.onOpen();
        });
      }
    }
  }

  restart(): void {
    this.restarts += 1;
  }

  certificates(): LinkCertificates | null {
    if (this.#other === null) return null;
    const received = certificate(this.network.intercepted ? 200 + this.number : this.#other.number);
    return { own: certificate(this.number), received };
  }

  sendControl(message: string | Uint8Array): void {
    const copy = typeof message === 'string' ? message : message.slice();
    this.#deliver((other) => {
      other.events.onControl(copy);
    });
  }

  /** One message at a time, each a turn of the event loop: a link that has to be waited for. */
  sendData(frame: Uint8Array): void {
    const copy = frame.slice();
    this.writable = false;
    setTimeout(() => {
      this.writable = true;
      this.movedBytes += copy.length;
      if (!this.closed) this.events.onWritable();
    });
    this.#deliver((other) => {
      other.events.onData(copy);
    });
  }

  route(): Promise<Route | null> {
    return Promise.resolve({ kind: 'lan', rttMs: 1 });
  }

  close(): void {
    this.closed = true;
  }

  /** The connection breaks and both sides see it. */
  break(): void {
    for (const link of [this, this.#other]) {
      if (link === null || link.closed) continue;
      link.closed = true;
      link.events.onClosed();
    }
  }

  #deliver(message: (other: MemoryLink) => void): void {
    const other = this.#other;
    if (other === null || this.closed || this.network.blackHole) return;
    other.#later(() => {
      message(other);
    });
  }

  #later(task: () => void): void {
    queueMicrotask(() => {
      if (!this.closed) task();
    });
  }
}

function certificate(number: number): Uint8Array {
  return new Uint8Array(32).fill(number + 1);
}
