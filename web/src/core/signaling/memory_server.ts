/** A signaling server inside one process, for tests: the rules that clients rely on, without limits and sockets. */
import { encodeBase64Url } from '../protocol/base64url';
import type { ClientMessage } from '../protocol/generated/ClientMessage';
import type { ListedDevice } from '../protocol/generated/ListedDevice';
import type { ServerMessage } from '../protocol/generated/ServerMessage';
import { PROTOCOL_VERSION } from '../protocol/version';
import type { OpenSocket, SocketEvents } from './socket';

interface Member {
  number: number;
  slot: string;
  socket: ServerSocket | null;
  waiting: ServerMessage[];
}

interface ServerMailbox {
  members: Member[];
  /** Number of the next member, and what waits for it. */
  next: number;
  early: ServerMessage[];
}

interface ServerSocket {
  device: string;
  say(message: ServerMessage): void;
  drop(): void;
}

export class MemoryServer {
  /** Sockets are refused. */
  down = false;
  timeMs = 1_795_219_200_000;
  /** Bodies, in base64url, that get lost on their way. */
  loses: (body: string) => boolean = () => false;
  readonly #sockets = new Map<string, ServerSocket>();
  readonly #mailboxes = new Map<string, ServerMailbox>();
  readonly #nameplates = new Map<string, string>();
  readonly #listed = new Map<string, ListedDevice>();
  #ids = 0;

  readonly open: OpenSocket = (events) => {
    let open = !this.down;
    const device = this.#id();
    const later = (task: () => void): void => {
      queueMicrotask(() => {
        if (open) task();
      });
    };
    const end = (): void => {
      open = false;
      this.#leave(device);
    };
    const socket: ServerSocket = {
      device,
      say: (message) => {
        later(() => {
          events.onText(JSON.stringify(message));
        });
      },
      drop: () => {
        end();
        events.onClose();
      },
    };
    this.#begin(events, socket, open, later);
    return {
      send: (text) => {
        const message: ClientMessage = JSON.parse(text);
        later(() => {
          this.#handle(socket, message);
        });
      },
      close: end,
    };
  };

  /** Every socket is lost; slots are kept. */
  dropAll(): void {
    for (const socket of [...this.#sockets.values()]) socket.drop();
  }

  /** Whoever came first leaves each mailbox, without a word to the other. */
  takeOut(): void {
    for (const [id, { members }] of [...this.#mailboxes]) {
      const socket = members[0]?.socket;
      if (socket !== null && socket !== undefined) this.#leaveMailbox(socket, id);
    }
  }

  /** Every socket is lost, and nothing is kept. */
  restart(): void {
    this.dropAll();
    this.#mailboxes.clear();
    this.#nameplates.clear();
  }

  #begin(events: SocketEvents, socket: ServerSocket, open: boolean, later: (task: () => void) => void): void {
    if (open) {
      this.#sockets.set(socket.device, socket);
      later(() => {
        events.onOpen();
      });
    } else {
      queueMicrotask(() => {
        events.onClose();
      });
    }
  }

  #handle(socket: ServerSocket, message: ClientMessage): void {
    switch (message.type) {
      case 'hello':
        socket.say({
          type: 'welcome',
          protocol_version: PROTOCOL_VERSION,
          device: socket.device,
          time_ms: this.timeMs,
          limits: { body_bytes: 40_960, messages_per_second: 30, mailboxes: 256, slot_kept_seconds: 30 },
        });
        this.#tellNearby();
        break;
      case 'join':
        this.#join(socket, message.mailbox, message.slot);
        break;
      case 'send': {
        const mailbox = this.#mailboxes.get(message.mailbox);
        const from = mailbox?.members.find((member) => member.socket === socket);
        const to = mailbox?.members.find(({ number }) => number === message.to);
        if (mailbox === undefined || from === undefined || this.loses(message.body)) break;
        const body: ServerMessage = { type: 'message', mailbox: message.mailbox, from: from.number, body: message.body };
        if (to !== undefined && to.socket !== null) to.socket.say(body);
        else if (to !== undefined) to.waiting.push(body);
        else if (message.to === mailbox.next) mailbox.early.push(body);
        else socket.say({ type: 'error', code: 'not_joined', message: 'nobody there', mailbox: message.mailbox });
        break;
      }
      case 'leave':
        this.#leaveMailbox(socket, message.mailbox);
        break;
      case 'allocate': {
        const nameplate = String(4000 + this.#nameplates.size);
        const mailbox = this.#id();
        this.#nameplates.set(nameplate, mailbox);
        socket.say({ type: 'allocated', nameplate, mailbox });
        break;
      }
      case 'claim': {
        const mailbox = this.#nameplates.get(message.nameplate);
        if (mailbox === undefined) socket.say({ type: 'error', code: 'no_such_nameplate', message: 'no' });
        else socket.say({ type: 'claimed', nameplate: message.nameplate, mailbox });
        break;
      }
      case 'release':
        this.#nameplates.delete(message.nameplate);
        break;
      case 'announce': {
        const { name, platform, seconds } = message;
        if (seconds > 0) this.#listed.set(socket.device, { device: socket.device, name, platform, source: 'visible' });
        else this.#listed.delete(socket.device);
        this.#tellNearby();
        break;
      }
      case 'dial': {
        const rung = this.#sockets.get(message.device);
        if (rung === undefined) {
          socket.say({ type: 'error', code: 'no_such_device', message: 'no' });
          break;
        }
        const mailbox = this.#id();
        // The dialled device is the first, whoever joins first.
        this.#mailboxes.set(mailbox, { members: [], next: 0, early: [] });
        rung.say({ type: 'ring', mailbox });
        socket.say({ type: 'dialed', device: message.device, mailbox });
        break;
      }
    }
  }

  #join(socket: ServerSocket, id: string, slot: string | undefined): void {
    const mailbox = this.#mailboxes.get(id) ?? { members: [], next: 0, early: [] };
    this.#mailboxes.set(id, mailbox);
    const returning = mailbox.members.find((member) => member.slot === slot);
    if (slot !== undefined && returning === undefined) {
      socket.say({ type: 'error', code: 'slot_gone', message: 'gone', mailbox: id });
      return;
    }
    if (returning === undefined && mailbox.members.length === 2) {
      for (const member of [...mailbox.members, { socket }]) member.socket?.say({ type: 'crowded', mailbox: id });
      this.#mailboxes.delete(id);
      return;
    }
    const member = returning ?? {
      number: mailbox.next++,
      slot: this.#id(),
      socket: null,
      waiting: mailbox.early.splice(0),
    };
    if (returning === undefined) mailbox.members.push(member);
    member.socket = socket;
    const others = mailbox.members.filter((other) => other !== member);
    socket.say({
      type: 'joined',
      mailbox: id,
      member: member.number,
      others: others.map(({ number }) => number),
      slot: member.slot,
      ice_servers: [],
    });
    for (const message of member.waiting.splice(0)) socket.say(message);
    const state = returning === undefined ? 'joined' : 'back';
    for (const other of others) other.socket?.say({ type: 'presence', mailbox: id, member: member.number, state });
  }

  #leaveMailbox(socket: ServerSocket, id: string): void {
    const mailbox = this.#mailboxes.get(id);
    const member = mailbox?.members.find((one) => one.socket === socket);
    if (mailbox === undefined || member === undefined) return;
    mailbox.members = mailbox.members.filter((one) => one !== member);
    for (const other of mailbox.members) {
      other.socket?.say({ type: 'presence', mailbox: id, member: member.number, state: 'left' });
    }
    if (mailbox.members.length === 0) this.#mailboxes.delete(id);
  }

  /** The socket is gone; its slots are kept. */
  #leave(device: string): void {
    const socket = this.#sockets.get(device);
    if (!this.#sockets.delete(device) || socket === undefined) return;
    this.#listed.delete(device);
    for (const [mailbox, { members }] of this.#mailboxes) {
      const member = members.find((one) => one.socket === socket);
      if (member === undefined) continue;
      member.socket = null;
      for (const other of members) {
        other.socket?.say({ type: 'presence', mailbox, member: member.number, state: 'away' });
      }
    }
    this.#tellNearby();
  }

  #tellNearby(): void {
    for (const socket of this.#sockets.values()) {
      const devices = [...this.#listed.values()].filter(({ device }) => device !== socket.device);
      socket.say({ type: 'nearby', devices });
    }
  }

  #id(): string {
    this.#ids += 1;
    const bytes = new Uint8Array(16);
    new DataView(bytes.buffer).setUint32(12, this.#ids);
    return encodeBase64Url(bytes);
  }
}
