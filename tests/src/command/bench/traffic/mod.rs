//! What is timed.

mod ping_pong;
mod remote;
mod tcp;
mod tun;

use anyhow::Result;

use self::ping_pong::PingPong;
use self::remote::{ClientHere, Dropped, Flows, ServerHere};
use self::tcp::Tcp;

/// Traffic that can be repeated.
pub(super) trait Traffic {
    /// A little of it, to its end.
    fn once(&mut self) -> Result<()>;

    /// How many units that is.
    fn units(&self) -> u64 {
        1
    }
}

/// The port that makes a packet DNS.
pub(super) const DNS_PORT: u16 = 53;
/// One of the many others.
pub(super) const OTHER_PORT: u16 = 5300;
/// What comes to this one is dropped, where rules for it are in force.
pub(super) const DROPPED_PORT: u16 = 5301;

type Made = Result<Box<dyn Traffic>>;

/// Query and answer over loopback, both ends here.
pub(super) fn ping_pong(port: u16) -> Made {
    Ok(Box::new(PingPong::new(port)?))
}

/// Query and answer with a server that is not on this node.
pub(super) fn client_here(port: u16) -> Made {
    Ok(Box::new(ClientHere::new(port)?))
}

/// Query and answer with a client that is not on this node.
pub(super) fn server_here(port: u16) -> Made {
    Ok(Box::new(ServerHere::new(port, Flows::Old)?))
}

/// The same, each from another port of the client.
pub(super) fn server_here_new_flows(port: u16) -> Made {
    Ok(Box::new(ServerHere::new(port, Flows::New)?))
}

/// Packets that come in and are dropped by a rule.
pub(super) fn dropped() -> Made {
    Ok(Box::new(Dropped::new(DROPPED_PORT)?))
}

/// Segments there and back.
pub(super) fn tcp(port: u16) -> Made {
    Ok(Box::new(Tcp::new(port)?))
}
