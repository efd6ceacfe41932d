//! What the node's services say of a backend that a query left for, with a
//! bounded age: reading every rule takes milliseconds.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::services::{Answer, Services};
use crate::engine::BackendState;

/// Rules are read at most this often, and only for queries that got no answer.
const MIN_AGE: Duration = Duration::from_secs(1);

/// The node's services as they were a moment ago.
#[derive(Default)]
pub(crate) struct NodeServices {
    read: Option<(Instant, Services)>,
    /// Whether IPVS connections cannot be read where a packet meets them.
    ipvs_by_table: bool,
}

impl NodeServices {
    pub(crate) fn new(ipvs_by_table: bool) -> Self {
        Self { read: None, ipvs_by_table }
    }

    /// Whether `service` still leads to `backend`.
    pub(crate) fn state(&mut self, service: SocketAddr, backend: SocketAddr) -> BackendState {
        if self.read.as_ref().is_none_or(|(at, _)| at.elapsed() > MIN_AGE) {
            self.read = Some((Instant::now(), Services::read()));
        }
        let Some((_, services)) = &self.read else { return BackendState::Unknown };
        if services.is_ipvs_service(service) {
            let listed = services.backends(service).into_iter().find(|b| b.address == backend);
            return match listed {
                // Where the packet's own connection was looked at, that is the
                // better witness.
                Some(server) if server.weight == Some(0) && self.ipvs_by_table => {
                    BackendState::Draining
                }
                Some(_) => BackendState::Listed,
                None => BackendState::Unknown,
            };
        }
        match services.is_target(Some(service), backend) {
            Answer::Yes => BackendState::Listed,
            Answer::No => BackendState::Gone,
            Answer::Unknown(_) => BackendState::Unknown,
        }
    }
}
