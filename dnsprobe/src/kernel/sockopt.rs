//! Socket options that are questions to the kernel: what is asked for stands
//! in the buffer that the answer is written to.

use std::{io, net::UdpSocket, os::fd::AsRawFd};

/// Asks; the answer replaces what is in `buffer`.
pub(crate) fn getsockopt(
    socket: &UdpSocket,
    level: i32,
    option: i32,
    buffer: &mut [u8],
) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(buffer.len())
        .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    // SAFETY: the kernel reads and writes at most `length` bytes of `buffer`,
    // which is as long, and both live through the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            buffer.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
