/**
 * Which path to try when (LK-2, LK-40 to LK-46 in `docs/protocol/link.md`): the one decision that both devices must take
 * alike, without a clock or a socket. The Rust twin is `crates/transfer/src/paths.rs`. Times are milliseconds.
 */

/** The first link has so long before a lane is begun besides. */
const FIRST_LANE = 10_000;
/** Trouble of this age is met with a fresh connection, not only with another path for the old one. */
const FRESH = 5_000;
/** Trouble of this age is met with a lane. */
const LANE = 10_000;
/** People are told that it is interrupted: 30 s after the last sign of life, of which 2 are over when silence is noticed. */
export const INTERRUPTED_MS = 28_000;
/** How long an attempt has before the next one of its kind. */
const LASTS: Record<PathKind, number> = { direct: 12_000, lane: 5_000 };
/** A wish of the other side changes nothing while an attempt is younger than this, and counts so long. */
const YOUNG = 3_000;
/** An attempt older than this came to nothing because nobody could be reached, once somebody can be again. */
const STALE = 1_000;
/** Between two steps while a transfer waits, by the age of the trouble. */
const HASTE: readonly (readonly [number, number])[] = [
  [60_000, 1_000],
  [600_000, 5_000],
  [Infinity, 30_000],
];
/** Between two steps when nothing waits: doubles. */
const LEISURE = { first: 2_000, longest: 30_000 };
/** From a lane to something better: triples. */
const UPGRADE = { first: 5_000, longest: 300_000 };
/** The same when WebRTC was left because it crawled, at first. */
const UPGRADE_AFTER_CRAWL = 60_000;
/** A lane that is slow without a break is borne so long before WebRTC gets its turn again: doubles. */
const LANE_PATIENCE = { first: 3_000, longest: 300_000 };
/** Two reports of a slow link further apart than this were not without a break. */
const BREAK = 1_000;

export type PathKind = 'direct' | 'lane';

/** What is to be done; `crates/transfer/src/paths.rs` says more of each. */
export type PathAction =
  | { type: 'begin'; attempt: number; path: PathKind }
  | { type: 'restart_ice' }
  | { type: 'ask'; lane: boolean }
  | { type: 'ask_for_faster' }
  | { type: 'check_signaling' }
  | { type: 'close'; attempt: number }
  | { type: 'waiting' }
  | { type: 'interrupted' }
  | { type: 'well' };

interface Attempt {
  number: number;
  begun: number;
}

interface Trouble {
  since: number;
  nextStep: number;
  pause: number;
  toldInterrupted: boolean;
  /** Something was up before: so people are told. */
  isLoss: boolean;
}

export class Paths {
  #highest = 0;
  readonly #attempts: Record<PathKind, Attempt | null> = { direct: null, lane: null };
  #carrying: { number: number; path: PathKind; silent: boolean } | null = null;
  #trouble: Trouble | null;
  /** The other side finds the link bad though we hear it. */
  #askedUntil: number | null = null;
  #directWorks = true;
  #peerDirectWorks = true;
  /** The server of the lanes runs on this device; never so for a page. */
  #ownServer = false;
  /** WebRTC crawled in this network. */
  #crawled = false;
  /** Since when the lane was reported slow, and when last. */
  #laneSlow: { since: number; last: number } | null = null;
  #lanePatience = LANE_PATIENCE.first;
  /** When something faster was looked for. */
  #fasterAt: number | null = null;
  #hurried = true;
  #upgradeAt: number | null = null;
  #upgradePause = UPGRADE.first;
  readonly #actions: PathAction[] = [];

  /** Two devices that have just met. `leads`: this is R. `hasLane`: the server carries lanes. Begins at once. */
  constructor(
    now: number,
    private readonly leads: boolean,
    private hasLane: boolean,
  ) {
    this.#trouble = { since: now, nextStep: now, pause: LEISURE.first, toldInterrupted: false, isLoss: false };
    if (leads) this.#begin(now, 'direct');
    this.#setNextStep(now, 0.5);
  }

  /** Whether a transfer waits for the link: then trouble is met each second. */
  setHurried(now: number, hurried: boolean): void {
    const changed = this.#hurried !== hurried;
    this.#hurried = hurried;
    if (changed && hurried && this.#trouble !== null) {
      this.#trouble.nextStep = Math.min(this.#trouble.nextStep, now);
    }
  }

  setHasLane(hasLane: boolean): void {
    this.hasLane = hasLane;
  }

  /** Whether the server that carries lanes runs on this device: then a lane is as direct as WebRTC. */
  setOwnServer(ownServer: boolean): void {
    this.#ownServer = ownServer;
  }

  /** The first signal of an attempt came (I). Says whether to open a link for it. */
  handleAttempt(now: number, number: number, path: PathKind): boolean {
    if (this.leads || number <= this.#highest) return false;
    this.#highest = number;
    this.#replace(path, { number, begun: now });
    return true;
  }

  /** A link was bound on both sides. Says whether it carries from now on. */
  handleBound(now: number, number: number, path: PathKind): boolean {
    if (this.#attempts[path]?.number === number) this.#attempts[path] = null;
    if (this.#carrying !== null && this.#carrying.number > number) {
      this.#actions.push({ type: 'close', attempt: number });
      // What came too late shows that it works.
      if (path === 'direct' && this.leads) this.#upgradeAt = now;
      return false;
    }
    if (this.#carrying !== null) this.#actions.push({ type: 'close', attempt: this.#carrying.number });
    this.#carrying = { number, path, silent: false };
    if (path === 'direct') {
      this.#replace('lane', null);
      this.#upgradeAt = null;
      if (!this.#crawled) this.#upgradePause = UPGRADE.first;
    } else {
      this.#upgradeAt = this.leads ? now + this.#upgradePause : null;
    }
    this.#endTrouble();
    return true;
  }

  /** A link ended, or could not be opened. `forGood`: nothing of its kind can work on this device now. */
  handleClosed(now: number, number: number, path: PathKind, forGood: boolean): void {
    if (forGood && path === 'direct') this.#directWorks = false;
    const wasAttempt = this.#attempts[path]?.number === number;
    if (wasAttempt) this.#attempts[path] = null;
    if (this.#carrying?.number === number) {
      this.#carrying = null;
      this.#upgradeAt = null;
      this.#beginTrouble(now);
    }
    if (wasAttempt && forGood && this.#trouble !== null) this.#trouble.nextStep = now;
  }

  /** Nothing is heard on the link that carries. */
  handleSilent(now: number): void {
    if (this.#carrying === null) return;
    this.#carrying.silent = true;
    this.#beginTrouble(now);
  }

  handleHeard(): void {
    if (this.#carrying === null) return;
    this.#carrying.silent = false;
    this.#endTrouble();
  }

  /** The link that carries is heard, and yet moves next to nothing of what waits for it (LK-46). */
  handleSlow(now: number): void {
    const carrying = this.#carrying;
    if (carrying === null || carrying.silent || (carrying.path === 'lane' && this.#bearsLane(now))) return;
    if (this.leads) this.#leaveSlow(now, carrying.path, this.#ownServer);
    else if ((this.hasLane || carrying.path === 'lane') && this.#isTimeForFaster(now)) this.#actions.push({ type: 'ask_for_faster' });
  }

  /** The other side said `reconnect` `slow`; `ownServer`: the server runs there. */
  handleAskedForFaster(now: number, ownServer: boolean): void {
    if (this.leads && this.#carrying !== null) this.#leaveSlow(now, this.#carrying.path, this.#ownServer || ownServer);
  }

  /** The other side said `reconnect`. */
  handleAsked(now: number, lane: boolean): void {
    if (!this.leads) return;
    if (lane) this.#peerDirectWorks = false;
    if (this.#isYoung(now, 'lane') || (this.#isYoung(now, 'direct') && !lane)) return;
    this.#askedUntil = now + YOUNG;
    if (this.#trouble === null) this.#beginTrouble(now);
    else this.#trouble.nextStep = Math.min(this.#trouble.nextStep, now);
  }

  /** The other side found no address of its own to offer: WebRTC cannot work there. */
  handlePeerUnreachable(now: number): void {
    this.#peerDirectWorks = false;
    if (this.#trouble !== null) this.#trouble.nextStep = now;
  }

  /** This device has other networks than before, or woke up. */
  handleNetworkChange(now: number): void {
    this.#directWorks = true;
    this.#peerDirectWorks = true;
    if (this.#crawled) this.#upgradePause = UPGRADE.first;
    this.#crawled = false;
    this.#lanePatience = LANE_PATIENCE.first;
    if (this.#trouble !== null) this.#trouble.nextStep = now;
    else if (this.#carrying?.path === 'direct') {
      this.#actions.push(this.leads ? { type: 'restart_ice' } : { type: 'ask', lane: false });
    } else if (this.#carrying?.path === 'lane' && this.leads) this.#upgradeAt = now;
    this.#actions.push({ type: 'check_signaling' });
  }

  /** The signaling server is back after it was away, or the other device is back at it. */
  handleReachable(now: number): void {
    this.#directWorks = true;
    this.#peerDirectWorks = true;
    if (this.#trouble === null) return;
    this.#trouble.nextStep = now;
    for (const path of ['direct', 'lane'] as const) {
      const attempt = this.#attempts[path];
      if (this.leads && attempt !== null && attempt.begun + STALE <= now) this.#replace(path, null);
    }
  }

  /** Time has passed. `random` is from 0 up to 1 and spreads the steps of many devices. */
  handleTimeout(now: number, random: number): void {
    if (this.#upgradeAt !== null && this.#upgradeAt <= now) {
      this.#upgradePause = Math.min(this.#upgradePause * 3, UPGRADE.longest);
      this.#upgradeAt = now + this.#upgradePause;
      if (this.#trouble === null && this.#canBeDirect() && this.#isFree(now, 'direct')) this.#begin(now, 'direct');
    }
    if (this.#askedUntil !== null && this.#askedUntil <= now) {
      this.#askedUntil = null;
      if (this.#carrying !== null && !this.#carrying.silent) this.#endTrouble();
    }
    const trouble = this.#trouble;
    if (trouble === null) return;
    if (trouble.isLoss && !trouble.toldInterrupted && trouble.since + INTERRUPTED_MS <= now) {
      this.#actions.push({ type: 'interrupted' });
      trouble.toldInterrupted = true;
    }
    if (trouble.nextStep <= now) {
      this.#step(now, trouble);
      this.#setNextStep(now, random);
    }
  }

  /** When to call `handleTimeout` next. */
  pollTimeout(): number | null {
    const due: number[] = [];
    if (this.#trouble !== null) {
      due.push(this.#trouble.nextStep);
      if (this.#trouble.isLoss && !this.#trouble.toldInterrupted) due.push(this.#trouble.since + INTERRUPTED_MS);
    }
    if (this.#upgradeAt !== null) due.push(this.#upgradeAt);
    if (this.#askedUntil !== null) due.push(this.#askedUntil);
    return due.length === 0 ? null : Math.min(...due);
  }

  pollAction(): PathAction | null {
    return this.#actions.shift() ?? null;
  }

  /** What is done at each step of trouble. */
  #step(now: number, { since, isLoss }: Trouble): void {
    const age = now - since;
    if (isLoss) this.#actions.push({ type: 'check_signaling' });
    if (!this.leads) {
      const waits = this.#isYoung(now, 'direct') || this.#isYoung(now, 'lane');
      if (!this.#directWorks) {
        if (this.#attempts.lane === null && this.hasLane) this.#actions.push({ type: 'ask', lane: true });
      } else if ((isLoss && !waits) || (this.#highest === 0 && age >= FIRST_LANE)) {
        this.#actions.push({ type: 'ask', lane: false });
      }
      return;
    }
    if (this.#canBeDirect()) {
      if (this.#carrying?.path === 'direct' && age < FRESH && this.#askedUntil === null) {
        this.#actions.push({ type: 'restart_ice' });
      } else if (this.#isFree(now, 'direct')) {
        this.#begin(now, 'direct');
      }
    }
    const laneDue = age >= (isLoss ? LANE : FIRST_LANE) || this.#carrying?.path === 'lane' || !this.#canBeDirect();
    if (this.hasLane && laneDue && this.#isFree(now, 'lane')) this.#begin(now, 'lane');
  }

  /** Opens another kind of link beside the one that crawls, which carries until the new one is bound. */
  #leaveSlow(now: number, path: PathKind, laneIsDirect: boolean): void {
    if (path === 'direct') {
      if (laneIsDirect) this.#beginFaster(now);
    } else if (this.#crawled) {
      // It is the network that is slow, or TCP that is worse off in it.
      this.#upgradeAt = now;
    }
  }

  /**
   * Whether a lane that is reported slow now is not left yet. Each time that it is, the next is borne twice as long: where
   * both crawl, ever less is lost to changing.
   */
  #bearsLane(now: number): boolean {
    const before = this.#laneSlow;
    const since = before !== null && now <= before.last + BREAK ? before.since : now;
    this.#laneSlow = { since, last: now };
    if (now < since + this.#lanePatience) return true;
    this.#laneSlow = null;
    this.#lanePatience = Math.min(this.#lanePatience * 2, LANE_PATIENCE.longest);
    return false;
  }

  #beginFaster(now: number): void {
    if (!this.hasLane || !this.#isFree(now, 'lane') || !this.#isTimeForFaster(now)) return;
    this.#crawled = true;
    this.#upgradePause = Math.max(this.#upgradePause, UPGRADE_AFTER_CRAWL);
    this.#begin(now, 'lane');
  }

  /** As often as a lane could be begun anew. */
  #isTimeForFaster(now: number): boolean {
    const isTime = this.#fasterAt === null || this.#fasterAt + LASTS.lane <= now;
    if (isTime) this.#fasterAt = now;
    return isTime;
  }

  #canBeDirect(): boolean {
    return this.#directWorks && this.#peerDirectWorks;
  }

  /** Whether no attempt of the kind is under way that still has time. */
  #isFree(now: number, path: PathKind): boolean {
    const attempt = this.#attempts[path];
    return attempt === null || attempt.begun + LASTS[path] <= now;
  }

  #isYoung(now: number, path: PathKind): boolean {
    const attempt = this.#attempts[path];
    return attempt !== null && now < attempt.begun + YOUNG;
  }

  #begin(now: number, path: PathKind): void {
    this.#highest += 1;
    const attempt = this.#highest;
    this.#replace(path, { number: attempt, begun: now });
    this.#actions.push({ type: 'begin', attempt, path });
  }

  #replace(path: PathKind, attempt: Attempt | null): void {
    const old = this.#attempts[path];
    this.#attempts[path] = attempt;
    if (old !== null) this.#actions.push({ type: 'close', attempt: old.number });
  }

  #beginTrouble(now: number): void {
    if (this.#trouble !== null) return;
    this.#trouble = { since: now, nextStep: now, pause: LEISURE.first, toldInterrupted: false, isLoss: true };
    this.#actions.push({ type: 'waiting' });
  }

  #endTrouble(): void {
    this.#askedUntil = null;
    const trouble = this.#trouble;
    this.#trouble = null;
    if (trouble?.isLoss === true) this.#actions.push({ type: 'well' });
  }

  #setNextStep(now: number, random: number): void {
    const trouble = this.#trouble;
    if (trouble === null) return;
    const age = now - trouble.since;
    let pause = trouble.pause;
    if (this.#hurried) pause = HASTE.find(([until]) => age < until)?.[1] ?? LEISURE.longest;
    else trouble.pause = Math.min(pause * 2, LEISURE.longest);
    // ± 25 %, in whole milliseconds, so that both languages agree.
    trouble.nextStep = now + Math.floor(pause * (0.75 + random / 2));
  }
}
