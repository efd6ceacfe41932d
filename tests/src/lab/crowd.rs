//! Many pods as far as dnsprobe can tell: a cgroup, a directory of logs, and a
//! socket that asks. They share one network namespace.

use std::collections::VecDeque;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::messages::Messages;
use super::pod::enter_cgroup;

/// Where DNS servers listen.
const DNS_PORT: u16 = 53;

/// Pods that come and go, with one server.
#[derive(Debug)]
pub struct Crowd {
    cgroups: PathBuf,
    logs: PathBuf,
    /// The oldest first.
    members: VecDeque<Member>,
    /// How many there ever were.
    met: u32,
    messages: Messages,
}

#[derive(Debug)]
struct Member {
    socket: UdpSocket,
    cgroup: PathBuf,
    logs: PathBuf,
}

impl Crowd {
    /// None yet. `cgroups`: the root of the hierarchy; `logs`: the kubelet's
    /// directory of pod logs.
    ///
    /// # Errors
    /// When no message can be made.
    pub fn new(cgroups: &Path, logs: &Path) -> Result<Self> {
        let (cgroups, logs) = (cgroups.to_owned(), logs.to_owned());
        Ok(Self { cgroups, logs, members: VecDeque::new(), met: 0, messages: Messages::new()? })
    }

    /// Makes more, until there are `count`.
    ///
    /// # Errors
    /// Says which cgroup, directory or socket cannot be made.
    pub fn grow(&mut self, count: u32) -> Result<()> {
        let own = own_cgroup(&self.cgroups)?;
        for _ in u32::try_from(self.members.len())?..count {
            let number = self.met;
            self.met += 1;
            let uid = format!("5ca1ab1e-0000-4000-8000-{number:012x}");
            let cgroup = self.cgroups.join(format!(
                "kubepods.slice/kubepods-burstable.slice/\
                 kubepods-burstable-pod{}.slice/cri-containerd-{number:064x}.scope",
                uid.replace('-', "_")
            ));
            fs::create_dir_all(&cgroup)?;
            let logs = self.logs.join(format!("load_pod-{number}_{uid}"));
            fs::create_dir_all(logs.join("main"))?;
            enter_cgroup(&cgroup)?;
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect((Ipv4Addr::LOCALHOST, DNS_PORT))?;
            self.members.push_back(Member { socket, cgroup, logs });
        }
        enter_cgroup(&own)
    }

    /// The oldest leave, so many of them.
    ///
    /// # Errors
    /// Says which cgroup or directory cannot be removed.
    pub fn leave(&mut self, count: usize) -> Result<()> {
        for Member { socket, cgroup, logs } in self.members.drain(..count.min(self.members.len())) {
            drop(socket);
            for directory in [Some(cgroup.as_path()), cgroup.parent()].into_iter().flatten() {
                fs::remove_dir(directory)
                    .with_context(|| format!("cannot remove {}", directory.display()))?;
            }
            fs::remove_dir_all(logs)?;
        }
        Ok(())
    }

    /// How many have left.
    #[must_use]
    pub fn gone(&self) -> u32 {
        self.met - u32::try_from(self.members.len()).unwrap_or(self.met)
    }

    /// Each asks a few times and is answered.
    ///
    /// # Errors
    /// Of the sockets, and when somebody gets another's answer.
    pub fn ask(&mut self) -> Result<()> {
        const TIMES: u32 = 3;
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, DNS_PORT))?;
        let mut buffer = [0; 512];
        for _ in 0..TIMES {
            for Member { socket, .. } in &self.members {
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

/// This process's place in the unified hierarchy with that root.
fn own_cgroup(root: &Path) -> Result<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup")?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"));
    Ok(root.join(path.context("no unified cgroup hierarchy")?))
}
