//! The programs that move files from one host to the other.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::place::Lab;
use super::usage::{Outcome, Watch};
use super::{Load, Scratch};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(20);

/// A program, and how it is used.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    start: fn(&Setting) -> Result<Ready>,
}

/// The bare copy comes first: the others are compared with it.
pub(crate) const WAYS: [Way; 5] = [
    Way { name: "bare TCP copy", start: bare },
    Way { name: "Lanyard, agent to agent", start: lanyard },
    Way { name: "rsync (no encryption)", start: rsync },
    Way { name: "scp", start: scp },
    Way { name: "magic-wormhole", start: wormhole },
];

/// What a way finds.
struct Setting<'a> {
    lab: &'a Lab,
    programs: &'a Path,
    source: &'a Path,
    /// Where files go.
    inbox: PathBuf,
    /// For keys, settings and homes.
    home: &'a Path,
}

/// Everything is up; only the sending command is missing.
struct Ready {
    servers: Vec<Server>,
    send: Command,
}

/// Ends with this.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Way {
    /// Moves everything, and looks whether it is there.
    pub(crate) fn measure(&self, lab: &Lab, programs: &Path, source: &Path, load: &Load) -> Result<Outcome> {
        let home = Scratch::new()?;
        let inbox = home.0.join("inbox");
        std::fs::create_dir(&inbox)?;
        let setting = Setting { lab, programs, source, inbox: inbox.clone(), home: &home.0 };
        let Ready { servers, mut send } = (self.start)(&setting)?;
        let watch = Watch::begin(&[&lab.sender, &lab.receiver])?;
        let output = send.stdin(Stdio::null()).output().context("the sending command did not start")?;
        let outcome = watch.end()?;
        ensure!(
            output.status.success(),
            "it ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        // A receiver may be a moment behind.
        let deadline = Instant::now() + START;
        while (count(&inbox)?) < (load.files, load.total_bytes()) {
            ensure!(Instant::now() < deadline, "not everything arrived");
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(servers);
        Ok(outcome)
    }
}

/// Files and bytes below a folder.
fn count(folder: &Path) -> Result<(u64, u64)> {
    let mut all = (0, 0);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (files, bytes) =
            if entry.file_type()?.is_dir() { count(&entry.path())? } else { (1, entry.metadata()?.len()) };
        all = (all.0 + files, all.1 + bytes);
    }
    Ok(all)
}

fn bare(setting: &Setting) -> Result<Ready> {
    let this = std::env::current_exe()?;
    let mut receive = setting.lab.receiver.command(&this);
    receive.args(["tcp-copy", "receive"]).arg(&setting.inbox);
    let (server, port) = start(receive, |line| line.parse::<u16>().ok())?;
    let mut send = setting.lab.sender.command(&this);
    send.args(["tcp-copy", "send", &format!("{}:{port}", setting.lab.receiver.address)]).arg(setting.source);
    Ok(Ready { servers: vec![server], send })
}

fn lanyard(setting: &Setting) -> Result<Ready> {
    let program = setting.programs.join("lanyard");
    let only = if setting.lab.receiver.address == "127.0.0.1" { "127.0.0.1" } else { "eth0" };
    let mut up = setting.lab.receiver.command(&program);
    up.arg("up").arg(&setting.inbox).args(["--accept", "accept", "--no-qr", "--interface", only]);
    at_home(&mut up, &setting.home.join("receiver"))?;
    let (server, link) = start(up, |line| line.contains("/#1.").then(|| line.trim().to_owned()))?;
    let mut send = setting.lab.sender.command(&program);
    send.arg("send").arg(setting.source).args(["--interface", only, "--quiet"]).env("LANYARD_CODE", link);
    at_home(&mut send, &setting.home.join("sender"))?;
    Ok(Ready { servers: vec![server], send })
}

fn rsync(setting: &Setting) -> Result<Ready> {
    let config = setting.home.join("rsyncd.conf");
    let text =
        format!("use chroot = no\nuid = root\ngid = root\n[in]\npath = {}\nread only = no\n", setting.inbox.display());
    std::fs::write(&config, text)?;
    let mut daemon = setting.lab.receiver.command("rsync");
    daemon.args(["--daemon", "--no-detach", "--port=8873"]).arg(format!("--config={}", config.display()));
    let server = Server(daemon.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    wait_for_port(setting, 8873)?;
    let mut send = setting.lab.sender.command("rsync");
    send.args(["-r", "--whole-file"]).arg(setting.source);
    send.arg(format!("rsync://{}:8873/in/", setting.lab.receiver.address));
    Ok(Ready { servers: vec![server], send })
}

fn scp(setting: &Setting) -> Result<Ready> {
    for name in ["host", "user"] {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(setting.home.join(name));
        ensure!(keygen.status()?.success(), "ssh-keygen failed");
    }
    std::fs::create_dir_all("/run/sshd")?;
    let config = setting.home.join("sshd_config");
    let home = setting.home.display();
    let text = format!(
        "HostKey {home}/host\nAuthorizedKeysFile {home}/user.pub\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n\
         Subsystem sftp internal-sftp\nPidFile none\n"
    );
    std::fs::write(&config, text)?;
    let mut daemon = setting.lab.receiver.command("/usr/sbin/sshd");
    daemon.args(["-D", "-p", "8822", "-f"]).arg(&config);
    let server = Server(daemon.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    wait_for_port(setting, 8822)?;
    let mut send = setting.lab.sender.command("scp");
    send.args(["-q", "-r", "-P", "8822", "-i"]).arg(setting.home.join("user"));
    send.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]);
    send.arg(setting.source).arg(format!("root@{}:{}", setting.lab.receiver.address, setting.inbox.display()));
    Ok(Ready { servers: vec![server], send })
}

fn wormhole(setting: &Setting) -> Result<Ready> {
    let mut mailbox = setting.lab.receiver.command("twist3");
    mailbox.args(["wormhole-mailbox", "--port", "tcp:4000"]).current_dir(setting.home);
    let server = Server(mailbox.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("no mailbox server")?);
    wait_for_port(setting, 4000)?;
    let relay = format!("ws://{}:4000/v1", setting.lab.receiver.address);
    let command = |host: &super::place::Host, what: &str| {
        let mut command = host.command("wormhole");
        command.args(["--relay-url", &relay, "--transit-helper", "", what, "--hide-progress"]);
        command.env("HOME", setting.home).env("LC_ALL", "C.UTF-8");
        command
    };
    let mut receive = command(&setting.lab.receiver, "receive");
    receive.args(["--accept-file", "1-bench-run"]).current_dir(&setting.inbox);
    let receiver = Server(receive.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    let mut send = command(&setting.lab.sender, "send");
    send.args(["--code", "1-bench-run"]).arg(setting.source);
    Ok(Ready { servers: vec![server, receiver], send })
}

fn at_home(command: &mut Command, home: &Path) -> Result<()> {
    for folder in ["run", "config", "data", "state"] {
        std::fs::create_dir_all(home.join(folder))?;
    }
    command.env("HOME", home).env("XDG_RUNTIME_DIR", home.join("run")).env("XDG_CONFIG_HOME", home.join("config"));
    command.env("XDG_DATA_HOME", home.join("data")).env("XDG_STATE_HOME", home.join("state"));
    Ok(())
}

/// Starts a server and reads its output until a line says what is wanted.
fn start<T>(mut command: Command, wanted: impl Fn(&str) -> Option<T>) -> Result<(Server, T)> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
    let server = Server(child);
    let found = lines.by_ref().map_while(Result::ok).find_map(|line| wanted(&line));
    // Nobody reads on, but the pipe must stay open and empty.
    std::thread::spawn(move || lines.for_each(drop));
    Ok((server, found.context("it did not start")?))
}

fn wait_for_port(setting: &Setting, port: u16) -> Result<()> {
    let deadline = Instant::now() + START;
    let address = &setting.lab.receiver.address;
    while Instant::now() < deadline {
        let mut probe = setting.lab.sender.command("bash");
        probe.args(["-c", &format!("exec 3<>/dev/tcp/{address}/{port}")]);
        if probe.stderr(Stdio::null()).status()?.success() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("nothing listens on {address}:{port}")
}
