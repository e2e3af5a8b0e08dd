//! `lanyard devices`: who is on this network.

use std::net::SocketAddr;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Settings;
use super::args::Devices as Args;
use super::run::{boot_id, open_book, start_mdns};
use crate::agent::event::Event;
use crate::config::AcceptPolicy;
use crate::control::{ControlClient, Devices, RememberedDevice, Reply, Request};
use crate::devices::DeviceBook;
use crate::exit::{Exit, Stop};
use crate::paths;
use crate::terminal::{Console, OutputFormat, Reporter, display};

/// How long agents are listened for: they answer within a second.
const LISTEN: Duration = Duration::from_secs(3);

/// Lists the devices, with `--watch` again at each change.
pub(super) async fn run(
    args: Args,
    settings: Settings,
    console: &Console,
    stop: CancellationToken,
) -> Result<Exit, Stop> {
    tokio::select! {
        result = list(args.watch, &settings, console) => result,
        () = stop.cancelled() => Ok(if args.watch { Exit::Done } else { Exit::Interrupted }),
    }
}

async fn list(watch: bool, settings: &Settings, console: &Console) -> Result<Exit, Stop> {
    if let Some(socket) = paths::control_socket() {
        let unreachable = |error: crate::control::ControlError| Stop::new(Exit::Unreachable, error.to_string());
        if let Some(mut agent) = ControlClient::connect(&socket).await.map_err(unreachable)? {
            agent.send(&Request::Devices { watch }).await.map_err(unreachable)?;
            while let Some(reply) = agent.next().await.map_err(unreachable)? {
                if let Reply::Devices(devices) = reply {
                    print(&devices, settings.format, console);
                    if !watch {
                        return Ok(Exit::Done);
                    }
                }
            }
            return Err(Stop::new(Exit::Unreachable, "the running agent has stopped"));
        }
    }
    let mdns = start_mdns(settings, &boot_id(), console)
        .ok_or_else(|| Stop::new(Exit::Unreachable, "this network cannot be listened to"))?;
    let mut nearby = mdns.nearby();
    let book = open_book(console);
    tokio::time::sleep(settings.timeout.unwrap_or(LISTEN)).await;
    loop {
        let agents = nearby.borrow_and_update().to_vec();
        let remembered = book.as_ref().map(|book| remembered(book)).unwrap_or_default();
        print(&Devices { connected: Vec::new(), agents, remembered }, settings.format, console);
        if !watch || nearby.changed().await.is_err() {
            mdns.shutdown().await;
            return Ok(Exit::Done);
        }
    }
}

/// Without a running agent nobody is connected.
fn remembered(book: &DeviceBook) -> Vec<RememberedDevice> {
    let list = |device: crate::devices::Remembered| RememberedDevice {
        policy: device.policy.map(AcceptPolicy::word),
        name: device.name,
        online: false,
    };
    book.all().into_iter().map(list).collect()
}

fn print(devices: &Devices, format: OutputFormat, console: &Console) {
    if format == OutputFormat::Json {
        let event = Event::Nearby { agents: devices.agents.clone() };
        Reporter::new(console.clone(), format).print(&event);
        for device in &devices.remembered {
            let line = serde_json::json!({
                "event": "remembered_device", "name": device.name, "online": device.online, "policy": device.policy,
            });
            console.result(&line.to_string());
        }
        return;
    }
    if devices.connected.is_empty() && devices.agents.is_empty() && devices.remembered.is_empty() {
        console.say("No other device is here. Show them a QR code: lanyard up");
    }
    for device in &devices.remembered {
        let state = if device.online { "online" } else { "offline" };
        let policy = device.policy.as_ref().map(|policy| format!(", {policy}")).unwrap_or_default();
        console.result(&format!("{:<30}  remembered, {state}{policy}", display(&device.name)));
    }
    let is_listed = |who: &crate::agent::event::Who| {
        devices.remembered.iter().any(|device| device.online && device.name == who.name)
    };
    for who in devices.connected.iter().filter(|who| !is_listed(who)) {
        console.result(&format!("{:<30}  connected", display(&who.name)));
    }
    for agent in &devices.agents {
        let address = agent.addresses.first().map(|address| SocketAddr::new(*address, agent.port).to_string());
        console.result(&format!("{:<30}  {}", display(&agent.name), address.unwrap_or_default()));
    }
}
