//! What the servers of one relay know together: quotas, bandwidth, and who relays at which address.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use foldhash::quality::FixedState;

use crate::byte_bucket::{ByteBucket, DailyEgress};
use crate::config::Limits;
use crate::credential::Principal;
use crate::keyed_map::KeyedMap;
use crate::relay_socket::RelaySocket;
use crate::source_quota::{QuotaReached, SourceQuotas};

/// The common books of several [`Server`](crate::Server)s that each serve a part of the clients.
///
/// A short lock is taken when an allocation begins or ends, and when it is decided whether a host may be permitted, which
/// a reload and a change in a room decide again. Nothing on the way of a payload locks: bandwidth is counted with
/// atomics, and relayed addresses are found in a map whose readers never wait.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Books>);

#[derive(Debug)]
struct Books {
    holdings: Mutex<Holdings>,
    egress: DailyEgress,
    /// `None` where one server has them all.
    relays: Option<Neighbours>,
}

/// Open relay sockets by all their names.
type Neighbours = papaya::HashMap<SocketAddr, Neighbour, FixedState>;

/// Who holds how much.
#[derive(Debug)]
struct Holdings {
    seed: u64,
    sources: SourceQuotas,
    holders: KeyedMap<Principal, Holding>,
}

#[derive(Debug)]
struct Holding {
    holder: Arc<Holder>,
    /// Allocations and reservations.
    held: u32,
    /// How many of them came from each address of the client.
    from: KeyedMap<IpAddr, u32>,
}

/// A credential that holds something at any of the servers.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) principal: Principal,
    pub(crate) bucket: ByteBucket,
}

/// A relay socket, as the other servers need to know it.
#[derive(Debug, Clone)]
pub(crate) struct Neighbour {
    pub(crate) holder: Arc<Holder>,
    /// Where it is bound, on this host.
    pub(crate) bound: SocketAddr,
    /// Where peers elsewhere send to.
    pub(crate) advertised: SocketAddr,
}

impl Ledger {
    /// Books for several servers. `seed` must be random and secret.
    pub fn new(seed: u64, now: Instant) -> Self {
        Self::with_relays(seed, now, Some(Neighbours::with_hasher(FixedState::with_seed(seed))))
    }

    /// Books for a server on its own.
    pub(crate) fn of_one(seed: u64, now: Instant) -> Self {
        Self::with_relays(seed, now, None)
    }

    fn with_relays(seed: u64, now: Instant, relays: Option<Neighbours>) -> Self {
        let holdings = Holdings { seed, sources: SourceQuotas::new(seed), holders: KeyedMap::new(seed) };
        Self(Arc::new(Books { holdings: Mutex::new(holdings), egress: DailyEgress::new(now), relays }))
    }

    fn holdings(&self) -> MutexGuard<'_, Holdings> {
        // Each change is whole before anything can panic.
        self.0.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more for this credential, which may have `most`, and for where it comes from.
    pub(crate) fn take(
        &self,
        principal: &Principal,
        from: IpAddr,
        most: u32,
        limits: &Limits,
        now: Instant,
    ) -> Result<Arc<Holder>, QuotaReached> {
        let mut holdings = self.holdings();
        let Holdings { seed, sources, holders } = &mut *holdings;
        if holders.get(principal).map_or(0, |holding| holding.held) >= most {
            return Err(QuotaReached::Credential);
        }
        sources.take(from, limits)?;
        let holding = holders.entry(principal.clone()).or_insert_with(|| {
            let holder = Arc::new(Holder { principal: principal.clone(), bucket: ByteBucket::full(now) });
            Holding { holder, held: 0, from: KeyedMap::new(*seed) }
        });
        holding.held += 1;
        *holding.from.entry(from).or_default() += 1;
        Ok(Arc::clone(&holding.holder))
    }

    /// Takes one back that was counted.
    pub(crate) fn give_back(&self, holder: &Holder, from: IpAddr) {
        let mut holdings = self.holdings();
        holdings.sources.give_back(from);
        let Some(holding) = holdings.holders.get_mut(&holder.principal) else { return };
        holding.held = holding.held.saturating_sub(1);
        holding.from.decrement(&from);
        if holding.held == 0 {
            holdings.holders.remove(&holder.principal);
        }
    }

    /// Whether the credential holds something that was asked for from this address.
    pub(crate) fn allocates_from(&self, principal: &Principal, address: IpAddr) -> bool {
        self.holdings().holders.get(principal).is_some_and(|holding| holding.from.contains_key(&address))
    }

    /// What the whole relay has moved today.
    pub(crate) fn egress(&self) -> &DailyEgress {
        &self.0.egress
    }

    /// Makes an open relay socket known to the other servers.
    pub(crate) fn publish(&self, holder: &Arc<Holder>, socket: &RelaySocket) {
        let Some(relays) = &self.0.relays else { return };
        let neighbour = Neighbour { holder: Arc::clone(holder), bound: socket.bound(), advertised: socket.relayed() };
        let relays = relays.pin();
        for name in socket.names() {
            relays.insert(name, neighbour.clone());
        }
    }

    /// Makes it unknown again.
    pub(crate) fn withdraw(&self, socket: &RelaySocket) {
        let Some(relays) = &self.0.relays else { return };
        let relays = relays.pin();
        for name in socket.names() {
            relays.remove(&name);
        }
    }

    /// Looks at the relay socket, at any of the servers, that has this name.
    pub(crate) fn neighbour<R>(&self, name: SocketAddr, look: impl FnOnce(&Neighbour) -> R) -> Option<R> {
        self.0.relays.as_ref()?.pin().get(&name).map(look)
    }
}
