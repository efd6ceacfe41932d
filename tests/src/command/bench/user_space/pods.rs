//! Pods as far as dnsprobe can tell: a cgroup, a directory of logs, and a socket
//! that asks.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::super::traffic::{DNS_PORT, Messages};

/// A growing number of them, with one server.
#[derive(Debug)]
pub(super) struct Pods {
    sockets: Vec<UdpSocket>,
    messages: Messages,
}

impl Pods {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { sockets: Vec::new(), messages: Messages::new()? })
    }

    /// Makes more, until there are `count`. We are in the last one's cgroup
    /// afterwards.
    pub(super) fn grow(&mut self, count: u32) -> Result<()> {
        for number in u32::try_from(self.sockets.len())?..count {
            let uid = format!("5ca1ab1e-0000-4000-8000-{number:012x}");
            let slice = format!(
                "/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/\
                 kubepods-burstable-pod{}.slice/cri-containerd-{number:064x}.scope",
                uid.replace('-', "_")
            );
            let cgroup = Path::new(&slice);
            fs::create_dir_all(cgroup)?;
            fs::create_dir_all(format!("/var/log/pods/load_pod-{number}_{uid}/main"))?;
            // "0" is the writing process itself; its sockets stay with the pod.
            fs::write(cgroup.join("cgroup.procs"), "0")
                .with_context(|| format!("cannot enter {slice}"))?;
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect((Ipv4Addr::LOCALHOST, DNS_PORT))?;
            self.sockets.push(socket);
        }
        Ok(())
    }

    /// Each asks a few times and is answered.
    pub(super) fn ask(&mut self) -> Result<()> {
        const TIMES: u32 = 3;
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, DNS_PORT))?;
        let mut buffer = [0; 512];
        for _ in 0..TIMES {
            for socket in &self.sockets {
                self.messages.next();
                socket.send(&self.messages.query)?;
                let (_, from) = server.recv_from(&mut buffer)?;
                server.send_to(&self.messages.answer, from)?;
                let length = socket.recv(&mut buffer)?;
                ensure!(buffer[..length] == self.messages.answer[..], "somebody else's answer");
            }
        }
        Ok(())
    }
}
