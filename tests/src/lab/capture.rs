//! Running `dnsprobe capture`, and what tshark makes of its file.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::pod::Directories;
use super::process::{AMPLE, Process};

/// A dnsprobe that captures.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
    lost_after: Duration,
}

/// A packet as tshark dissects it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What dnsprobe says of it.
    pub comments: Vec<String>,
    /// Sender.
    pub source: SocketAddr,
    /// Receiver.
    pub destination: SocketAddr,
    /// The DNS message.
    pub dns: Dns,
    /// The interface it is filed under.
    pub interface: String,
    /// What tshark calls malformed, or cut.
    pub complaints: String,
}

/// A DNS message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dns {
    /// Transaction id.
    pub id: u16,
    /// The name that was asked for, without the root's dot.
    pub name: String,
    /// The type's number.
    pub kind: u16,
    /// Response code of an answer; `None` of a query.
    pub rcode: Option<u8>,
}

impl Packet {
    /// What is said of it under a name, such as `owner`.
    #[must_use]
    pub fn said(&self, name: &str) -> Option<&str> {
        let said = |comment: &'_ String| comment.starts_with(&format!("{name}: "));
        self.comments.iter().find(|comment| said(comment)).map(|it| &it[name.len() + 2..])
    }
}

impl Capture {
    /// Start it with further arguments and wait until everything is attached.
    pub fn start(
        program: &Path,
        directories: &Directories,
        file: &Path,
        lost_after: Duration,
        arguments: &[&str],
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .args(["capture", "--lost-after", &format!("{}ms", lost_after.as_millis()), "-w"])
            .arg(file)
            .args(arguments)
            .arg("--log-dir")
            .arg(&directories.logs)
            .arg("--cgroup-root")
            .arg(&directories.cgroups)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child =
            command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let mut process = Process::new("dnsprobe capture", child);
        process.wait_for("dnsprobe: watching", AMPLE)?;
        Ok(Self { process, file: file.to_owned(), lost_after })
    }

    /// Give the last query time to be judged, stop it; its packets, and what it said
    /// at the end.
    pub fn finish(self) -> Result<(Vec<Packet>, String)> {
        sleep(self.lost_after + Duration::from_millis(1500));
        self.process.signal(Signal::SIGINT)?;
        let errors = self.process.finish_with_errors(AMPLE)?;
        Ok((dissect(&self.file)?, errors.last().cloned().unwrap_or_default()))
    }

    /// Kill it; what its file with this number behind the name holds.
    pub fn kill_with(self, number: &str) -> Result<Vec<Packet>> {
        self.process.signal(Signal::SIGKILL)?;
        drop(self.process);
        let mut file = self.file.into_os_string();
        file.push(number);
        dissect(Path::new(&file))
    }
}

/// What tshark is asked for.
const FIELDS: [&str; 15] = [
    "frame.comment",
    "frame.interface_name",
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "udp.srcport",
    "udp.dstport",
    "dns.id",
    "dns.flags.response",
    "dns.flags.rcode",
    "dns.qry.name",
    "dns.qry.type",
    "_ws.malformed",
    "_ws.short",
];

/// Separates values of one field.
const UNIT: char = '\u{1f}';

/// What tshark makes of a file.
pub fn dissect(file: &Path) -> Result<Vec<Packet>> {
    let output = Command::new("tshark")
        .arg("-nr")
        .arg(file)
        .args(["-T", "fields", "-E", "separator=/t", "-E", &format!("aggregator={UNIT}")])
        .args(FIELDS.iter().flat_map(|field| ["-e", field]))
        .env("HOME", "/tmp")
        .stdin(Stdio::null())
        .output()
        .context("cannot start tshark")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "tshark cannot read {}: {said}", file.display());
    let text = String::from_utf8(output.stdout).context("tshark printed no text")?;
    text.lines().map(|line| read(line).with_context(|| format!("not DNS: {line}"))).collect()
}

fn read(line: &str) -> Result<Packet> {
    let values: Vec<&str> = line.split('\t').collect();
    let [
        comments,
        interface,
        v4_source,
        v4_destination,
        v6_source,
        v6_destination,
        source_port,
        destination_port,
        id,
        response,
        rcode,
        name,
        kind,
        malformed,
        short,
    ] = values[..]
    else {
        anyhow::bail!("{} fields", values.len());
    };
    let end = |v4: &str, v6: &str, port: &str| -> Result<SocketAddr> {
        let address: IpAddr = if v4.is_empty() { v6.parse()? } else { v4.parse()? };
        Ok(SocketAddr::new(address, port.parse()?))
    };
    let is_answer = matches!(response, "1" | "True");
    Ok(Packet {
        comments: comments.split(UNIT).map(str::to_owned).collect(),
        source: end(v4_source, v6_source, source_port)?,
        destination: end(v4_destination, v6_destination, destination_port)?,
        dns: Dns {
            id: u16::from_str_radix(id.trim_start_matches("0x"), 16)?,
            name: name.to_owned(),
            kind: kind.parse()?,
            rcode: if is_answer { Some(rcode.parse()?) } else { None },
        },
        interface: interface.to_owned(),
        complaints: format!("{malformed}{short}"),
    })
}

/// A place for files that goes with it.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Make a directory for a scenario.
    pub fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("dnsprobe-{name}-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_tshark_is_read() {
        let line = "owner: a/b\u{1f}verdict: lost, x: y\teth0@4026\t10.0.0.1\t10.0.0.2\t\t\t4000\t\
                    53\t0x1234\t1\t3\twww.example.org\t1\t\t";
        let packet = read(line).unwrap();
        assert_eq!(packet.said("verdict"), Some("lost, x: y"));
        assert_eq!(packet.said("owners"), None);
        assert_eq!(packet.source, "10.0.0.1:4000".parse().unwrap());
        let dns = Dns { id: 0x1234, name: "www.example.org".to_owned(), kind: 1, rcode: Some(3) };
        assert_eq!((packet.dns, packet.complaints.as_str()), (dns, ""));
        assert!(read("a\tb").is_err());
    }
}
