//! The certificate of this side, and the one that the other side really showed.

use rtc::peer_connection::certificate::CertificateParams;
use webrtc::peer_connection::crypto::{self, HashAlgorithm, SignatureScheme};
use webrtc::peer_connection::{PeerConnection, RTCCertificate};

use super::error::StackError;

/// SHA-256 of a certificate in DER, as in `a=fingerprint:sha-256` (RFC 8122 §5).
pub type CertificateSha256 = [u8; 32];

/// A certificate for one link only, so that two links of this device have nothing in common.
pub(super) struct LocalCertificate {
    pub(super) certificate: RTCCertificate,
    pub(super) sha256: CertificateSha256,
}

impl LocalCertificate {
    pub(super) fn generate() -> Result<Self, StackError> {
        let provider = crypto::default_provider()?;
        // The subject is seen by the peer and by nobody else; it must not tell one device from another.
        let params = CertificateParams::new(vec!["lanyard".to_owned()])?;
        let certificate = RTCCertificate::generate(provider.crypto(), SignatureScheme::EcdsaP256Sha256, params)?;
        let der = certificate.dtls_certificate.certificate.first().ok_or("certificate without DER")?;
        let sha256 = sha256(der.as_ref())?;
        Ok(Self { certificate, sha256 })
    }
}

/// Hash of the leaf certificate received in the DTLS handshake; `None` until that is complete.
pub(super) async fn remote_sha256(connection: &dyn PeerConnection) -> Option<CertificateSha256> {
    let chain = connection.sctp().await?.transport().get_remote_certificates().await.ok()?;
    sha256(chain.first()?).ok()
}

fn sha256(der: &[u8]) -> Result<CertificateSha256, StackError> {
    let hash = crypto::default_provider()?.crypto().hash(HashAlgorithm::Sha256, der)?;
    Ok(hash.try_into().map_err(|_| "SHA-256 of another length")?)
}
