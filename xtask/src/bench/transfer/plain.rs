//! A bare copy over TCP: what the machine can do when nobody checks, encrypts or resumes.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::step;

/// `xtask tcp-copy receive FOLDER` prints its port; `xtask tcp-copy send ADDRESS PATH`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    match args {
        [what, folder] if what == "receive" => receive(Path::new(folder)),
        [what, address, path] if what == "send" => send(address, Path::new(path)),
        _ => bail!("tcp-copy receive FOLDER | send ADDRESS PATH"),
    }
}

fn receive(folder: &Path) -> Result<()> {
    let listener = TcpListener::bind("0.0.0.0:0")?;
    step::say(&listener.local_addr()?.port().to_string());
    let (stream, _) = listener.accept()?;
    let mut answer = stream.try_clone()?;
    let mut stream = BufReader::with_capacity(1 << 20, stream);
    loop {
        let len = read_number(&mut stream)?;
        if len == 0 {
            answer.write_all(b"!")?;
            return Ok(());
        }
        ensure!(len < 4096, "a name of {len} bytes");
        let mut name = vec![0; usize::try_from(len)?];
        stream.read_exact(&mut name)?;
        let path = folder.join(String::from_utf8(name)?);
        std::fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
        let size = read_number(&mut stream)?;
        std::io::copy(&mut (&mut stream).take(size), &mut File::create(path)?)?;
    }
}

fn send(address: &str, path: &Path) -> Result<()> {
    let stream = TcpStream::connect(address)?;
    let mut answer = stream.try_clone()?;
    let mut out = BufWriter::with_capacity(1 << 20, stream);
    let base = path.parent().context("a file lies in a folder")?;
    let mut files = Vec::new();
    list(path, &mut files)?;
    for path in files {
        let name = path.strip_prefix(base)?.to_string_lossy().into_owned();
        out.write_all(&(name.len() as u64).to_be_bytes())?;
        out.write_all(name.as_bytes())?;
        let mut file = File::open(&path)?;
        out.write_all(&file.metadata()?.len().to_be_bytes())?;
        std::io::copy(&mut file, &mut out)?;
    }
    out.write_all(&0_u64.to_be_bytes())?;
    out.flush()?;
    answer.read_exact(&mut [0])?;
    Ok(())
}

fn read_number(stream: &mut impl std::io::Read) -> Result<u64> {
    let mut number = [0; 8];
    stream.read_exact(&mut number)?;
    Ok(u64::from_be_bytes(number))
}

fn list(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        list(&entry?.path(), files)?;
    }
    Ok(())
}

/// Bytes that no program compresses.
pub(super) fn write_random(path: &Path, bytes: u64) -> Result<()> {
    let mut random = File::open("/dev/urandom")?.take(bytes);
    std::io::copy(&mut random, &mut File::create(path)?)?;
    Ok(())
}
