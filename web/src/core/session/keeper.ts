/** What of a session outlives its links and, on secure pages, the page itself. */
import { fingerprintText, type ResumeSecret, type Session } from '../pairing';
import { PLATFORMS } from '../protocol/signaling';
import type { Platform } from '../protocol/generated/Platform';

/** A session comes back without a human for that long (PA-14). */
export const RESUME_MS = 24 * 3_600_000;

/** Names a device by its key wherever it is met again: 22 characters, the same over reloads, and nothing to be read from. */
export type PeerId = string;

export function peerIdOf(key: Uint8Array): PeerId {
  return fingerprintText(key);
}

/** A session that may come back. */
export interface KeptSession {
  peer: PeerId;
  /** Hostile text, as it stood in the device's profile. */
  name: string;
  platform: Platform;
  /** The key of the other device, the trust that the session had, and the secret that the two share. */
  resume: ResumeSecret;
  /** Milliseconds since 1970; good for `RESUME_MS`. */
  savedAtMs: number;
}

/**
 * Keeps one session a device, the newest. Whoever restores transfers asks `sessions` for whom there is a way back, and
 * finds the device again by its `peer`.
 */
export interface SessionKeeper {
  /** Whether what is saved outlives the page. */
  readonly durable: boolean;
  /** Those that are still good, newest first. */
  sessions(nowMs: number): Promise<KeptSession[]>;
  saveSession(kept: KeptSession): Promise<void>;
  dropSession(peer: PeerId): Promise<void>;
}

export function keptSession(session: Session, savedAtMs: number): KeptSession {
  const { name, platform } = session.peerProfile;
  return {
    peer: peerIdOf(session.peerKey),
    name,
    platform: platformOf(platform),
    resume: session.resumeSecret(),
    savedAtMs,
  };
}

/** What a profile says it is; anything unknown is `other`. */
export function platformOf(text: string): Platform {
  return Object.values(PLATFORMS).find((known) => known === text) ?? 'other';
}
