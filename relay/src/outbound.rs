//! Connections that this program opens itself: TLS with the system's trust, and a request at a time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes of an answer that are read.
const BODY_BYTES: usize = 256 * 1024;

/// Why there is nothing to trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file of certificates cannot be read.
    #[error("cannot read the certificates in {path}: {source}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// A certificate in it is none.
    #[error("{path} holds something that is no root certificate: {source}")]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// The system's root certificates, or only those of `file`.
pub(crate) fn roots(file: Option<&Path>) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    match file {
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
        Some(path) => {
            let unreadable = |source| TrustError::Unreadable { path: path.to_owned(), source };
            for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
                roots
                    .add(certificate.map_err(unreadable)?)
                    .map_err(|source| TrustError::Unusable { path: path.to_owned(), source })?;
            }
        }
    }
    Ok(roots)
}

/// A client's half of TLS that refuses certificates it cannot trust.
pub(crate) fn strict_tls(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// What a server showed, and what is wrong with it.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) problem: Option<rustls::Error>,
}

/// Judges certificates and goes on all the same: for a diagnosis, never for anything secret.
#[derive(Debug)]
pub(crate) struct Examiner {
    /// `None` when there are no roots at all.
    judge: Option<Arc<WebPkiServerVerifier>>,
    schemes: Vec<SignatureScheme>,
    shown: Mutex<Option<Shown>>,
}

impl Examiner {
    /// The examiner, and a client's half of TLS that asks it. One for each connection.
    pub(crate) fn new(roots: &RootCertStore) -> Result<(Arc<Self>, ClientConfig), rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let schemes = provider.signature_verification_algorithms.supported_schemes();
        let judge =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots.clone()), Arc::clone(&provider)).build().ok();
        let examiner = Arc::new(Self { judge, schemes, shown: Mutex::default() });
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&examiner) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        Ok((examiner, config))
    }

    /// What the server showed, after the handshake.
    pub(crate) fn shown(&self) -> Option<Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Examiner {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let problem = match &self.judge {
            Some(judge) => judge.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now).err(),
            None => Some(rustls::CertificateError::UnknownIssuer.into()),
        };
        let certificate = end_entity.clone().into_owned();
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(Shown { certificate, problem });
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match &self.judge {
            Some(judge) => judge.verify_tls12_signature(message, cert, dss),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match &self.judge {
            Some(judge) => judge.verify_tls13_signature(message, cert, dss),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// Sends one request over an open connection and reads the answer, which is at most 256 KiB. The URI is the path only.
pub(crate) async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Body>,
) -> io::Result<Response<Bytes>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let driving = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    let (parts, body) = answer.into_parts();
    let body = axum::body::to_bytes(Body::new(body), BODY_BYTES).await.map_err(io::Error::other)?;
    driving.abort();
    Ok(Response::from_parts(parts, body))
}
