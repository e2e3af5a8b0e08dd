//! What a credential holds of one server at the moment.

use std::sync::Arc;

use crate::credential::Principal;
use crate::keyed_map::KeyedMap;
use crate::ledger::Holder;
use crate::slab::{Key, Slab};

/// A credential with at least one allocation or reservation here.
#[derive(Debug)]
pub(crate) struct Account {
    /// What it has in common with this credential's accounts at other servers.
    pub(crate) holder: Arc<Holder>,
    pub(crate) allocations: Vec<Key>,
    pub(crate) reservations: u32,
}

impl Account {
    pub(crate) fn principal(&self) -> &Principal {
        &self.holder.principal
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

    pub(crate) fn find(&self, principal: &Principal) -> Option<&Account> {
        self.accounts.get(*self.keys.get(principal)?)
    }

    /// The holder's account, opened if need be. Put something into it.
    pub(crate) fn open(&mut self, holder: Arc<Holder>) -> Key {
        if let Some(key) = self.keys.get(&holder.principal) {
            return *key;
        }
        let principal = holder.principal.clone();
        let key = self.accounts.insert(Account { holder, allocations: Vec::new(), reservations: 0 });
        self.keys.insert(principal, key);
        key
    }

    /// Closes the account if it holds nothing.
    pub(crate) fn tidy(&mut self, key: Key) {
        let is_empty = |account: &Account| account.allocations.is_empty() && account.reservations == 0;
        if self.accounts.get(key).is_some_and(is_empty)
            && let Some(account) = self.accounts.remove(key)
        {
            self.keys.remove(account.principal());
        }
    }
}
