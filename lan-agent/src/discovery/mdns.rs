//! DNS-SD over multicast DNS (RFC 6762, RFC 6763): announce this agent, list the others, look up `.local` names.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanyard_protocol::PROTOCOL_VERSION;
use mdns_sd::{
    DaemonEvent, HostnameResolutionEvent, IfKind, IfPredicate, ResolvedService, ServiceDaemon, ServiceEvent,
    ServiceInfo,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::SERVICE_TYPE;
use super::interface::InterfaceChoice;
use super::registry::{Change, MAX_TXT_BYTES, NearbyAgent, Registry, Sighting};

/// How long the records of an instance live (RFC 6762 §10); the list's own backstop, should no goodbye be heard.
const RECORD_LIFETIME: Duration = Duration::from_secs(75 * 60);

/// How long leaving may take before the program ends without having said goodbye everywhere.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a `.local` name is asked for. Chromium answers within 10 ms, a fresh Firefox within seconds.
const NAME_TIMEOUT: Duration = Duration::from_secs(5);

/// Why multicast DNS could not be used.
#[derive(Debug, thiserror::Error)]
pub enum MdnsError {
    /// The daemon did not start, mostly because UDP port 5353 cannot be shared.
    #[error("cannot listen for other devices (UDP port 5353): {0}")]
    Start(#[source] mdns_sd::Error),
    /// The announcement was refused.
    #[error("cannot announce this device: {0}")]
    Announce(#[source] mdns_sd::Error),
}

/// This agent's part in the network's multicast DNS.
pub struct Mdns {
    daemon: ServiceDaemon,
    announced: Option<String>,
    nearby: watch::Receiver<Arc<[NearbyAgent]>>,
    browsing: JoinHandle<()>,
    renaming: Option<JoinHandle<()>>,
}

impl Mdns {
    /// Starts listening on the chosen interfaces and listing agents, this one (known by `boot_id`) left out.
    ///
    /// # Errors
    /// The multicast sockets could not be opened.
    pub fn start(interfaces: &InterfaceChoice, boot_id: &str) -> Result<Self, MdnsError> {
        let daemon = ServiceDaemon::new().map_err(MdnsError::Start)?;
        let choice = interfaces.clone();
        let unwanted = IfPredicate::new(move |interface| !choice.includes(interface));
        daemon.disable_interface(IfKind::Predicate(unwanted)).map_err(MdnsError::Start)?;
        let choice = interfaces.clone();
        let wanted = IfPredicate::new(move |interface| choice.includes(interface));
        daemon.enable_interface(IfKind::Predicate(wanted)).map_err(MdnsError::Start)?;
        let (list, nearby) = watch::channel(Arc::from([]));
        let browsing = tokio::spawn(browse(daemon.clone(), Registry::new(boot_id.to_owned()), list));
        Ok(Self { daemon, announced: None, nearby, browsing, renaming: None })
    }

    /// Announces this agent. Should another device have the name, ours gets ` (2)` on the network only.
    ///
    /// # Errors
    /// The name or the interfaces were refused.
    pub fn announce(
        &mut self,
        name: &str,
        boot_id: &str,
        port: u16,
        interfaces: &InterfaceChoice,
    ) -> Result<(), MdnsError> {
        let version = PROTOCOL_VERSION.to_string();
        let port_text = port.to_string();
        let txt = [("v", version.as_str()), ("port", port_text.as_str()), ("id", boot_id)];
        // The host name carries the boot id's start, so that it neither collides with the machine's own mDNS
        // responder nor follows the device from network to network.
        let host_label: String =
            boot_id.bytes().filter(u8::is_ascii_alphanumeric).take(8).map(|b| b.to_ascii_lowercase() as char).collect();
        let host = format!("lanyard-{host_label}.local.");
        let mut service = ServiceInfo::new(SERVICE_TYPE, &instance_label(name), &host, "", port, &txt[..])
            .map_err(MdnsError::Announce)?
            .enable_addr_auto();
        let choice = interfaces.clone();
        let wanted = IfPredicate::new(move |interface| choice.includes(interface));
        service.set_interfaces(vec![IfKind::Predicate(wanted)]);
        let full_name = service.get_fullname().to_owned();
        let monitor = self.daemon.monitor().map_err(MdnsError::Announce)?;
        self.daemon.register(service).map_err(MdnsError::Announce)?;
        self.announced = Some(full_name);
        self.renaming = Some(tokio::spawn(async move {
            while let Ok(event) = monitor.recv_async().await {
                if let DaemonEvent::NameChange(change) = event {
                    info!(from = %change.original, to = %change.new_name, "another device has this name; renamed on the network");
                }
            }
        }));
        Ok(())
    }

    /// The other agents on this network, kept current.
    #[must_use]
    pub fn nearby(&self) -> watch::Receiver<Arc<[NearbyAgent]>> {
        self.nearby.clone()
    }

    /// Looks up `.local` names, such as those that browsers put into their candidates.
    #[must_use]
    pub fn names(&self) -> LocalNames {
        LocalNames { daemon: self.daemon.clone() }
    }

    /// Says goodbye (RFC 6762 §10.1) and stops. Takes a second at most.
    pub async fn shutdown(self) {
        if let Some(full_name) = &self.announced
            && let Ok(done) = self.daemon.unregister(full_name)
            && timeout(GOODBYE_TIMEOUT, done.recv_async()).await.is_err()
        {
            warn!("the goodbye was not sent in time; others will list this device for up to two minutes");
        }
        if let Ok(done) = self.daemon.shutdown() {
            let _ = timeout(GOODBYE_TIMEOUT, done.recv_async()).await;
        }
        self.browsing.abort();
        if let Some(renaming) = self.renaming {
            renaming.abort();
        }
    }
}

/// Looks up names under `.local` by multicast, on every interface the agent uses.
#[derive(Clone)]
pub struct LocalNames {
    daemon: ServiceDaemon,
}

impl LocalNames {
    /// The first address found for `name`, or `None` after five seconds.
    pub async fn resolve(&self, name: &str) -> Option<IpAddr> {
        let name = name.trim_end_matches('.');
        if !name.ends_with(".local") || name.len() > 250 {
            return None;
        }
        let full = format!("{name}.");
        let milliseconds = u64::try_from(NAME_TIMEOUT.as_millis()).ok();
        let answers = self.daemon.resolve_hostname(&full, milliseconds).ok()?;
        let found = timeout(NAME_TIMEOUT, async {
            loop {
                match answers.recv_async().await.ok()? {
                    HostnameResolutionEvent::AddressesFound(_, addresses) => {
                        let mut addresses: Vec<IpAddr> = addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr).collect();
                        addresses.sort_by_key(|address| (address.is_ipv6(), *address));
                        if let Some(first) = addresses.first() {
                            return Some(*first);
                        }
                    }
                    HostnameResolutionEvent::SearchTimeout(_) | HostnameResolutionEvent::SearchStopped(_) => {
                        return None;
                    }
                    HostnameResolutionEvent::SearchStarted(_) | HostnameResolutionEvent::AddressesRemoved(..) | _ => {}
                }
            }
        })
        .await
        .ok()
        .flatten();
        let _ = self.daemon.stop_resolve_hostname(&full);
        debug!(%name, found = found.is_some(), "looked up a .local name");
        found
    }
}

/// Feeds the registry until the daemon ends.
async fn browse(daemon: ServiceDaemon, mut registry: Registry, list: watch::Sender<Arc<[NearbyAgent]>>) {
    loop {
        let events = match daemon.browse(SERVICE_TYPE) {
            Ok(events) => events,
            Err(mdns_sd::Error::Again) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            Err(error) => {
                debug!(%error, "stopped listing other agents");
                return;
            }
        };
        loop {
            let far_future = Instant::now() + Duration::from_secs(3600);
            let deadline = registry.poll_timeout().unwrap_or(far_future);
            let change = tokio::select! {
                event = events.recv_async() => match event {
                    Ok(event) => apply(&mut registry, event),
                    // The daemon drops a listener that fell behind: ask again.
                    Err(_) => break,
                },
                () = tokio::time::sleep_until(deadline.into()) => registry.handle_timeout(Instant::now()),
            };
            if change == Change::Changed {
                list.send_replace(registry.agents().into());
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn apply(registry: &mut Registry, event: ServiceEvent) -> Change {
    match event {
        ServiceEvent::ServiceResolved(service) => match sighting(&service) {
            Some(sighting) => registry.handle_sighting(Instant::now(), sighting),
            None => Change::Refused,
        },
        ServiceEvent::ServiceRemoved(_, instance) => registry.handle_goodbye(&instance),
        ServiceEvent::SearchStarted(_) | ServiceEvent::ServiceFound(..) | ServiceEvent::SearchStopped(_) | _ => {
            Change::Unchanged
        }
    }
}

/// Reads what an instance says of itself; `None` when it is no agent of ours.
fn sighting(service: &ResolvedService) -> Option<Sighting> {
    let txt_bytes: usize = service
        .txt_properties
        .iter()
        .map(|property| property.key().len() + property.val().map_or(0, <[u8]>::len) + 2)
        .sum();
    if txt_bytes > MAX_TXT_BYTES {
        return None;
    }
    let label = service.fullname.strip_suffix(SERVICE_TYPE)?.strip_suffix('.')?;
    Some(Sighting {
        instance: service.fullname.clone(),
        name: unescape_label(label),
        boot_id: service.get_property_val_str("id")?.to_owned(),
        protocol_version: service.get_property_val_str("v")?.parse().ok()?,
        port: service.port,
        addresses: service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr).collect(),
        valid_for: RECORD_LIFETIME,
    })
}

/// An instance label has at most 63 bytes (RFC 6763 §4.1.1).
fn instance_label(name: &str) -> String {
    let mut end = name.len().min(63);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}

/// Undoes the escaping of dots and backslashes in a label (RFC 6763 §4.3).
fn unescape_label(label: &str) -> String {
    let mut plain = String::with_capacity(label.len());
    let mut characters = label.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unescaped() {
        assert_eq!(unescape_label(r"Ana\.s\\PC"), r"Ana.s\PC");
        assert_eq!(unescape_label("plain"), "plain");
        assert_eq!(unescape_label("ends with \\"), "ends with ");
    }

    #[test]
    fn long_names_are_cut_at_a_character() {
        let label = instance_label(&"ä".repeat(40));
        assert!(label.len() <= 63);
        assert_eq!(label, "ä".repeat(31));
    }
}
