//! Sending through an io_uring, as newer runtimes do.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};
use io_uring::{IoUring, opcode, types::Fd};
use nix::libc::{iovec, msghdr};
use socket2::SockAddr;

/// Whether this kernel lets us have an io_uring.
#[must_use]
pub fn is_allowed() -> bool {
    IoUring::new(1).is_ok()
}

/// Hand all messages in with one submission; what became of each.
pub(super) fn send_all(
    socket: &UdpSocket,
    to: Option<SocketAddr>,
    messages: &[Vec<u8>],
) -> Result<Vec<io::Result<()>>> {
    let entries = u32::try_from(messages.len())?.next_power_of_two();
    let mut ring = IoUring::new(entries).context("this kernel gives no io_uring")?;
    let to = to.map(SockAddr::from);
    let mut slices: Vec<iovec> = messages
        .iter()
        .map(|message| iovec {
            iov_base: message.as_ptr().cast_mut().cast(),
            iov_len: message.len(),
        })
        .collect();
    let headers: Vec<msghdr> = slices.iter_mut().map(|slice| header(slice, to.as_ref())).collect();
    for (index, header) in headers.iter().enumerate() {
        let entry =
            opcode::SendMsg::new(Fd(socket.as_raw_fd()), header).build().user_data(index as u64);
        // SAFETY: what the entry points to lives until all completions are in.
        unsafe { ring.submission().push(&entry) }.context("the submission queue is full")?;
    }
    ring.submit_and_wait(messages.len()).context("io_uring_enter failed")?;
    let mut results: Vec<io::Result<()>> = messages.iter().map(|_| Ok(())).collect();
    let mut completed = 0;
    for completion in ring.completion() {
        completed += 1;
        if completion.result() < 0 {
            let error = io::Error::from_raw_os_error(-completion.result());
            results[usize::try_from(completion.user_data())?] = Err(error);
        }
    }
    ensure!(completed == messages.len(), "{completed} of {} sends completed", messages.len());
    Ok(results)
}

fn header(slice: &mut iovec, to: Option<&SockAddr>) -> msghdr {
    // SAFETY: a header of zeroes is a valid one that names nothing.
    let mut header: msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = slice;
    header.msg_iovlen = 1;
    if let Some(to) = to {
        header.msg_name = to.as_ptr().cast_mut().cast();
        header.msg_namelen = to.len();
    }
    header
}
