//! `bind` over the certificates that a TLS connection really showed (PA-16): the same frame as over DTLS.

#![allow(clippy::unwrap_used, reason = "a test that can not go on should stop")]

mod wire;

use std::io::{Read as _, Write as _};
use std::ops::DerefMut;
use std::sync::Arc;

use lanyard_pairing::{BindError, Session};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    ServerConnection, SignatureScheme,
};
use sha2::{Digest as _, Sha256};
use wire::Pair;

const SESSION_ID: [u8; 16] = [7; 16];

/// Takes any certificate, as WebRTC does; that its key is held is checked. `bind` is what says whose it is.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl Anyone {
    fn new() -> Arc<Self> {
        Arc::new(Self(Arc::new(ring::default_provider())))
    }
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Anyone {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls12_signature(self, message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls13_signature(self, message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(self)
    }
}

/// A certificate for one connection, and its key.
struct Shown {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Shown {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["lanyard".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        Self { certificate: made.cert.der().clone(), key }
    }

    fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.certificate).into()
    }
}

/// One TLS connection, with both ends at hand.
struct Tls {
    client: ClientConnection,
    server: ServerConnection,
}

impl Tls {
    fn connect(client: &Shown, server: &Shown) -> Self {
        let provider = Arc::new(ring::default_provider());
        let of_server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(Anyone::new())
            .with_single_cert(vec![server.certificate.clone()], server.key.clone_key())
            .unwrap();
        let of_client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Anyone::new())
            .with_client_auth_cert(vec![client.certificate.clone()], client.key.clone_key())
            .unwrap();
        let name = ServerName::try_from("lanyard").unwrap();
        let mut tls = Self {
            client: ClientConnection::new(Arc::new(of_client), name).unwrap(),
            server: ServerConnection::new(Arc::new(of_server)).unwrap(),
        };
        while tls.client.is_handshaking() || tls.server.is_handshaking() {
            carry(&mut tls.client, &mut tls.server);
            carry(&mut tls.server, &mut tls.client);
        }
        tls
    }

    /// What the two ends saw of each other: the server's certificate, and the client's.
    fn seen(&self) -> ([u8; 32], [u8; 32]) {
        let hash = |certificates: Option<&[CertificateDer<'_>]>| Sha256::digest(&certificates.unwrap()[0]).into();
        (hash(self.client.peer_certificates()), hash(self.server.peer_certificates()))
    }
}

/// Takes what one end has to send to the other.
fn carry<A, B>(
    from: &mut impl DerefMut<Target = ConnectionCommon<A>>,
    to: &mut impl DerefMut<Target = ConnectionCommon<B>>,
) {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut bytes = bytes.as_slice();
    while !bytes.is_empty() {
        to.read_tls(&mut bytes).unwrap();
        to.process_new_packets().unwrap();
    }
}

/// Sends a frame through TLS and gives what arrived.
fn send<A, B>(
    frame: &[u8; 32],
    from: &mut impl DerefMut<Target = ConnectionCommon<A>>,
    to: &mut impl DerefMut<Target = ConnectionCommon<B>>,
) -> [u8; 32] {
    from.writer().write_all(frame).unwrap();
    carry(from, to);
    let mut received = [0; 32];
    to.reader().read_exact(&mut received).unwrap();
    received
}

#[test]
fn bind_holds_over_the_certificates_that_tls_showed() {
    let mut pair = Pair::by_link();
    pair.run();
    let (shower, opener) = pair.sessions();
    let (dialler, listener) = (Shown::new(), Shown::new());
    let mut tls = Tls::connect(&dialler, &listener);
    let (seen_by_dialler, seen_by_listener) = tls.seen();
    assert_eq!((seen_by_dialler, seen_by_listener), (listener.hash(), dialler.hash()));

    let bind = opener.bind_message(&SESSION_ID, &dialler.hash(), &seen_by_dialler);
    let received = send(&bind, &mut tls.client, &mut tls.server);
    assert_eq!(shower.verify_bind(&SESSION_ID, &listener.hash(), &seen_by_listener, &received), Ok(()));
    let bind = shower.bind_message(&SESSION_ID, &listener.hash(), &seen_by_listener);
    let received = send(&bind, &mut tls.server, &mut tls.client);
    assert_eq!(opener.verify_bind(&SESSION_ID, &dialler.hash(), &seen_by_dialler, &received), Ok(()));
}

#[test]
fn bind_is_refused_when_one_certificate_is_swapped() {
    let mut pair = Pair::by_link();
    pair.run();
    let (shower, opener) = pair.sessions();
    let (dialler, listener, swapped) = (Shown::new(), Shown::new(), Shown::new());
    let refused = |shower: &Session, own: &Shown, tls: &Tls, bind: &[u8; 32]| {
        assert_eq!(shower.verify_bind(&SESSION_ID, &own.hash(), &tls.seen().1, bind), Err(BindError));
    };
    // The dialler met the listener, but the connection carries another certificate of either end.
    let honest = Tls::connect(&dialler, &listener);
    let bind = opener.bind_message(&SESSION_ID, &dialler.hash(), &honest.seen().0);
    refused(shower, &listener, &Tls::connect(&swapped, &listener), &bind);
    refused(shower, &swapped, &Tls::connect(&dialler, &swapped), &bind);
    assert_eq!(shower.verify_bind(&SESSION_ID, &listener.hash(), &honest.seen().1, &bind), Ok(()));
}

#[test]
fn bind_is_refused_through_somebody_who_ends_tls_in_the_middle() {
    let mut pair = Pair::by_link();
    pair.run();
    let (shower, opener) = pair.sessions();
    let (dialler, listener, middle) = (Shown::new(), Shown::new(), Shown::new());
    // To each end the one in the middle shows the same certificate, and passes on what is said inside.
    let (mut near, mut far) = (Tls::connect(&dialler, &middle), Tls::connect(&middle, &listener));
    let bind = opener.bind_message(&SESSION_ID, &dialler.hash(), &near.seen().0);
    let overheard = send(&bind, &mut near.client, &mut near.server);
    let received = send(&overheard, &mut far.client, &mut far.server);
    assert_eq!(shower.verify_bind(&SESSION_ID, &listener.hash(), &far.seen().1, &received), Err(BindError));
    let bind = shower.bind_message(&SESSION_ID, &listener.hash(), &far.seen().1);
    let overheard = send(&bind, &mut far.server, &mut far.client);
    let received = send(&overheard, &mut near.server, &mut near.client);
    assert_eq!(opener.verify_bind(&SESSION_ID, &dialler.hash(), &near.seen().0, &received), Err(BindError));
}
