//! Who a client is: time-limited credentials from a shared secret, and static users.
//!
//! ```text
//! username = expiry ":" tag               expiry in seconds since 1970, decimal
//! password = base64(HMAC-SHA-1(secret, username))
//! ```
//!
//! The form WebRTC servers agree on (draft-uberti-behave-turn-rest-00 §2.2): whoever knows the secret mints
//! credentials, and nobody has to be told of them.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::keyed_map::KeyedMap;
use crate::peer_policy::PeerPolicy;
use crate::stun::{IntegrityKey, Message, PasswordAlgorithm};

/// Bytes of a username at most, also of those that clients of RFC 5389 may send (RFC 8489 §14.3).
const MAX_USERNAME_BYTES: usize = 763;

/// Secrets in use at once: the newest, and older ones until what they minted has run out. More are ignored.
pub const MAX_SHARED_SECRETS: usize = 8;

/// A secret that mints time-limited credentials. Wiped when dropped; prints nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedSecret(Zeroizing<Vec<u8>>);

/// Username and password as a WebRTC page gets them.
#[derive(Clone, PartialEq, Eq)]
pub struct MintedCredential {
    /// `expiry:tag`.
    pub username: String,
    /// 28 characters of base64.
    pub password: String,
}

impl SharedSecret {
    /// Takes the secret's bytes; 16 random ones or more.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// A credential that may allocate until `expires_unix`, in seconds since 1970.
    pub fn mint(&self, expires_unix: u64, tag: &str) -> MintedCredential {
        let username = format!("{expires_unix}:{tag}");
        let password = self.password_for(username.as_bytes());
        MintedCredential { username, password: String::clone(&password) }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    fn password_for(&self, username: &[u8]) -> Zeroizing<String> {
        let mac = Hmac::<Sha1>::new_from_slice(&self.0).map(|mac| mac.chain_update(username).finalize().into_bytes());
        Zeroizing::new(mac.map_or_else(|_| String::new(), |mac| data_encoding::BASE64.encode(&mac)))
    }

    fn print(&self) -> CredentialPrint {
        CredentialPrint::of(&[b"secret", &self.0])
    }
}

impl std::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedSecret(..)")
    }
}

impl std::fmt::Debug for MintedCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MintedCredential(..)")
    }
}

/// A user of another application, with a password that does not expire.
#[derive(Clone, PartialEq, Eq)]
pub struct StaticUser {
    /// The username; taken before any time-limited form.
    pub name: String,
    /// The password.
    pub password: String,
    /// The user's own rule for peers, instead of the server's.
    pub peer_policy: Option<PeerPolicy>,
    /// Allocations at once, instead of [`Limits::allocations_per_credential`](crate::Limits).
    pub max_allocations: Option<u32>,
}

impl std::fmt::Debug for StaticUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StaticUser").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Tells whether the secret or password that an allocation was made with is still in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CredentialPrint([u8; 16]);

impl CredentialPrint {
    fn of(parts: &[&[u8]]) -> Self {
        let hash = parts
            .iter()
            .fold(Sha256::new(), |hash, part| hash.chain_update((part.len() as u64).to_be_bytes()).chain_update(part));
        Self(hash.finalize().first_chunk().copied().unwrap_or_default())
    }
}

/// Whom a quota, a bandwidth and a rule for peers belong to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Principal {
    /// A static user, by name.
    User(Box<[u8]>),
    /// The bearer of time-limited credentials, by tag: a renewed credential has another expiry and the same tag.
    Tag(Box<[u8]>),
}

/// Who a request says it comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Claim<'a> {
    /// USERNAME.
    Username(&'a [u8]),
    /// USERHASH; static users only, as a hash hides the expiry.
    Userhash(&'a [u8]),
}

/// A request's sender, proved by its message integrity.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) principal: Principal,
    pub(crate) print: CredentialPrint,
    pub(crate) key: IntegrityKey,
    /// When the credential runs out, in seconds since 1970.
    pub(crate) expires_unix: Option<u64>,
}

/// A static user, and what each request would otherwise have to compute again.
#[derive(Debug)]
struct KnownUser {
    user: StaticUser,
    print: CredentialPrint,
    md5_key: IntegrityKey,
    sha256_key: IntegrityKey,
}

/// All that clients are checked against.
#[derive(Debug)]
pub(crate) struct Credentials {
    realm: Box<[u8]>,
    /// With what tells allocations made with them apart.
    secrets: Vec<(SharedSecret, CredentialPrint)>,
    users: KeyedMap<Box<[u8]>, KnownUser>,
    names_by_hash: KeyedMap<[u8; 32], Box<[u8]>>,
}

impl Credentials {
    pub(crate) fn new(realm: &str, seed: u64) -> Self {
        Self {
            realm: realm.as_bytes().into(),
            secrets: Vec::new(),
            users: KeyedMap::new(seed),
            names_by_hash: KeyedMap::new(seed),
        }
    }

    pub(crate) fn realm(&self) -> &[u8] {
        &self.realm
    }

    pub(crate) fn set_secrets(&mut self, mut secrets: Vec<SharedSecret>) {
        secrets.truncate(MAX_SHARED_SECRETS);
        self.secrets = secrets.into_iter().map(|secret| (secret.clone(), secret.print())).collect();
    }

    pub(crate) fn set_users(&mut self, users: Vec<StaticUser>) {
        self.users.clear();
        self.names_by_hash.clear();
        for user in users {
            let name: Box<[u8]> = user.name.as_bytes().into();
            self.names_by_hash.insert(userhash(&name, &self.realm), name.clone());
            let key = |algorithm| IntegrityKey::long_term(algorithm, &name, &self.realm, user.password.as_bytes());
            let (md5_key, sha256_key) = (key(PasswordAlgorithm::Md5), key(PasswordAlgorithm::Sha256));
            let print = user_print(&user);
            self.users.insert(name, KnownUser { user, print, md5_key, sha256_key });
        }
    }

    pub(crate) fn user(&self, name: &[u8]) -> Option<&StaticUser> {
        self.users.get(name).map(|known| &known.user)
    }

    /// Whether clients should hide their names: only when every name can be found by its hash.
    pub(crate) fn offers_anonymity(&self) -> bool {
        self.secrets.is_empty() && !self.users.is_empty()
    }

    /// Whether an allocation made with this print may stay.
    pub(crate) fn is_in_force(&self, principal: &Principal, print: CredentialPrint) -> bool {
        match principal {
            Principal::User(name) => self.users.get(name).is_some_and(|known| known.print == print),
            Principal::Tag(_) => self.secrets.iter().any(|(_, known)| *known == print),
        }
    }

    /// Finds the credential that `message` was protected with. `None` for an unknown name and for a wrong password
    /// alike.
    pub(crate) fn verify(
        &self,
        claim: Claim<'_>,
        algorithm: PasswordAlgorithm,
        message: &Message<'_>,
    ) -> Option<Verified> {
        let username = match claim {
            Claim::Username(username) => username,
            Claim::Userhash(hash) => self.names_by_hash.get(hash)?,
        };
        if username.len() > MAX_USERNAME_BYTES {
            return None;
        }
        if let Some(known) = self.users.get(username) {
            let key = match algorithm {
                PasswordAlgorithm::Md5 => &known.md5_key,
                PasswordAlgorithm::Sha256 => &known.sha256_key,
            };
            return message.verify_integrity(key).then(|| Verified {
                principal: Principal::User(username.into()),
                print: known.print,
                key: key.clone(),
                expires_unix: None,
            });
        }
        let (expires_unix, tag) = split_time_limited(username)?;
        self.secrets.iter().find_map(|(secret, print)| {
            let password = secret.password_for(username);
            let key = IntegrityKey::long_term(algorithm, username, &self.realm, password.as_bytes());
            message.verify_integrity(&key).then(|| Verified {
                principal: Principal::Tag(tag.into()),
                print: *print,
                key,
                expires_unix: Some(expires_unix),
            })
        })
    }
}

fn user_print(user: &StaticUser) -> CredentialPrint {
    CredentialPrint::of(&[b"user", user.name.as_bytes(), user.password.as_bytes()])
}

/// USERHASH's value (RFC 8489 §14.4).
fn userhash(username: &[u8], realm: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(username).chain_update(b":").chain_update(realm).finalize().into()
}

/// Expiry and tag of `expiry:tag`.
fn split_time_limited(username: &[u8]) -> Option<(u64, &[u8])> {
    let colon = username.iter().position(|byte| *byte == b':')?;
    let (expiry, tag) = username.split_at_checked(colon)?;
    let tag = tag.strip_prefix(b":").filter(|tag| !tag.is_empty())?;
    // `parse` would take a plus sign.
    if !expiry.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some((str::from_utf8(expiry).ok()?.parse().ok()?, tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minted_password_is_what_other_servers_expect() {
        // Computed with `printf 1433895918:filoozom | openssl dgst -sha1 -hmac my_secret -binary | base64`.
        let minted = SharedSecret::new(*b"my_secret").mint(1_433_895_918, "filoozom");
        assert_eq!(minted.username, "1433895918:filoozom");
        assert_eq!(minted.password, "aUGbjuOFOF48SK3e7ibJM5slrLE=");
    }

    #[test]
    fn time_limited_names_are_split_at_the_first_colon() {
        assert_eq!(split_time_limited(b"12:a:b"), Some((12, &b"a:b"[..])));
        for name in [&b"12"[..], b"12:", b":a", b"+12:a", b"-1:a", b"12x:a", b"99999999999999999999:a", b"\xff:a"] {
            assert_eq!(split_time_limited(name), None);
        }
    }

    #[test]
    fn secrets_do_not_print_themselves() {
        let user = StaticUser { name: "u".into(), password: "hush".into(), peer_policy: None, max_allocations: None };
        let secret = SharedSecret::new(*b"hush");
        let text = format!("{user:?} {secret:?} {:?}", secret.mint(1, "t"));
        assert!(!text.contains("hush") && !text.contains("1:t"), "{text}");
    }
}
