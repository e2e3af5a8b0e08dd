//! A certificate that the relay gets and renews itself (RFC 8555), proved on the https port (TLS-ALPN-01, RFC 8737).
//!
//! State is two files in a directory that only the relay can read: `account.json` (the account's key) and
//! `certificate.json` (domains, chain and key, replaced as one).

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Request, Uri, header};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, HttpClient,
    Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, pem};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tracing::{info, warn};

use crate::config::AcmeConfig;
use crate::outbound::{self, TrustError};
use crate::tls::{Identity, IdentityError, provider};

/// How long an authority may take for an answer.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// Pauses after failures: the first, doubled each time up to the last. Authorities count failures by the hour.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LAST_PAUSE: Duration = Duration::from_secs(6 * 3600);
/// How often the clock is looked at; a machine may have slept.
const LOOK: Duration = Duration::from_secs(3600);

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcmeError {
    #[error("cannot use the state in {path}: {source}")]
    State { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("the authority: {0}")]
    Authority(#[from] instant_acme::Error),
    #[error("the authority does not offer TLS-ALPN-01 for {0}")]
    NoChallenge(String),
    #[error("the authority did not find the proof: {0}. It must reach the https port of this relay as port 443")]
    Unproved(String),
    #[error("cannot make a key: {0}")]
    Key(#[from] rcgen::Error),
    #[error("the certificate that came cannot be read: {0}")]
    Malformed(#[from] pem::Error),
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Keeps an identity supplied.
pub(crate) struct Certifier {
    config: AcmeConfig,
    identity: Arc<Identity>,
}

/// The certificate as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    directory: String,
    domains: Vec<String>,
    chain: String,
    key: String,
}

/// The account as it is kept.
#[derive(Serialize, Deserialize)]
struct KeptAccount {
    directory: String,
    credentials: AccountCredentials,
}

impl Certifier {
    /// Makes sure that state can be kept, and shows the certificate that is.
    pub(crate) fn open(config: AcmeConfig) -> Result<(Self, Arc<Identity>), AcmeError> {
        let state = |source| AcmeError::State { path: config.state.clone(), source };
        make_private(&config.state).map_err(state)?;
        let identity = Arc::new(Identity::empty()?);
        let kept: Option<Kept> = read(&config.state.join(CERTIFICATE)).map_err(state)?;
        let fits = |kept: &Kept| kept.directory == config.directory && kept.domains == config.domains;
        if let Some(kept) = kept.filter(fits)
            && let Err(error) = show(&identity, &kept)
        {
            warn!(%error, "the certificate that was kept cannot be used; getting another one");
        }
        Ok((Self { config, identity: Arc::clone(&identity) }, identity))
    }

    /// Gets a certificate whenever the one that is shown has less than a third of its time left.
    pub(crate) async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let wait = self.time_left();
            if !wait.is_zero() {
                tokio::time::sleep(wait.min(LOOK)).await;
                continue;
            }
            match self.renew().await {
                Ok(()) => {
                    info!("got a certificate");
                    pause = FIRST_PAUSE;
                }
                Err(error) => {
                    warn!(%error, next_try_seconds = pause.as_secs(), "got no certificate");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
        }
    }

    /// Time until a new certificate is due.
    fn time_left(&self) -> Duration {
        let Some((from, until)) = self.identity.validity() else { return Duration::ZERO };
        let due = until - (until - from) / 3;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().cast_signed();
        Duration::from_secs(u64::try_from(due - now).unwrap_or(0))
    }

    async fn renew(&self) -> Result<(), AcmeError> {
        let account = self.account().await?;
        let domains = &self.config.domains;
        let identifiers: Vec<_> = domains.iter().cloned().map(Identifier::Dns).collect();
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
        let proved = self.prove(&mut order).await;
        for domain in domains {
            self.identity.set_challenge(domain, None);
        }
        proved?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(domains.clone())?;
        params.distinguished_name = DistinguishedName::new();
        order.finalize_csr(params.serialize_request(&key)?.der()).await?;
        let chain = order.poll_certificate(&RetryPolicy::default()).await?;
        let kept = Kept {
            directory: self.config.directory.clone(),
            domains: domains.clone(),
            chain,
            key: key.serialize_pem(),
        };
        show(&self.identity, &kept)?;
        self.keep(CERTIFICATE, &kept)
    }

    /// Shows for each domain what the authority wants to see, and waits until it has.
    async fn prove(&self, order: &mut Order) -> Result<(), AcmeError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let Identifier::Dns(domain) = authorization.identifier().identifier.clone() else { continue };
            let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
                return Err(AcmeError::NoChallenge(domain));
            };
            let proof = proof(&domain, challenge.key_authorization().digest().as_ref())?;
            self.identity.set_challenge(&domain, Some(proof));
            challenge.set_ready().await?;
        }
        if order.poll_ready(&RetryPolicy::default()).await? == OrderStatus::Ready {
            return Ok(());
        }
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            authorization.refresh().await?;
            let problem = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
            if let Some(problem) = problem {
                return Err(AcmeError::Unproved(problem.to_string()));
            }
        }
        Err(AcmeError::Unproved("no reason given".to_owned()))
    }

    /// The account of earlier times at this authority, or a new one.
    async fn account(&self) -> Result<Account, AcmeError> {
        let AcmeConfig { directory, contact, roots, state, .. } = &self.config;
        let roots = outbound::roots(roots.as_deref())?;
        let tls = outbound::strict_tls(roots).map_err(IdentityError::Unusable)?;
        let http = Box::new(AuthorityHttp(TlsConnector::from(Arc::new(tls))));
        let kept: Option<KeptAccount> =
            read(&state.join(ACCOUNT)).map_err(|source| AcmeError::State { path: state.clone(), source })?;
        if let Some(kept) = kept.filter(|kept| kept.directory == *directory) {
            return Ok(Account::builder_with_http(http).from_credentials(kept.credentials).await?);
        }
        let contact: Vec<_> = contact.iter().map(|address| format!("mailto:{address}")).collect();
        let contact: Vec<_> = contact.iter().map(String::as_str).collect();
        let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let builder = Account::builder_with_http(http);
        let (account, credentials) = builder.create(&new, directory.clone(), None).await?;
        self.keep(ACCOUNT, &KeptAccount { directory: directory.clone(), credentials })?;
        Ok(account)
    }

    fn keep(&self, name: &str, value: &impl Serialize) -> Result<(), AcmeError> {
        let path = self.config.state.join(name);
        write(&path, value).map_err(|source| AcmeError::State { path, source })
    }
}

const ACCOUNT: &str = "account.json";
const CERTIFICATE: &str = "certificate.json";

fn show(identity: &Identity, kept: &Kept) -> Result<(), AcmeError> {
    let chain = CertificateDer::pem_slice_iter(kept.chain.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(kept.key.as_bytes())?;
    Ok(identity.show(chain, key)?)
}

/// A certificate that proves the domain (RFC 8737 §3).
fn proof(domain: &str, digest: &[u8]) -> Result<CertifiedKey, AcmeError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![domain.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let key = provider().key_provider.load_private_key(key.into()).map_err(IdentityError::Unusable)?;
    // Not `from_der`: it reads the certificate, and refuses the extension that must be critical here.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

/// What is in a file; `None` when there is none or it is of another version.
fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> io::Result<Option<T>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a directory; on Unix only its owner can look into it.
fn make_private(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Replaces a file as one; on Unix only the owner can read it.
fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let new = path.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(&serde_json::to_vec_pretty(value)?)?;
    file.sync_all()?;
    // Windows does not rename an open file.
    drop(file);
    std::fs::rename(&new, path)?;
    // The new name is kept too; only Unix opens directories as files.
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Requests to the authority: a connection each, they are few.
struct AuthorityHttp(TlsConnector);

impl HttpClient for AuthorityHttp {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let sending = send(self.0.clone(), request);
        Box::pin(async move {
            let answer = timeout(ANSWER_TIME, sending).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            answer.map_err(|error| instant_acme::Error::Other(Box::new(error)))
        })
    }
}

async fn send(tls: TlsConnector, request: Request<BodyWrapper<Bytes>>) -> io::Result<BytesResponse> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let (mut head, body) = request.into_parts();
    let authority = head.uri.authority().ok_or_else(invalid)?.clone();
    if head.uri.scheme_str() != Some("https") {
        return Err(invalid());
    }
    let host = authority.host().trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).map_err(|_| invalid())?;
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(443))).await?;
    let stream = tls.connect(name, stream).await?;
    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    head.uri = Uri::from(path);
    head.headers.insert(header::HOST, HeaderValue::from_str(authority.as_str()).map_err(|_| invalid())?);
    let answer = outbound::ask(stream, Request::from_parts(head, Body::new(body))).await?;
    let (parts, body) = answer.into_parts();
    Ok(BytesResponse { parts, body: Box::new(body) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proof_can_be_shown() {
        proof("relay.test", &[7; 32]).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn state_is_replaced_as_one_and_for_the_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("a/b");
        let config =
            AcmeConfig { state: state.clone(), domains: vec!["relay.test".to_owned()], ..AcmeConfig::default() };
        let (certifier, identity) = Certifier::open(config).unwrap();
        assert_eq!(certifier.time_left(), Duration::ZERO);
        assert_eq!(identity.validity(), None);
        std::fs::write(state.join("certificate.new"), "left behind by a crash").unwrap();
        certifier.keep(CERTIFICATE, &["one"]).unwrap();
        certifier.keep(CERTIFICATE, &["two"]).unwrap();
        let path = state.join(CERTIFICATE);
        assert_eq!(read::<Vec<String>>(&path).unwrap().unwrap(), ["two"]);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&path)), (0o700, 0o600));
    }
}
