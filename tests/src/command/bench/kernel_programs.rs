//! What the kernel knows of the programs that a process has loaded.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Context, Result};
use nix::unistd::Pid;

/// `linux/bpf.h`: commands of bpf(2).
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;

/// `struct bpf_prog_info`, as long as it was in 5.10 and then some. A kernel
/// fills in what it knows.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub(super) struct Info {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_bytes: u32,
    xlated_bytes: u32,
    jited_code: u64,
    xlated_code: u64,
    load_time: u64,
    created_by: u32,
    map_count: u32,
    maps: u64,
    name: [u8; 16],
    device: u32,
    flags: u32,
    netns: [u64; 2],
    symbol_count: u32,
    function_count: u32,
    symbols: u64,
    function_lengths: u64,
    btf: u32,
    function_size: u32,
    functions: u64,
    functions_and_lines: [u32; 2],
    lines: [u64; 2],
    line_sizes: [u32; 4],
    tags: u64,
    pub(super) run_time_ns: u64,
    pub(super) run_count: u64,
    pub(super) recursion_misses: u64,
    /// Instructions the verifier went through; 0 before 5.16.
    pub(super) verified_instructions: u32,
    pad: u32,
}

/// `union bpf_attr` of PROG_GET_FD_BY_ID.
#[repr(C)]
struct ById {
    id: u32,
    next: u32,
    flags: u32,
}

/// `union bpf_attr` of OBJ_GET_INFO_BY_FD.
#[repr(C)]
struct ByDescriptor {
    descriptor: u32,
    length: u32,
    info: u64,
}

/// A loaded program and its machine code.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) info: Info,
    pub(super) code: Vec<u8>,
}

impl Info {
    /// The name; the kernel keeps 15 characters.
    pub(super) fn name(&self) -> String {
        String::from_utf8_lossy(&self.name).trim_end_matches('\0').to_owned()
    }

    pub(super) const fn id(&self) -> u32 {
        self.id
    }

    /// Size of the kernel's own byte code, after it put in its changes.
    pub(super) const fn xlated_bytes(&self) -> u32 {
        self.xlated_bytes
    }
}

/// Every program that a process holds, in the order it was loaded.
pub(super) fn of(process: Pid) -> Result<Vec<Loaded>> {
    let mut ids: Vec<u32> = fs::read_dir(format!("/proc/{process}/fdinfo"))?
        .filter_map(|entry| {
            // A descriptor may be closed meanwhile.
            let text = fs::read_to_string(entry.ok()?.path()).ok()?;
            // A link names its program, too.
            text.lines().any(|line| line.starts_with("prog_jited:")).then(|| id_of(&text))?
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().map(read).collect()
}

fn id_of(fdinfo: &str) -> Option<u32> {
    fdinfo.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
}

/// Whether a program is still in the kernel.
pub(super) fn exists(id: u32) -> bool {
    open(id).is_ok()
}

fn open(id: u32) -> io::Result<OwnedFd> {
    let attributes = ById { id, next: 0, flags: 0 };
    let descriptor = bpf(PROG_GET_FD_BY_ID, &attributes)?;
    // SAFETY: the kernel just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn read(id: u32) -> Result<Loaded> {
    let program = open(id).with_context(|| format!("cannot open program {id}"))?;
    let sizes = info(&program, Info::default())?;
    let mut code = vec![0_u8; sizes.jited_bytes as usize];
    let wanted = Info {
        jited_bytes: sizes.jited_bytes,
        jited_code: code.as_mut_ptr().expose_provenance() as u64,
        ..Info::default()
    };
    let info = info(&program, wanted)?;
    code.truncate(info.jited_bytes as usize);
    Ok(Loaded { info, code })
}

/// Fills `info` in; it may ask for the code.
fn info(program: &OwnedFd, mut info: Info) -> Result<Info> {
    let attributes = ByDescriptor {
        descriptor: u32::try_from(program.as_raw_fd())?,
        length: u32::try_from(size_of::<Info>())?,
        info: (&raw mut info).expose_provenance() as u64,
    };
    bpf(OBJ_GET_INFO_BY_FD, &attributes).context("the kernel does not describe its programs")?;
    Ok(info)
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<i32> {
    // SAFETY: the attributes are those of the command, as long as we say, and
    // what they point to outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_that_of_the_kernel() {
        assert_eq!(std::mem::offset_of!(Info, name), 64);
        assert_eq!(std::mem::offset_of!(Info, run_time_ns), 192);
        assert_eq!(std::mem::offset_of!(Info, verified_instructions), 216);
        assert_eq!(size_of::<Info>(), 224);
    }

    #[test]
    fn a_programs_id_is_in_its_fdinfo() {
        assert_eq!(id_of("prog_type:\t26\nprog_jited:\t1\nprog_id:\t8\n"), Some(8));
        assert_eq!(id_of("pos:\t0\n"), None);
    }
}
