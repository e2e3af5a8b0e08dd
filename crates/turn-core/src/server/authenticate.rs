//! The long-term credential mechanism (RFC 8489 §9.2.4), and refusals that are worth nothing to a reflector.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Server;
use super::answer::overhead_bytes;
use crate::credential::{Claim, CredentialPrint, Principal, Verified};
use crate::five_tuple::FiveTuple;
use crate::nonce::{Features, Nonce, NonceCheck};
use crate::stun::{
    AttributeKind, Class, ErrorCode, Integrity, IntegrityKey, Message, MessageWriter, PasswordAlgorithm,
};

/// PASSWORD-ALGORITHMS as offered: SHA-256, then MD5, neither with parameters (RFC 8489 §14.11).
const PASSWORD_ALGORITHMS: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];

/// A refusal weighs at most 2.2 times its request, both with IP and UDP headers.
const MAX_AMPLIFICATION_TENTHS: usize = 22;

/// Who sent a request, proved.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) principal: Principal,
    pub(super) print: CredentialPrint,
    pub(super) key: IntegrityKey,
    pub(super) integrity: Integrity,
}

/// Why a request was refused before its sender was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// No integrity: the first step of every client. 401.
    NoCredentials,
    /// Integrity without what is needed to check it, or algorithms that were not offered. 400.
    Malformed,
    /// Unknown name, wrong password, or expired. 401.
    WrongCredentials,
    /// All right, except for the nonce. 438.
    StaleNonce,
}

impl Server {
    /// The proved sender of a request; `None` when it was refused, which is answered here.
    ///
    /// Nothing is kept, logged or allocated for a request that does not pass.
    pub(super) fn authenticate(&mut self, now: Instant, tuple: FiveTuple, request: &Message<'_>) -> Option<Sender> {
        match self.try_authenticate(now, &tuple, request) {
            Ok(sender) => Some(sender),
            Err(refusal) => {
                self.refuse(now, tuple, request, refusal);
                None
            }
        }
    }

    fn try_authenticate(&mut self, now: Instant, tuple: &FiveTuple, request: &Message<'_>) -> Result<Sender, Refusal> {
        let integrity = request.integrity_kind().ok_or(Refusal::NoCredentials)?;
        let claim = match request.attribute(AttributeKind::USERNAME) {
            Some(username) => Claim::Username(username),
            None => Claim::Userhash(request.attribute(AttributeKind::USERHASH).ok_or(Refusal::Malformed)?),
        };
        request.attribute(AttributeKind::REALM).ok_or(Refusal::Malformed)?;
        let nonce = request.attribute(AttributeKind::NONCE).ok_or(Refusal::Malformed)?;
        self.nonces.rotate_if_due(now, &mut self.rng);
        let nonce = self.nonces.check(now, tuple, nonce);
        let algorithm = chosen_algorithm(request, nonce)?;

        let Verified { principal, print, key, expires_unix } =
            self.credentials.verify(claim, algorithm, request).ok_or(Refusal::WrongCredentials)?;
        if nonce == NonceCheck::Stale {
            return Err(Refusal::StaleNonce);
        }
        if expires_unix.is_some_and(|expires| !self.is_in_time(now, tuple, &principal, expires)) {
            return Err(Refusal::WrongCredentials);
        }
        Ok(Sender { principal, print, key, integrity })
    }

    /// Whether a time-limited credential is good for this request: before it expires for everything, and after that
    /// for keeping an allocation that was made with it.
    fn is_in_time(&self, now: Instant, tuple: &FiveTuple, principal: &Principal, expires_unix: u64) -> bool {
        let Some((then, time_then)) = self.wall_clock else { return false };
        let time = time_then.saturating_add(now.saturating_duration_since(then));
        let expires = Duration::from_secs(expires_unix);
        if time < expires {
            return true;
        }
        let holds_allocation =
            self.allocation_of.get(tuple).and_then(|key| self.allocations.get(*key)).is_some_and(|allocation| {
                self.accounts.get(allocation.account).is_some_and(|account| account.principal() == principal)
            });
        let is_member = match principal {
            Principal::Tag(tag) => self.rooms.member(tag).is_some(),
            Principal::User(_) => false,
        };
        holds_allocation && (is_member || time < expires.saturating_add(self.config.limits.expired_credential_grace))
    }

    fn refuse(&mut self, now: Instant, tuple: FiveTuple, request: &Message<'_>, refusal: Refusal) {
        let code = match refusal {
            Refusal::NoCredentials | Refusal::WrongCredentials => ErrorCode::UNAUTHENTICATED,
            Refusal::Malformed => ErrorCode::BAD_REQUEST,
            Refusal::StaleNonce => ErrorCode::STALE_NONCE,
        };
        // A stream has proved its source address, so it gets its challenge at once, as it will not ask twice. Wrong
        // credentials are counted everywhere: somebody may be guessing.
        let source = tuple.canonical_client().ip();
        let is_counted = refusal == Refusal::WrongCredentials || !tuple.transport.is_stream();
        if is_counted && !self.reply_budget.take_refusal(now, source) {
            self.metrics.answers_withheld += 1;
            return;
        }
        match refusal {
            Refusal::NoCredentials => self.metrics.challenges += 1,
            Refusal::WrongCredentials => self.metrics.wrong_credentials += 1,
            Refusal::Malformed | Refusal::StaleNonce => self.metrics.count_refusal(code),
        }

        // From the heaviest answer to the lightest: the first that is light enough for this request goes out.
        let anonymity = self.credentials.offers_anonymity();
        let algorithms = Features { password_algorithms: true, username_anonymity: anonymity };
        let no_algorithms = Features { password_algorithms: false, username_anonymity: anonymity };
        let variants =
            [(algorithms, code.reason()), (no_algorithms, code.reason()), (Features::default(), "")].into_iter();
        for (features, reason) in variants {
            let (nonces, realm) = (&self.nonces, self.credentials.realm());
            let sent = self.outbox.reply(tuple, |buffer| {
                let write = |buffer: &mut Vec<u8>, nonce: Option<Nonce>| {
                    let (method, id) = (request.method(), request.transaction_id());
                    let mut writer = MessageWriter::new(buffer, Class::Error, method, id);
                    write_challenge(&mut writer, code, reason, realm, nonce.as_ref(), features);
                    if request.has_fingerprint() {
                        writer.fingerprint();
                    }
                    let is_light = tuple.transport.is_stream() || is_light_enough(source, request, writer.len());
                    is_light.then(|| writer.finish().ok()).flatten()
                };
                if refusal == Refusal::Malformed {
                    return write(buffer, None);
                }
                // Weighed with a blank nonce first: its HMAC is computed once, for the answer that goes out.
                let start = buffer.len();
                write(buffer, Some(Nonce::blank(features)))?;
                buffer.truncate(start);
                write(buffer, Some(nonces.issue(now, &tuple, features)))
            });
            if sent {
                return;
            }
        }
        self.metrics.answers_withheld += 1;
    }
}

/// The algorithm that made the key (RFC 8489 §9.2.4).
fn chosen_algorithm(request: &Message<'_>, nonce: NonceCheck) -> Result<PasswordAlgorithm, Refusal> {
    let offered = request.attribute(AttributeKind::PASSWORD_ALGORITHMS);
    let chosen = request.attribute(AttributeKind::PASSWORD_ALGORITHM);
    match nonce {
        NonceCheck::Fresh(Features { password_algorithms: false, .. }) => Ok(PasswordAlgorithm::Md5),
        // Both or neither, and the offer as it was made: else somebody on the way has changed it.
        NonceCheck::Fresh(Features { password_algorithms: true, .. }) => match (offered, chosen) {
            (None, None) => Ok(PasswordAlgorithm::Md5),
            (Some(offered), Some(chosen)) if *offered == PASSWORD_ALGORITHMS => decode_algorithm(chosen),
            _ => Err(Refusal::Malformed),
        },
        // What was offered with an old nonce is not known any more. The request goes no further than to a 438.
        NonceCheck::Stale => chosen.map_or(Ok(PasswordAlgorithm::Md5), decode_algorithm),
    }
}

fn decode_algorithm(value: &[u8]) -> Result<PasswordAlgorithm, Refusal> {
    match value {
        [0, 1, 0, 0] => Ok(PasswordAlgorithm::Md5),
        [0, 2, 0, 0] => Ok(PasswordAlgorithm::Sha256),
        _ => Err(Refusal::Malformed),
    }
}

fn write_challenge(
    writer: &mut MessageWriter<'_>,
    code: ErrorCode,
    reason: &str,
    realm: &[u8],
    nonce: Option<&Nonce>,
    features: Features,
) {
    writer.error_code(code, reason);
    if let Some(nonce) = nonce {
        writer.attribute(AttributeKind::REALM, realm);
        writer.attribute(AttributeKind::NONCE, nonce.as_bytes());
        if features.password_algorithms {
            writer.attribute(AttributeKind::PASSWORD_ALGORITHMS, &PASSWORD_ALGORITHMS);
        }
    }
}

fn is_light_enough(source: IpAddr, request: &Message<'_>, reply_bytes: usize) -> bool {
    let overhead = overhead_bytes(source);
    (reply_bytes + overhead) * 10 <= (request.bytes().len() + overhead) * MAX_AMPLIFICATION_TENTHS
}
