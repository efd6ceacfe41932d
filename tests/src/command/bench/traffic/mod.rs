//! What is timed.

mod messages;
mod ping_pong;

use anyhow::Result;

use self::ping_pong::PingPong;

/// Traffic that can be repeated.
pub(super) trait Traffic {
    /// One unit of it, to its end.
    fn once(&mut self) -> Result<()>;
}

/// The port that makes a packet DNS.
pub(super) const DNS_PORT: u16 = 53;
/// One of the many others.
pub(super) const OTHER_PORT: u16 = 5300;

/// Query and answer over loopback, both ends here.
pub(super) fn ping_pong(port: u16) -> Result<Box<dyn Traffic>> {
    Ok(Box::new(PingPong::new(port)?))
}
