//! The handle to one connection.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use lanyard_protocol::limits::CONTROL_MESSAGE_BYTES;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::configuration::setting_engine::SctpMaxMessageSize;
use tokio::sync::Mutex;
use tracing::debug;
use webrtc::data_channel::RTCDataChannelInit;
use webrtc::error::Error as WebrtcError;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, RTCConfigurationBuilder, RTCIceServer, RTCIceTransportPolicy, SettingEngine,
    SettingEngineBuilder,
};

use super::certificate::{self, LocalCertificate};
use super::channel::Label;
use super::handler::Handler;
use super::ice_server::UsableServer;
use super::interfaces::LocalAddresses;
use super::negotiation::Negotiation;
use super::route::{SelectedPair, pair_stats};
use super::shared::Shared;
use super::socket::{LinkRuntime, Window};
use super::turn_bridge::{Bridge, BridgeConfig, OwnSockets};
use super::{
    CertificateSha256, CloseReason, LinkConfig, LinkEvents, OpenError, Policy, RestartError, Role, RouteInfo,
    SendError, Signal, SignalError, ice_server, keeper,
};

/// Silence after which a link is `Disconnected`.
const DISCONNECTED_AFTER: Duration = Duration::from_secs(5);
/// Further silence after which it is `Failed` and needs a restart. Long, because locked phones come back on their own.
const FAILED_AFTER: Duration = Duration::from_secs(10 * 60);
/// Pause between checks of an idle, connected pair.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Pause between two rounds of checks while connecting.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// Checks of one pair before it counts as failed: 10 s, since the peer's answer may take that long to arrive.
const CHECKS_PER_PAIR: u16 = 100;
/// How long a pair with a reflexive address waits for a better one. A browser's LAN address is peer-reflexive to us.
const REFLEXIVE_WAIT: Duration = Duration::from_millis(100);
/// How long a relayed pair waits for a direct one: the controlling side does not change its mind later.
const RELAYED_WAIT: Duration = Duration::from_millis(1500);

/// One connection to one device: signals in, messages out. What comes back is read from [`LinkEvents`].
///
/// Methods take `&self` and may be called from several tasks. Dropping the handle closes the link in the background.
pub struct PeerLink {
    role: Role,
    shared: Arc<Shared>,
    connection: Arc<dyn PeerConnection>,
    negotiation: Mutex<Negotiation>,
    local_certificate: CertificateSha256,
    has_relay: bool,
}

/// Counters of a link at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinkStats {
    /// Bytes sent on the transport, DTLS records included.
    pub bytes_sent: u64,
    /// Bytes received on the transport, DTLS records included.
    pub bytes_received: u64,
    /// Bytes given to both channels and not yet acknowledged by the peer.
    pub buffered_bytes: usize,
    /// The path in use, with its round trip time.
    pub route: Option<RouteInfo>,
}

impl PeerLink {
    /// Binds sockets and makes a certificate; the offerer also makes its offer, which is the first event.
    ///
    /// Must be called on a Tokio runtime, which then runs the link's tasks.
    ///
    /// # Errors
    /// See [`OpenError`]. No task is left behind.
    pub async fn open(config: LinkConfig) -> Result<(Self, LinkEvents), OpenError> {
        let stack = |error: WebrtcError| OpenError::Stack(Box::new(error));
        let usable = ice_server::usable(&config)?;
        let has_relay = usable.iter().any(UsableServer::has_relay);
        let window = Window::measure().map_err(|error| OpenError::Stack(Box::new(error)))?;
        let certificate = LocalCertificate::generate().map_err(OpenError::Stack)?;
        let local_certificate = certificate.sha256;
        let (shared, receivers) = Shared::new();
        // A relay may carry the first checks; what is chosen afterwards decides.
        shared.follow_ups.set_relaying(has_relay);

        let own = Arc::new(OwnSockets::default());
        let (servers, bridges) =
            reached_over_udp(&config, usable, &own).await.map_err(|error| OpenError::Stack(Box::new(error)))?;
        let connection = PeerConnectionBuilder::new()
            .with_configuration(configuration(&config, servers, certificate))
            .with_setting_engine(settings(window, config.policy))
            .with_data_channel_send_buffer_limit(config.pacing.high_water_bytes.max(1))
            .with_runtime(Arc::new(LinkRuntime { follow_ups: Arc::clone(&shared.follow_ups), own }))
            .with_handler(Arc::new(Handler { shared: Arc::downgrade(&shared), policy: config.policy }))
            .with_udp_addrs(vec![LocalAddresses(config.interfaces.clone())])
            .build()
            .await
            .map_err(stack)?;
        let connection: Arc<dyn PeerConnection> = Arc::new(connection);
        shared.set_connection(&connection);

        let link = Self {
            role: config.role,
            shared: Arc::clone(&shared),
            connection: Arc::clone(&connection),
            negotiation: Mutex::new(Negotiation::new(&config)),
            local_certificate,
            has_relay,
        };
        shared.spawn(keeper::keep(connection, Arc::clone(&shared), bridges));
        let events = LinkEvents::new(receivers, shared);
        if config.role == Role::Offerer
            && let Err(error) = link.start_offering().await
        {
            link.close().await;
            return Err(OpenError::Stack(Box::new(error)));
        }
        Ok((link, events))
    }

    async fn start_offering(&self) -> Result<(), RestartError> {
        for label in Label::ALL {
            let init = RTCDataChannelInit { ordered: true, ..RTCDataChannelInit::default() };
            let channel = self
                .connection
                .create_data_channel(label.as_str(), Some(init))
                .await
                .map_err(|error| RestartError::Stack(Box::new(error)))?;
            self.shared.attach(label, channel);
        }
        self.negotiation.lock().await.offer(&*self.connection, &self.shared, false).await
    }

    /// Takes what the other side's [`Signal`](super::LinkEvent::Signal) events gave, in their order or nearly so:
    /// candidates may overtake their description.
    ///
    /// # Errors
    /// See [`SignalError`]; the link goes on.
    pub async fn handle_signal(&self, signal: Signal) -> Result<(), SignalError> {
        let mut negotiation = self.negotiation.lock().await;
        if self.shared.is_closing() {
            return Err(SignalError::Closed);
        }
        if matches!(signal, Signal::Offer { .. }) {
            self.shared.follow_ups.set_relaying(self.has_relay);
        }
        negotiation.handle(&self.connection, &self.shared, signal).await
    }

    /// Looks for a path anew, with the interfaces of this moment; messages wait meanwhile and none is lost.
    /// The new offer comes as an event.
    ///
    /// # Errors
    /// See [`RestartError`].
    pub async fn restart_ice(&self) -> Result<(), RestartError> {
        let mut negotiation = self.negotiation.lock().await;
        if self.shared.is_closing() {
            return Err(RestartError::Closed);
        }
        self.shared.follow_ups.set_relaying(self.has_relay);
        negotiation.offer(&*self.connection, &self.shared, true).await
    }

    /// Sends a JSON text of at most 64 KiB on the control channel. Waits until both channels are open, and while more
    /// than [`Pacing::high_water_bytes`](super::Pacing::high_water_bytes) are on their way. Dropping the future before
    /// it is ready may or may not send the message, but never a part of it.
    ///
    /// # Errors
    /// Too long, or the link closed.
    pub async fn send_control(&self, text: &str) -> Result<(), SendError> {
        self.ready_to_send(text.len(), Label::Control).await?;
        let channel = self.shared.channel(Label::Control).ok_or(SendError::Closed)?;
        tokio::select! {
            biased;
            _ = self.shared.wait_closing() => Err(SendError::Closed),
            sent = channel.send_text(text) => sent.map_err(sent_nothing),
        }
    }

    /// Sends a binary message on the control channel, as [`Self::send_control`] sends text: the bind that has to come
    /// before anything else (LK-4).
    ///
    /// # Errors
    /// Too long, or the link closed.
    pub async fn send_bind(&self, bind: &[u8]) -> Result<(), SendError> {
        self.ready_to_send(bind.len(), Label::Control).await?;
        let channel = self.shared.channel(Label::Control).ok_or(SendError::Closed)?;
        tokio::select! {
            biased;
            _ = self.shared.wait_closing() => Err(SendError::Closed),
            sent = channel.send(BytesMut::from(bind)) => sent.map_err(sent_nothing),
        }
    }

    /// Sends one binary frame of at most [`Self::max_message_size`] on the data channel; waits as
    /// [`Self::send_control`] does, on its own account.
    ///
    /// # Errors
    /// Too long, or the link closed.
    pub async fn send_data(&self, frame: Bytes) -> Result<(), SendError> {
        self.ready_to_send(frame.len(), Label::Data).await?;
        let channel = self.shared.channel(Label::Data).ok_or(SendError::Closed)?;
        let frame = frame.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        tokio::select! {
            biased;
            _ = self.shared.wait_closing() => Err(SendError::Closed),
            sent = channel.send(frame) => sent.map_err(sent_nothing),
        }
    }

    async fn ready_to_send(&self, len: usize, label: Label) -> Result<(), SendError> {
        if self.shared.is_closing() || (!self.shared.is_open() && !self.shared.wait_open().await) {
            return Err(SendError::Closed);
        }
        let limit = match label {
            Label::Control => self.max_message_size().min(CONTROL_MESSAGE_BYTES),
            Label::Data => self.max_message_size(),
        };
        if len > limit { Err(SendError::TooLong { len, limit }) } else { Ok(()) }
    }

    /// Bytes given to both channels and not yet acknowledged by the peer.
    pub async fn buffered_amount(&self) -> usize {
        let mut bytes = 0;
        for label in Label::ALL {
            if let Some(channel) = self.shared.channel(label) {
                bytes += channel.outstanding_bytes().await.unwrap_or(0);
            }
        }
        bytes
    }

    /// Bytes of the largest message that may be sent: the smaller of what the peer announced in its description and
    /// what this device takes itself (256 KiB; 64 KiB where the system limits socket buffers). 0 until `Open`.
    pub fn max_message_size(&self) -> usize {
        self.shared.max_message_size.load(Ordering::Acquire)
    }

    /// Which side of the exchange this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Of the certificate that this side shows; another one for each link.
    pub fn local_certificate_sha256(&self) -> CertificateSha256 {
        self.local_certificate
    }

    /// Of the certificate that the peer showed and proved to own in the DTLS handshake, whatever its description
    /// claimed. `None` until the handshake is complete, which it is at `Open`.
    pub async fn remote_certificate_sha256(&self) -> Option<CertificateSha256> {
        certificate::remote_sha256(&*self.connection).await
    }

    /// What the link does at this moment.
    pub async fn stats(&self) -> LinkStats {
        let pair = pair_stats(&*self.connection).await;
        let selected = SelectedPair::current(&*self.connection).await;
        LinkStats {
            bytes_sent: pair.bytes_sent,
            bytes_received: pair.bytes_received,
            buffered_bytes: self.buffered_amount().await,
            route: selected.map(|selected| selected.describe(&self.shared.remote_relays(), pair.round_trip_time)),
        }
    }

    /// Ends the link, tells the peer, and returns when no task of it is left: about 0.1 s at most. What was not yet
    /// acknowledged may be lost, and what was not yet read is. Closing twice does nothing.
    pub async fn close(&self) {
        self.shared.discard();
        self.shared.begin_close(CloseReason::Local);
        self.shared.wait_tasks().await;
    }
}

impl Drop for PeerLink {
    fn drop(&mut self) {
        self.shared.discard();
        self.shared.begin_close(CloseReason::Local);
    }
}

impl fmt::Debug for PeerLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerLink").field("role", &self.role).finish_non_exhaustive()
    }
}

/// Servers as the stack reaches them, and the bridges to those that it does not reach itself.
async fn reached_over_udp(
    config: &LinkConfig,
    servers: Vec<UsableServer>,
    own: &Arc<OwnSockets>,
) -> io::Result<(Vec<RTCIceServer>, Vec<Bridge>)> {
    let ipv6_only = LocalAddresses(config.interfaces.clone()).is_ipv6_only();
    let mut reached = Vec::with_capacity(servers.len());
    let mut bridges = Vec::new();
    for server in servers {
        let UsableServer { mut urls, ways, turn_over_udp, username, credential } = server;
        if !ways.is_empty() {
            let bridge = Bridge::open(BridgeConfig {
                ways,
                own: Arc::clone(own),
                tls: config.turn_tls.clone(),
                beside_udp: turn_over_udp,
                ipv6_only,
            });
            let bridge = bridge.await?;
            urls.push(bridge.url());
            bridges.push(bridge);
        }
        reached.push(RTCIceServer { urls, username, credential });
    }
    Ok((reached, bridges))
}

fn configuration(
    config: &LinkConfig,
    servers: Vec<RTCIceServer>,
    certificate: LocalCertificate,
) -> webrtc::peer_connection::RTCConfiguration {
    let policy = match config.policy {
        Policy::All | Policy::DirectOnly => RTCIceTransportPolicy::All,
        Policy::RelayOnly => RTCIceTransportPolicy::Relay,
    };
    RTCConfigurationBuilder::new()
        .with_ice_servers(servers)
        .with_ice_transport_policy(policy)
        .with_certificates(vec![certificate.certificate])
        .build()
}

/// With what DTLS, UDP and IPv6 add (37, 8 and 40 bytes) no packet is longer than 1200 bytes: there are networks that drop
/// longer ones without a word, and SCTP would send them for ever.
const SCTP_PACKET_BYTES: u32 = 1112;

fn settings(window: Window, policy: Policy) -> SettingEngine {
    let relayed_wait = if policy == Policy::RelayOnly { Duration::ZERO } else { RELAYED_WAIT };
    let bytes = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
    SettingEngineBuilder::new()
        .with_sctp_max_receive_buffer_size(bytes(window.receive_bytes))
        .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(bytes(window.max_message_bytes)))
        .with_sctp_mtu(SCTP_PACKET_BYTES)
        .with_ice_timeouts(Some(DISCONNECTED_AFTER), Some(FAILED_AFTER), Some(KEEP_ALIVE))
        .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(CHECKS_PER_PAIR))
        .with_host_acceptance_min_wait(Some(Duration::ZERO))
        .with_srflx_acceptance_min_wait(Some(REFLEXIVE_WAIT))
        .with_prflx_acceptance_min_wait(Some(REFLEXIVE_WAIT))
        .with_relay_acceptance_min_wait(Some(relayed_wait))
        // Names are resolved by whoever owns port 5353 (see `LinkConfig::resolve_name`): the stack's own resolver binds
        // one more multicast socket for each link and fails to open without a default route.
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        // A restart mostly follows a change of network, and then the old sockets lead nowhere.
        .with_discard_local_candidates_during_ice_restart(true)
        .with_include_loopback_candidate(true)
        .build()
}

fn sent_nothing(error: WebrtcError) -> SendError {
    debug!(%error, "message was not taken");
    SendError::Closed
}
