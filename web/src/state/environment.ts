/** Everything that the application takes from the world, so that a test can be one. */
import type { Clock } from '../core/clock';
import type { Identity, RandomBytes } from '../core/pairing';
import type { Platform } from '../core/protocol/generated/Platform';
import type { OpenLink } from '../core/session/connection';
import type { Exchange, ExchangeEvents } from '../core/session/exchange';
import type { PeerId } from '../core/session/keeper';
import type { OpenSocket } from '../core/signaling/socket';
import type { Keep } from '../core/storage/keep';
import type { KnownDevices } from '../core/storage/known';
import type { Ledger } from '../core/storage/ledger';
import type { Sink } from '../core/storage/sink';
import type { ZipEntry } from '../core/storage/zip';
import type { PieceHasher } from '../core/transfer';
import type { Tabs } from './tabs';

export interface Environment {
  /** Of the page, with scheme and port: links are made on it. */
  origin: string;
  platform: Platform;
  name: { text: string; chosen: boolean };
  identity: Identity;
  clock: Clock;
  /** Milliseconds since 1970. */
  wallClock: () => number;
  random: RandomBytes;
  openSocket: OpenSocket;
  openLink: OpenLink;
  /** `peer` names the other device over reloads: what was unfinished with it is found by that. */
  makeExchange: (events: ExchangeEvents, peer: PeerId) => Exchange;
  keep: Keep;
  /** Remembered devices and sessions that may come back; `null` where secrets cannot be kept, as on plain http. */
  known: KnownDevices | null;
  /** The other tabs of this browser. */
  tabs: Tabs;
  sink: Sink;
  /** What is kept of transfers; reconciled with the sink. */
  ledger: Ledger;
  hashPiece: PieceHasher;
  /** Asks the person where to save a file, and has it written there; `null` where the browser cannot. */
  pickPlace: ((transfer: string, name: string) => Promise<boolean>) | null;
  /** Largest batch this page takes, when the free space alone does not say. */
  receiveLimitBytes: number | null;
  /** Has the browser download an address of this page's own server. */
  download: (href: string) => void;
  /** Hands files to the browser's downloads: one as it is, several as one zip. */
  save: (name: string, entries: readonly ZipEntry[]) => Promise<void>;
}
