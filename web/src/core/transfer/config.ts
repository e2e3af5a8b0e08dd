/** What a shell may choose; the same as `crates/transfer/src/config.rs`. */
import { PIECE_BYTES } from '../protocol/frame';

export interface Config {
  /** Bytes received and not yet written that this side allows, 2 to 16 MiB. */
  windowBytes: number;
  /** Bytes read ahead of what was sent, at least two pieces. */
  readAheadBytes: number;
  /** Reads asked for at once. */
  readAheadReads: number;
  /** Unfinished transfers of each direction. */
  transfers: number;
  /** Texts sent and not yet acknowledged. */
  texts: number;
  /** How far the files of one transfer may grow, all together, after they were accepted. */
  growthBytes: number;
  /** Bytes written before they are made durable and noted in the journal. */
  syncBytes: number;
  syncAfterMs: number;
  /** Small files that are put under their final names together. */
  commitFiles: number;
  commitAfterMs: number;
  /** How often a piece may arrive damaged before the session is closed. */
  pieceTries: number;
  pingAfterMs: number;
  silentAfterMs: number;
}

/** For a page on a desktop; a phone takes half the window. */
export const DEFAULT_CONFIG: Readonly<Config> = {
  windowBytes: 8 * PIECE_BYTES,
  readAheadBytes: 8 * PIECE_BYTES,
  readAheadReads: 64,
  transfers: 4,
  texts: 64,
  growthBytes: 64 * PIECE_BYTES,
  syncBytes: 8 * PIECE_BYTES,
  syncAfterMs: 1000,
  commitFiles: 256,
  commitAfterMs: 1000,
  pieceTries: 3,
  pingAfterMs: 1000,
  silentAfterMs: 2000,
};

/** The nearest configuration that can make progress and stays within the protocol's bounds. */
export function clamped(config: Config): Config {
  return {
    ...config,
    windowBytes: Math.min(Math.max(config.windowBytes, 2 * PIECE_BYTES), 16 * PIECE_BYTES),
    readAheadBytes: Math.max(config.readAheadBytes, 2 * PIECE_BYTES),
    readAheadReads: Math.max(config.readAheadReads, 1),
    commitFiles: Math.max(config.commitFiles, 1),
  };
}
