//! One end of a link with its signals on stdin and stdout, to try it against anything that speaks WebRTC.
//!
//! ```text
//! cargo run --release --example peer_link_stdio -- offerer|answerer [native|browser]
//! ```
//!
//! Each line is JSON. In: signals as `protocol::peer::Signal`, or `{"send": {"frames": 100, "bytes": 65536}}`.
//! Out: signals in the same form, and `{"event": …}` for everything else.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use lanyard_agent::peer_link::{LinkConfig, LinkEvent, Pacing, PeerLink, Role, Signal};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let role = match arguments.next().as_deref() {
        Some("offerer") => Role::Offerer,
        Some("answerer") => Role::Answerer,
        _ => bail!("say offerer or answerer"),
    };
    let pacing = match arguments.next().as_deref() {
        Some("browser") => Pacing::BROWSER,
        _ => Pacing::NATIVE,
    };
    let (link, mut events) = PeerLink::open(LinkConfig { pacing, ..LinkConfig::new(role) }).await?;
    let link = Arc::new(link);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut received = 0;
    let mut first_data = None;
    loop {
        tokio::select! {
            line = lines.next_line() => match line? {
                Some(line) => take_line(&link, &line).await?,
                None => break,
            },
            event = events.next() => match event {
                Some(LinkEvent::Signal(signal)) => print(&serde_json::to_value(signal)?)?,
                Some(LinkEvent::Data(frame)) => {
                    received += frame.len();
                    first_data.get_or_insert_with(Instant::now);
                }
                Some(LinkEvent::Control(text)) if text == "count" => {
                    let seconds = first_data.take().map_or(0.0, |since: Instant| since.elapsed().as_secs_f64());
                    print(&json!({ "event": "received", "bytes": received, "seconds": seconds }))?;
                    received = 0;
                }
                Some(other) => {
                    print(&json!({ "event": format!("{other:?}"), "max_message_size": link.max_message_size() }))?;
                }
                None => break,
            },
        }
    }
    link.close().await;
    Ok(())
}

async fn take_line(link: &Arc<PeerLink>, line: &str) -> anyhow::Result<()> {
    let value: Value = serde_json::from_str(line)?;
    if let Some(send) = value.get("send") {
        let number = |name| send.get(name).and_then(Value::as_u64).context("a number is missing");
        let (frames, bytes) = (number("frames")?, usize::try_from(number("bytes")?)?);
        let link = Arc::clone(link);
        tokio::spawn(async move {
            let frame = Bytes::from(vec![7; bytes]);
            for _ in 0..frames {
                if link.send_data(frame.clone()).await.is_err() {
                    return;
                }
            }
        });
        return Ok(());
    }
    let signal: Signal = serde_json::from_value(value)?;
    if let Err(error) = link.handle_signal(signal).await {
        print(&json!({ "event": "refused", "error": error.to_string() }))?;
    }
    Ok(())
}

fn print(value: &Value) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}
