//! BPF programs on a pod's cgroup that refuse what its processes send, as
//! systemd's `IPAddressDeny=` and some policy agents do. Two instructions;
//! loaded with the raw system call, since nothing else here needs a loader.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;

/// Where in the send path the refusal happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the system call, before there is a packet.
    SendMsg,
    /// At the way out of the IP layer.
    Egress,
}

impl Place {
    /// `bpf_prog_type` and `bpf_attach_type` of include/uapi/linux/bpf.h.
    const fn types(self) -> (u32, u32) {
        match self {
            Self::SendMsg => (18, 14), // CGROUP_SOCK_ADDR, CGROUP_UDP4_SENDMSG
            Self::Egress => (8, 1),    // CGROUP_SKB, CGROUP_INET_EGRESS
        }
    }
}

/// Refuses until dropped.
#[must_use = "the refusal ends when this is dropped"]
#[derive(Debug)]
pub struct Refusal {
    cgroup: File,
    program: OwnedFd,
    attach_type: u32,
}

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_DETACH: libc::c_long = 9;

/// `mov64 r0, 0; exit`: no.
const NO: [u64; 2] = [0xb7, 0x95];

/// What `BPF_PROG_LOAD` reads; the kernel takes the rest as zeroes.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// What `BPF_PROG_ATTACH` and `BPF_PROG_DETACH` read.
#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// Refuse everything processes below `cgroup` send, at `place`.
pub fn refuse(cgroup: &Path, place: Place) -> Result<Refusal> {
    let (prog_type, attach_type) = place.types();
    let load = Load {
        prog_type,
        insn_cnt: 2,
        insns: NO.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        expected_attach_type: attach_type,
        ..Load::default()
    };
    let program = bpf(BPF_PROG_LOAD, &load).context("cannot load a cgroup program")?;
    let program = i32::try_from(program)?;
    // SAFETY: a file descriptor the kernel has just given us.
    let program = unsafe { OwnedFd::from_raw_fd(program) };
    let cgroup = File::open(cgroup).with_context(|| format!("no cgroup {}", cgroup.display()))?;
    let refusal = Refusal { cgroup, program, attach_type };
    refusal.call(BPF_PROG_ATTACH).context("cannot attach a cgroup program")?;
    Ok(refusal)
}

impl Refusal {
    fn call(&self, command: libc::c_long) -> Result<()> {
        let attach = Attach {
            target_fd: u32::try_from(self.cgroup.as_raw_fd())?,
            attach_bpf_fd: u32::try_from(self.program.as_raw_fd())?,
            attach_type: self.attach_type,
            attach_flags: 0,
        };
        bpf(command, &attach).map(drop)
    }
}

impl Drop for Refusal {
    fn drop(&mut self) {
        let _ = self.call(BPF_PROG_DETACH);
    }
}

fn bpf<T>(command: libc::c_long, attributes: &T) -> Result<libc::c_long> {
    // SAFETY: the attributes are as long as we say, and what they point to
    // outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    };
    Ok(Errno::result(result)?)
}
