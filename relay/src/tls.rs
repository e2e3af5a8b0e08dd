//! The certificate, and how it is changed while running.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::certificate;

/// The protocol by which an authority asks for a proof (RFC 8737 §6.2). Nobody else offers it.
pub(crate) const CHALLENGE_PROTOCOL: &[u8] = b"acme-tls/1";

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read, or is not PEM.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// The file has no certificate in it.
    #[error("{path} holds no certificate")]
    NoCertificate {
        /// Which file.
        path: PathBuf,
    },
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// What https shows. It can be replaced at any time: connections that are open go on, new ones get the new one.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Certificate and key, when they come from files.
    files: Option<(PathBuf, PathBuf)>,
    faces: Arc<Faces>,
    config: Arc<ServerConfig>,
}

/// Certificates by who asks.
#[derive(Debug, Default)]
struct Faces {
    current: RwLock<Option<Arc<CertifiedKey>>>,
    /// By domain, while an authority looks.
    challenges: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl ResolvesServerCert for Faces {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_challenge = hello.alpn().is_some_and(|mut offered| offered.any(|one| one == CHALLENGE_PROTOCOL));
        if is_challenge {
            let challenges = self.challenges.lock().unwrap_or_else(PoisonError::into_inner);
            return challenges.get(hello.server_name()?).cloned();
        }
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Identity {
    /// From two files, readable again at any time.
    pub(crate) fn load(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let identity = Self::new(Some((certificate.to_owned(), key.to_owned())))?;
        identity.reload()?;
        Ok(identity)
    }

    /// Without a certificate until [`Identity::show`] brings one: handshakes fail, except those of challenges.
    pub(crate) fn empty() -> Result<Self, IdentityError> {
        Self::new(None)
    }

    fn new(files: Option<(PathBuf, PathBuf)>) -> Result<Self, IdentityError> {
        let faces = Arc::new(Faces::default());
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&faces) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if files.is_none() {
            config.alpn_protocols.push(CHALLENGE_PROTOCOL.to_vec());
        }
        Ok(Self { files, faces, config: Arc::new(config) })
    }

    /// Reads the files again. New connections get the new certificate; when it cannot be used, the old one stays.
    pub(crate) fn reload(&self) -> Result<(), IdentityError> {
        let Some((certificate, key)) = &self.files else { return Ok(()) };
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| IdentityError::Unreadable { path, source }
        };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(unreadable(certificate))?;
        if chain.is_empty() {
            return Err(IdentityError::NoCertificate { path: certificate.clone() });
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
        self.show(chain, key)
    }

    /// Shows this certificate from now on.
    pub(crate) fn show(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(), IdentityError> {
        let new = CertifiedKey::from_der(chain, key, &provider())?;
        *self.faces.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(new));
        Ok(())
    }

    /// Answers an authority that looks for proof of this domain; `None` ends that.
    pub(crate) fn set_challenge(&self, domain: &str, proof: Option<CertifiedKey>) {
        let mut challenges = self.faces.challenges.lock().unwrap_or_else(PoisonError::into_inner);
        match proof {
            Some(proof) => challenges.insert(domain.to_owned(), Arc::new(proof)),
            None => challenges.remove(domain),
        };
    }

    /// When the certificate begins and ends, in seconds since 1970; `None` while there is none.
    pub(crate) fn validity(&self) -> Option<(i64, i64)> {
        let current = self.faces.current.read().unwrap_or_else(PoisonError::into_inner);
        certificate::validity(current.as_ref()?.cert.first()?)
    }

    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// Named, because a process that embeds the relay may have more than one provider among its dependencies.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
