//! What is loaded into the kernel's BPF, by its ids: programs, maps and links.

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// `enum bpf_cmd`, include/uapi/linux/bpf.h.
const COMMANDS: [(&str, libc::c_long); 3] = [("programs", 11), ("maps", 12), ("links", 31)];

/// How many of each there are.
pub type Loaded = Vec<(&'static str, usize)>;

/// Count them.
pub fn count() -> Result<Loaded> {
    COMMANDS.iter().map(|&(what, command)| Ok((what, ids(what, command)?))).collect()
}

/// Wait until there are no more than before: the kernel frees a program a moment after
/// the last who held it is gone, what ran before this too.
pub fn wait_for(before: &Loaded, longest: Duration) -> Result<()> {
    let deadline = Instant::now() + longest;
    loop {
        let now = count()?;
        if now.iter().zip(before).all(|((_, now), (_, before))| now <= before) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "before it was {before:?}, now it is {now:?}");
        sleep(Duration::from_millis(100));
    }
}

fn ids(what: &str, command: libc::c_long) -> Result<usize> {
    // `start_id` and `next_id` of `union bpf_attr`, and nothing behind them.
    let mut attr = [0_u32; 3];
    let mut count = 0;
    loop {
        // SAFETY: these commands read and write only the numbers that `attr` holds.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of_val(&attr)) };
        if result < 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() == Some(libc::ENOENT) {
                return Ok(count);
            }
            return Err(error).with_context(|| format!("cannot list BPF {what}"));
        }
        count += 1;
        attr[0] = attr[1];
    }
}
