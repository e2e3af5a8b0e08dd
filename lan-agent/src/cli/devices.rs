//! `lanyard devices`: who is on this network.

use std::net::SocketAddr;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Settings;
use super::args::Devices as Args;
use super::run::{boot_id, start_mdns};
use crate::agent::event::Event;
use crate::control::{ControlClient, Devices, Reply, Request};
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
    tokio::time::sleep(settings.timeout.unwrap_or(LISTEN)).await;
    loop {
        let agents = nearby.borrow_and_update().to_vec();
        print(&Devices { connected: Vec::new(), agents }, settings.format, console);
        if !watch || nearby.changed().await.is_err() {
            mdns.shutdown().await;
            return Ok(Exit::Done);
        }
    }
}

fn print(devices: &Devices, format: OutputFormat, console: &Console) {
    if format == OutputFormat::Json {
        let event = Event::Nearby { agents: devices.agents.clone() };
        Reporter::new(console.clone(), format).print(&event);
        return;
    }
    if devices.connected.is_empty() && devices.agents.is_empty() {
        console.say("No other device is here. Show them a QR code: lanyard up");
    }
    for who in &devices.connected {
        console.result(&format!("{:<30}  connected", display(&who.name)));
    }
    for agent in &devices.agents {
        let address = agent.addresses.first().map(|address| SocketAddr::new(*address, agent.port).to_string());
        console.result(&format!("{:<30}  {}", display(&agent.name), address.unwrap_or_default()));
    }
}
