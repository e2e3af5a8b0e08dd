//! The certificate, and how it is changed while running.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};

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

/// Certificate and key from two files, readable again at any time.
#[derive(Debug)]
pub(crate) struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<ServerConfig>>,
}

impl Identity {
    pub(crate) fn load(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        let current = RwLock::new(Arc::new(read(certificate, key)?));
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), current })
    }

    /// Reads the files again. New connections get the new certificate; when it cannot be used, the old one stays.
    pub(crate) fn reload(&self) -> Result<(), IdentityError> {
        let new = Arc::new(read(&self.certificate, &self.key)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read(certificate: &Path, key: &Path) -> Result<ServerConfig, IdentityError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| IdentityError::Unreadable { path, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable(certificate))?;
    if chain.is_empty() {
        return Err(IdentityError::NoCertificate { path: certificate.to_owned() });
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
    // Named, because a process that embeds the relay may have more than one provider among its dependencies.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    // WebSockets need HTTP/1.1, and the page is a handful of files.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
