//! What a relay says of itself at `/metrics`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

const PATIENCE: Duration = Duration::from_secs(10);

/// The answer to a GET, headers included.
///
/// # Errors
/// There is none.
pub fn get(http: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(http)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The value of a series, by its name and labels.
///
/// # Errors
/// There is no such series.
pub fn figure(metrics: &str, series: &str) -> Result<u64> {
    let line = metrics.lines().find_map(|line| line.rsplit_once(' ').filter(|(name, _)| *name == series));
    Ok(line.with_context(|| format!("no {series} in {metrics}"))?.1.parse()?)
}
