//! A local network in namespaces: one router, and hosts on its bridge.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail};

/// Host part of the first host's address; the router is 1.
const FIRST_HOST: u8 = 10;

/// Namespaces of all labs start with this, so that what a killed run left behind can be found.
const PREFIX: &str = "lyd";

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A bridge with a router at its end and hosts around it; gone when dropped, with every process in it.
///
/// Hosts have 192.168.77.0/24 and fd77::/64 addresses on `eth0` and a default route to the router, which leads nowhere
/// else: Chromium gathers no candidates without one.
pub struct Lan {
    router: Namespace,
    hosts: Vec<Host>,
}

/// One machine on the [`Lan`].
pub struct Host {
    name: String,
    namespace: Namespace,
    number: u8,
}

/// A network namespace, deleted when dropped.
struct Namespace(String);

impl Lan {
    /// Makes a network with a host for each name.
    ///
    /// # Errors
    /// Not root, or `ip` failed.
    pub fn new(names: &[&str]) -> Result<Self> {
        sweep();
        let lab = format!("{PREFIX}-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let router = Namespace::new(format!("{lab}-router"))?;
        router.ip("link add br0 type bridge mcast_snooping 0")?;
        router.ip("addr add 192.168.77.1/24 dev br0")?;
        router.ip("-6 addr add fd77::1/64 dev br0 nodad")?;
        router.ip("link set br0 up")?;
        // Bridged frames would otherwise pass the router's packet filter.
        router.sysctl("net.bridge.bridge-nf-call-iptables=0");
        let mut lan = Self { router, hosts: Vec::new() };
        for name in names {
            lan.add_host(&lab, name)?;
        }
        Ok(lan)
    }

    /// A host by the name it was made with.
    ///
    /// # Panics
    /// There is none of that name.
    #[must_use]
    pub fn host(&self, name: &str) -> &Host {
        self.hosts.iter().find(|host| host.name == name).unwrap_or_else(|| panic!("no host {name} on this network"))
    }

    /// All hosts, in the order of their making.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Pulls a host's cable: its addresses stay, and nothing passes.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn cut(&self, host: &Host) -> Result<()> {
        self.router.ip(&format!("link set {} down", host.port()))
    }

    /// Puts the cable back.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn mend(&self, host: &Host) -> Result<()> {
        self.router.ip(&format!("link set {} up", host.port()))
    }

    /// Lets no more than so much pass towards a host from now on, with room for 4 MiB that wait (Debian's `tc`).
    ///
    /// # Errors
    /// `tc` failed.
    pub fn slow_down(&self, host: &Host, kbit_per_second: u32) -> Result<()> {
        let rate = format!("{kbit_per_second}kbit");
        // A whole batch of packets that travels as one must fit, or it is cut into pieces.
        let shape = ["root", "tbf", "rate", &rate, "burst", "32kb", "limit", "4mb"];
        let mut all = vec!["netns", "exec", &self.router.0, "tc", "qdisc", "replace", "dev"];
        let port = host.port();
        all.push(&port);
        all.extend(shape);
        ip(&all)
    }

    /// Adds an address to the router's end of the network, which then is the way between its networks.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn add_network(&self, router_address: &str) -> Result<()> {
        self.router.sysctl("net.ipv4.ip_forward=1");
        self.router.sysctl("net.ipv4.conf.all.send_redirects=0");
        self.router.sysctl("net.ipv4.conf.br0.send_redirects=0");
        self.router.ip(&format!("addr add {router_address} dev br0"))
    }

    /// Loads rules into the router's packet filter.
    ///
    /// # Errors
    /// `nft` failed.
    pub fn nft(&self, rules: &str) -> Result<()> {
        self.router.nft(rules)
    }

    /// Runs `ip ARGS` on the router.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn router_ip(&self, args: &str) -> Result<()> {
        self.router.ip(args)
    }

    /// The router's namespace.
    #[must_use]
    pub fn router(&self) -> &str {
        &self.router.0
    }

    /// Makes the router's end of a host's cable part of the network.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn connect(&self, host: &Host) -> Result<()> {
        self.router.ip(&format!("link set {} master br0 up", host.port()))
    }

    fn add_host(&mut self, lab: &str, name: &str) -> Result<()> {
        let number =
            u8::try_from(self.hosts.len()).ok().and_then(|n| n.checked_add(FIRST_HOST)).context("too many hosts")?;
        let host = Host { name: name.to_owned(), namespace: Namespace::new(format!("{lab}-{name}"))?, number };
        self.router.ip(&format!("link add {} type veth peer name eth0 netns {}", host.port(), host.namespace.0))?;
        self.connect(&host)?;
        host.configure()?;
        self.hosts.push(host);
        Ok(())
    }
}

impl Host {
    /// As given to [`Lan::new`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace's name, for `ip netns exec`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace.0
    }

    /// Its address on `eth0`.
    #[must_use]
    pub fn ipv4(&self) -> String {
        format!("192.168.77.{}", self.number)
    }

    /// Its unique local address on `eth0`.
    #[must_use]
    pub fn ipv6(&self) -> String {
        format!("fd77::{}", self.number)
    }

    /// The router's end of its cable.
    #[must_use]
    pub fn port(&self) -> String {
        format!("port{}", self.number)
    }

    /// Gives `eth0` its addresses and routes.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn configure(&self) -> Result<()> {
        self.namespace.sysctl("net.ipv6.conf.all.accept_dad=0");
        self.namespace.sysctl("net.ipv6.conf.eth0.accept_dad=0");
        self.namespace.ip(&format!("addr add {}/24 dev eth0", self.ipv4()))?;
        self.namespace.ip(&format!("-6 addr add {}/64 dev eth0 nodad", self.ipv6()))?;
        self.namespace.ip("link set eth0 up")?;
        self.namespace.ip("route add default via 192.168.77.1")?;
        self.namespace.ip("-6 route add default via fd77::1")
    }

    /// Takes all its addresses away and gives it another one, of another network if need be, with the way out of there.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn readdress(&self, ipv4_with_prefix: &str, gateway: &str) -> Result<()> {
        self.namespace.ip("addr flush dev eth0 scope global")?;
        self.namespace.ip(&format!("addr add {ipv4_with_prefix} dev eth0"))?;
        self.namespace.ip(&format!("route replace default via {gateway}"))
    }

    /// A command that will run on this host.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.namespace(), program]);
        command
    }

    /// A firewall on `eth0`: only what `allowed` matches (nftables expressions) may be begun, out or in; answers pass.
    ///
    /// # Errors
    /// `nft` failed.
    pub fn allow_only(&self, allowed: &[&str]) -> Result<()> {
        let allowed: String = allowed.iter().map(|matches| format!("{matches} accept; ")).collect();
        self.nft(&format!(
            "table inet firewall {{
                chain out {{ type filter hook output priority 0; oifname \"eth0\" jump limits; }}
                chain in {{ type filter hook input priority 0; iifname \"eth0\" jump limits; }}
                chain limits {{ ct state established,related accept; meta l4proto {{ icmp, ipv6-icmp }} accept; {allowed} drop; }}
            }}"
        ))
    }

    /// Loads rules into this host's packet filter.
    ///
    /// # Errors
    /// `nft` failed.
    pub fn nft(&self, rules: &str) -> Result<()> {
        self.namespace.nft(rules)
    }

    /// Runs `ip ARGS` on this host.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn ip(&self, args: &str) -> Result<()> {
        self.namespace.ip(args)
    }
}

impl Namespace {
    fn new(name: String) -> Result<Self> {
        ip(&["netns", "add", &name])?;
        let namespace = Self(name);
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    fn ip(&self, args: &str) -> Result<()> {
        let mut all = vec!["-n", &self.0];
        all.extend(args.split(' '));
        ip(&all)
    }

    fn nft(&self, rules: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, "nft", "-f", "-"]);
        let mut nft = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        nft.stdin.take().context("nft has no input")?.write_all(rules.as_bytes())?;
        let output = nft.wait_with_output()?;
        if !output.status.success() {
            bail!("nft: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Best effort: not every kernel has every switch.
    fn sysctl(&self, setting: &str) {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, "sysctl", "-q", "-w", setting]);
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        delete(&self.0);
    }
}

pub(crate) fn ip(args: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(args).output().context("could not run ip (Debian package iproute2)")?;
    if !output.status.success() {
        bail!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Kills what runs in a namespace, then removes it.
fn delete(name: &str) {
    if let Ok(output) = Command::new("ip").args(["netns", "pids", name]).output() {
        let pids = String::from_utf8_lossy(&output.stdout).into_owned();
        let pids: Vec<_> = pids.split_whitespace().collect();
        if !pids.is_empty() {
            let _ = Command::new("kill").arg("-KILL").args(pids).stderr(Stdio::null()).status();
        }
    }
    let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
}

/// Removes labs whose process is gone.
fn sweep() {
    let Ok(output) = Command::new("ip").args(["netns", "list"]).output() else { return };
    for name in String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.split(' ').next()) {
        let mut parts = name.split('-');
        let ours = parts.next() == Some(PREFIX);
        let owner = parts.next().filter(|pid| pid.parse::<u32>().is_ok());
        if let (true, Some(pid)) = (ours, owner)
            && !std::path::Path::new("/proc").join(pid).exists()
        {
            delete(name);
        }
    }
}
