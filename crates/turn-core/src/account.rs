//! What a credential holds at the moment.

use std::time::Instant;

use crate::byte_bucket::{Bandwidth, ByteBucket};
use crate::credential::Principal;
use crate::keyed_map::KeyedMap;
use crate::slab::{Key, Slab};

/// A credential with at least one allocation or reservation.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) principal: Principal,
    pub(crate) allocations: Vec<Key>,
    pub(crate) reservations: u32,
    pub(crate) bucket: ByteBucket,
}

impl Account {
    /// What counts against the quota.
    pub(crate) fn held(&self) -> u32 {
        u32::try_from(self.allocations.len()).unwrap_or(u32::MAX).saturating_add(self.reservations)
    }
}

/// Accounts in use; gone with the last thing they hold, so bounded by the number of allocations.
#[derive(Debug)]
pub(crate) struct Accounts {
    accounts: Slab<Account>,
    keys: KeyedMap<Principal, Key>,
}

impl Accounts {
    pub(crate) fn new(seed: u64) -> Self {
        Self { accounts: Slab::new(), keys: KeyedMap::new(seed) }
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Account> {
        self.accounts.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Account> {
        self.accounts.get_mut(key)
    }

    pub(crate) fn find(&self, principal: &Principal) -> Option<Key> {
        self.keys.get(principal).copied()
    }

    /// The account of this principal, opened if need be. Put something into it, or call [`Self::tidy`].
    pub(crate) fn open(&mut self, principal: &Principal, bandwidth: Option<Bandwidth>, now: Instant) -> Key {
        if let Some(key) = self.find(principal) {
            return key;
        }
        let key = self.accounts.insert(Account {
            principal: principal.clone(),
            allocations: Vec::new(),
            reservations: 0,
            bucket: ByteBucket::full(bandwidth, now),
        });
        self.keys.insert(principal.clone(), key);
        key
    }

    /// Closes the account if it holds nothing.
    pub(crate) fn tidy(&mut self, key: Key) {
        if self.accounts.get(key).is_some_and(|account| account.held() == 0)
            && let Some(account) = self.accounts.remove(key)
        {
            self.keys.remove(&account.principal);
        }
    }
}
