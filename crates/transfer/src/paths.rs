//! Which path to try when (LK-2, LK-40 to LK-46): the one decision that both devices must take alike, without a clock or
//! a socket.
//!
//! ```text
//! handle_* ──► Paths ──► poll_action: Begin{attempt, path} | RestartIce | Ask | CheckSignaling | Waiting | …
//!                │
//!                └──── poll_timeout: when to call handle_timeout next
//! ```
//!
//! R leads: it alone numbers and begins attempts. I follows and asks.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The first link has so long before a lane is begun besides.
const FIRST_LANE: Duration = Duration::from_secs(10);
/// Trouble of this age is met with a fresh connection, not only with another path for the old one.
const FRESH: Duration = Duration::from_secs(5);
/// Trouble of this age is met with a lane.
const LANE: Duration = Duration::from_secs(10);
/// People are told that it is interrupted: 30 s after the last sign of life, of which 2 are over when silence is noticed.
const INTERRUPTED: Duration = Duration::from_secs(28);
/// How long an attempt has before the next one of its kind.
const DIRECT_LASTS: Duration = Duration::from_secs(12);
const LANE_LASTS: Duration = Duration::from_secs(5);
/// A wish of the other side changes nothing while an attempt is younger than this, and counts so long.
const YOUNG: Duration = Duration::from_secs(3);
/// An attempt older than this came to nothing because nobody could be reached, once somebody can be again.
const STALE: Duration = Duration::from_secs(1);
/// Between two steps while a transfer waits, by the age of the trouble.
const HASTE: [(Duration, Duration); 3] = [
    (Duration::from_secs(60), Duration::from_secs(1)),
    (Duration::from_secs(600), Duration::from_secs(5)),
    (Duration::MAX, Duration::from_secs(30)),
];
/// Between two steps when nothing waits: doubles.
const LEISURE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
/// From a lane to something better: triples.
const UPGRADE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// The same when WebRTC was left because it crawled, at first.
const UPGRADE_AFTER_CRAWL: Duration = Duration::from_secs(60);
/// A lane that is slow without a break is borne so long before WebRTC gets its turn again: doubles.
const LANE_PATIENCE: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(300));
/// Two reports of a slow link further apart than this were not without a break.
const BREAK: Duration = Duration::from_secs(1);

/// Kinds of links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// WebRTC, direct or through TURN.
    Direct,
    /// Sealed frames over a WebSocket.
    Lane,
}

/// What the shell is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathAction {
    /// Open a link; it replaces an unbound one of its kind. Only R is told so: I begins when R's signals come.
    Begin {
        /// Its number, above all before it.
        attempt: u32,
        /// Its kind.
        path: PathKind,
    },
    /// Look for another path for the link that carries (R).
    RestartIce,
    /// Say `reconnect` (I).
    Ask {
        /// Only a lane can work.
        lane: bool,
    },
    /// Say `reconnect` `slow`: the link that carries crawls (I).
    AskForFaster,
    /// Make sure that the signaling server hears us; connect anew if not.
    CheckSignaling,
    /// Close the link of this attempt: a newer one carries, or has taken its place.
    Close {
        /// Which.
        attempt: u32,
    },
    /// Tell people that it is waited, for so long, before it counts as interrupted.
    Waiting,
    /// Tell people that it is interrupted; trying goes on.
    Interrupted,
    /// Tell people that all is well again.
    Well,
}

/// An attempt that is not bound yet.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    number: u32,
    begun: Instant,
}

/// The link that carries.
#[derive(Debug, Clone, Copy)]
struct Carrying {
    number: u32,
    path: PathKind,
    silent: bool,
}

/// Since when there is no link that is heard, and what was done about it.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    since: Instant,
    next_step: Instant,
    pause: Duration,
    told_interrupted: bool,
    /// Something was up before: so people are told.
    is_loss: bool,
}

/// The decision.
#[derive(Debug)]
pub struct Paths {
    leads: bool,
    highest: u32,
    direct: Option<Attempt>,
    lane: Option<Attempt>,
    carrying: Option<Carrying>,
    trouble: Option<Trouble>,
    /// The other side finds the link bad though we hear it.
    asked_until: Option<Instant>,
    direct_works: bool,
    /// WebRTC cannot work on the other side.
    peer_direct_works: bool,
    has_lane: bool,
    /// The server of the lanes runs on this device.
    own_server: bool,
    /// WebRTC crawled in this network.
    crawled: bool,
    /// Since when the lane was reported slow, and when last.
    lane_slow: Option<(Instant, Instant)>,
    lane_patience: Duration,
    /// When something faster was looked for.
    faster_at: Option<Instant>,
    hurried: bool,
    upgrade_at: Option<Instant>,
    upgrade_pause: Duration,
    actions: VecDeque<PathAction>,
}

impl Paths {
    /// Two devices that have just met. `leads`: this is R. `has_lane`: the server carries lanes. Begins at once.
    #[must_use]
    pub fn new(now: Instant, leads: bool, has_lane: bool) -> Self {
        let trouble = Trouble { since: now, next_step: now, pause: LEISURE.0, told_interrupted: false, is_loss: false };
        let mut paths = Self {
            leads,
            highest: 0,
            direct: None,
            lane: None,
            carrying: None,
            trouble: Some(trouble),
            asked_until: None,
            direct_works: true,
            peer_direct_works: true,
            has_lane,
            own_server: false,
            crawled: false,
            lane_slow: None,
            lane_patience: LANE_PATIENCE.0,
            faster_at: None,
            hurried: true,
            upgrade_at: None,
            upgrade_pause: UPGRADE.0,
            actions: VecDeque::new(),
        };
        if leads {
            paths.begin(now, PathKind::Direct);
        }
        paths.set_next_step(now, 0.5);
        paths
    }

    /// Whether a transfer waits for the link: then trouble is met each second.
    pub fn set_hurried(&mut self, now: Instant, hurried: bool) {
        if std::mem::replace(&mut self.hurried, hurried) != hurried
            && hurried
            && let Some(trouble) = &mut self.trouble
        {
            trouble.next_step = trouble.next_step.min(now);
        }
    }

    /// Whether the server carries lanes; known anew with each return to the mailbox.
    pub fn set_has_lane(&mut self, has_lane: bool) {
        self.has_lane = has_lane;
    }

    /// Whether the server that carries lanes runs on this device: then a lane is as direct as WebRTC.
    pub fn set_own_server(&mut self, own_server: bool) {
        self.own_server = own_server;
    }

    /// The first signal of an attempt came (I). Says whether to open a link for it.
    pub fn handle_attempt(&mut self, now: Instant, number: u32, path: PathKind) -> bool {
        if self.leads || number <= self.highest {
            return false;
        }
        self.highest = number;
        self.replace(path, Some(Attempt { number, begun: now }));
        true
    }

    /// A link was bound on both sides. Says whether it carries from now on.
    pub fn handle_bound(&mut self, now: Instant, number: u32, path: PathKind) -> bool {
        if self.slot(path).is_some_and(|attempt| attempt.number == number) {
            *self.slot(path) = None;
        }
        if self.carrying.is_some_and(|carrying| carrying.number > number) {
            self.actions.push_back(PathAction::Close { attempt: number });
            // What came too late shows that it works.
            if path == PathKind::Direct && self.leads {
                self.upgrade_at = Some(now);
            }
            return false;
        }
        if let Some(old) = self.carrying.replace(Carrying { number, path, silent: false }) {
            self.actions.push_back(PathAction::Close { attempt: old.number });
        }
        match path {
            PathKind::Direct => {
                self.replace(PathKind::Lane, None);
                self.upgrade_at = None;
                if !self.crawled {
                    self.upgrade_pause = UPGRADE.0;
                }
            }
            PathKind::Lane => {
                self.upgrade_at = self.leads.then(|| now + self.upgrade_pause);
            }
        }
        self.end_trouble();
        true
    }

    /// A link ended, or could not be opened. `for_good`: nothing of its kind can work on this device now.
    pub fn handle_closed(&mut self, now: Instant, number: u32, path: PathKind, for_good: bool) {
        if for_good && path == PathKind::Direct {
            self.direct_works = false;
        }
        let was_attempt = self.slot(path).is_some_and(|attempt| attempt.number == number);
        if was_attempt {
            *self.slot(path) = None;
        }
        if self.carrying.is_some_and(|carrying| carrying.number == number) {
            self.carrying = None;
            self.upgrade_at = None;
            self.begin_trouble(now);
        }
        if (was_attempt && for_good)
            && let Some(trouble) = &mut self.trouble
        {
            trouble.next_step = now;
        }
    }

    /// Nothing is heard on the link that carries.
    pub fn handle_silent(&mut self, now: Instant) {
        if let Some(carrying) = &mut self.carrying {
            carrying.silent = true;
            self.begin_trouble(now);
        }
    }

    /// It is heard again.
    pub fn handle_heard(&mut self) {
        if let Some(carrying) = &mut self.carrying {
            carrying.silent = false;
            self.end_trouble();
        }
    }

    /// The link that carries is heard, and yet moves next to nothing of what waits for it (LK-46).
    pub fn handle_slow(&mut self, now: Instant) {
        let Some(Carrying { path, silent: false, .. }) = self.carrying else { return };
        if path == PathKind::Lane && self.bears_lane(now) {
            return;
        }
        if self.leads {
            self.leave_slow(now, path, self.own_server);
        } else if (self.has_lane || path == PathKind::Lane) && self.is_time_for_faster(now) {
            self.actions.push_back(PathAction::AskForFaster);
        }
    }

    /// The other side said `reconnect` `slow`; `own_server`: the server runs there.
    pub fn handle_asked_for_faster(&mut self, now: Instant, own_server: bool) {
        if let (true, Some(Carrying { path, .. })) = (self.leads, self.carrying) {
            self.leave_slow(now, path, self.own_server || own_server);
        }
    }

    /// The other side said `reconnect`.
    pub fn handle_asked(&mut self, now: Instant, lane: bool) {
        if !self.leads {
            return;
        }
        if lane {
            self.peer_direct_works = false;
        }
        let young = |attempt: &Option<Attempt>| attempt.is_some_and(|attempt| now < attempt.begun + YOUNG);
        if young(&self.lane) || young(&self.direct) && !lane {
            return;
        }
        self.asked_until = Some(now + YOUNG);
        match &mut self.trouble {
            Some(trouble) => trouble.next_step = trouble.next_step.min(now),
            None => self.begin_trouble(now),
        }
    }

    /// The other side found no address of its own to offer: WebRTC cannot work there.
    pub fn handle_peer_unreachable(&mut self, now: Instant) {
        self.peer_direct_works = false;
        if let Some(trouble) = &mut self.trouble {
            trouble.next_step = now;
        }
    }

    /// This device has other networks than before, or woke up.
    pub fn handle_network_change(&mut self, now: Instant) {
        self.direct_works = true;
        self.peer_direct_works = true;
        self.lane_patience = LANE_PATIENCE.0;
        if std::mem::take(&mut self.crawled) {
            self.upgrade_pause = UPGRADE.0;
        }
        match (&mut self.trouble, self.carrying) {
            (Some(trouble), _) => trouble.next_step = now,
            (None, Some(Carrying { path: PathKind::Direct, .. })) if self.leads => {
                self.actions.push_back(PathAction::RestartIce);
            }
            (None, Some(Carrying { path: PathKind::Direct, .. })) => {
                self.actions.push_back(PathAction::Ask { lane: false });
            }
            (None, Some(Carrying { path: PathKind::Lane, .. })) if self.leads => self.upgrade_at = Some(now),
            (None, Some(Carrying { path: PathKind::Lane, .. }) | None) => {}
        }
        self.actions.push_back(PathAction::CheckSignaling);
    }

    /// The signaling server is back after it was away, or the other device is back at it: what was tried before then
    /// reached nobody.
    pub fn handle_reachable(&mut self, now: Instant) {
        self.direct_works = true;
        self.peer_direct_works = true;
        let Some(trouble) = &mut self.trouble else { return };
        trouble.next_step = now;
        for path in [PathKind::Direct, PathKind::Lane] {
            if self.leads && self.slot(path).is_some_and(|attempt| attempt.begun + STALE <= now) {
                self.replace(path, None);
            }
        }
    }

    /// Time has passed. `random` is from 0 up to 1 and spreads the steps of many devices.
    pub fn handle_timeout(&mut self, now: Instant, random: f64) {
        if self.upgrade_at.is_some_and(|at| at <= now) {
            self.upgrade_pause = (self.upgrade_pause * 3).min(UPGRADE.1);
            self.upgrade_at = Some(now + self.upgrade_pause);
            if self.trouble.is_none() && self.can_be_direct() && self.is_free(now, PathKind::Direct) {
                self.begin(now, PathKind::Direct);
            }
        }
        if self.asked_until.is_some_and(|until| until <= now) {
            self.asked_until = None;
            if self.carrying.is_some_and(|carrying| !carrying.silent) {
                self.end_trouble();
            }
        }
        let Some(trouble) = self.trouble else { return };
        if trouble.is_loss && !trouble.told_interrupted && trouble.since + INTERRUPTED <= now {
            self.actions.push_back(PathAction::Interrupted);
            if let Some(trouble) = &mut self.trouble {
                trouble.told_interrupted = true;
            }
        }
        if trouble.next_step <= now {
            self.step(now, trouble.since, trouble.is_loss);
            self.set_next_step(now, random);
        }
    }

    /// When to call [`Paths::handle_timeout`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let trouble = self.trouble.map(|trouble| {
            let tell = (trouble.is_loss && !trouble.told_interrupted).then(|| trouble.since + INTERRUPTED);
            tell.map_or(trouble.next_step, |tell| tell.min(trouble.next_step))
        });
        [trouble, self.upgrade_at, self.asked_until].into_iter().flatten().min()
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<PathAction> {
        self.actions.pop_front()
    }

    /// What is done at each step of trouble.
    fn step(&mut self, now: Instant, since: Instant, is_loss: bool) {
        let age = now.saturating_duration_since(since);
        if is_loss {
            self.actions.push_back(PathAction::CheckSignaling);
        }
        if !self.leads {
            let waits = self.direct.is_some_and(|attempt| now < attempt.begun + YOUNG)
                || self.lane.is_some_and(|attempt| now < attempt.begun + YOUNG);
            if !self.direct_works {
                if self.lane.is_none() && self.has_lane {
                    self.actions.push_back(PathAction::Ask { lane: true });
                }
            } else if is_loss && !waits || self.highest == 0 && age >= FIRST_LANE {
                self.actions.push_back(PathAction::Ask { lane: false });
            }
            return;
        }
        let silent_direct = matches!(self.carrying, Some(Carrying { path: PathKind::Direct, .. }));
        if self.can_be_direct() {
            if silent_direct && age < FRESH && self.asked_until.is_none() {
                self.actions.push_back(PathAction::RestartIce);
            } else if self.is_free(now, PathKind::Direct) {
                self.begin(now, PathKind::Direct);
            }
        }
        let lane_due = if is_loss { LANE } else { FIRST_LANE };
        let was_lane = matches!(self.carrying, Some(Carrying { path: PathKind::Lane, .. }));
        if self.has_lane && (age >= lane_due || was_lane || !self.can_be_direct()) && self.is_free(now, PathKind::Lane)
        {
            self.begin(now, PathKind::Lane);
        }
    }

    /// Opens another kind of link beside the one that crawls, which carries until the new one is bound.
    fn leave_slow(&mut self, now: Instant, path: PathKind, lane_is_direct: bool) {
        match path {
            PathKind::Direct if lane_is_direct => self.begin_faster(now),
            PathKind::Direct => {}
            // It is the network that is slow, or TCP that is worse off in it.
            PathKind::Lane if self.crawled => self.upgrade_at = Some(now),
            PathKind::Lane => {}
        }
    }

    /// Whether a lane that is reported slow now is not left yet. Each time that it is, the next is borne twice as long: where
    /// both crawl, ever less is lost to changing.
    fn bears_lane(&mut self, now: Instant) -> bool {
        let since = self.lane_slow.filter(|(_, last)| now <= *last + BREAK).map_or(now, |(since, _)| since);
        self.lane_slow = Some((since, now));
        if now < since + self.lane_patience {
            return true;
        }
        self.lane_slow = None;
        self.lane_patience = (self.lane_patience * 2).min(LANE_PATIENCE.1);
        false
    }

    fn begin_faster(&mut self, now: Instant) {
        if self.has_lane && self.is_free(now, PathKind::Lane) && self.is_time_for_faster(now) {
            self.crawled = true;
            self.upgrade_pause = self.upgrade_pause.max(UPGRADE_AFTER_CRAWL);
            self.begin(now, PathKind::Lane);
        }
    }

    /// As often as a lane could be begun anew.
    fn is_time_for_faster(&mut self, now: Instant) -> bool {
        let is_time = self.faster_at.is_none_or(|at| at + LANE_LASTS <= now);
        if is_time {
            self.faster_at = Some(now);
        }
        is_time
    }

    fn can_be_direct(&self) -> bool {
        self.direct_works && self.peer_direct_works
    }

    /// Whether no attempt of the kind is under way that still has time.
    fn is_free(&self, now: Instant, path: PathKind) -> bool {
        let (attempt, lasts) = match path {
            PathKind::Direct => (self.direct, DIRECT_LASTS),
            PathKind::Lane => (self.lane, LANE_LASTS),
        };
        attempt.is_none_or(|attempt| attempt.begun + lasts <= now)
    }

    fn begin(&mut self, now: Instant, path: PathKind) {
        // 2³² attempts are not reached in a session.
        self.highest = self.highest.saturating_add(1);
        let number = self.highest;
        self.replace(path, Some(Attempt { number, begun: now }));
        self.actions.push_back(PathAction::Begin { attempt: number, path });
    }

    fn replace(&mut self, path: PathKind, attempt: Option<Attempt>) {
        if let Some(old) = std::mem::replace(self.slot(path), attempt) {
            self.actions.push_back(PathAction::Close { attempt: old.number });
        }
    }

    fn slot(&mut self, path: PathKind) -> &mut Option<Attempt> {
        match path {
            PathKind::Direct => &mut self.direct,
            PathKind::Lane => &mut self.lane,
        }
    }

    fn begin_trouble(&mut self, now: Instant) {
        if self.trouble.is_some() {
            return;
        }
        self.trouble =
            Some(Trouble { since: now, next_step: now, pause: LEISURE.0, told_interrupted: false, is_loss: true });
        self.actions.push_back(PathAction::Waiting);
    }

    fn end_trouble(&mut self) {
        self.asked_until = None;
        if self.trouble.take().is_some_and(|trouble| trouble.is_loss) {
            self.actions.push_back(PathAction::Well);
        }
    }

    fn set_next_step(&mut self, now: Instant, random: f64) {
        let hurried = self.hurried;
        let Some(trouble) = &mut self.trouble else { return };
        let age = now.saturating_duration_since(trouble.since);
        let pause = if hurried {
            HASTE.iter().find(|(until, _)| age < *until).map_or(LEISURE.1, |(_, pause)| *pause)
        } else {
            let pause = trouble.pause;
            trouble.pause = (pause * 2).min(LEISURE.1);
            pause
        };
        // ± 25 %, in whole milliseconds, so that both languages agree.
        let spread = (pause.as_millis() as f64 * (0.75 + random / 2.0)) as u64;
        trouble.next_step = now + Duration::from_millis(spread);
    }
}
