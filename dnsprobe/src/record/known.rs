//! Owners and remote ends as the recording names them.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use crate::identity::{Identify, Owner, OwnerKey, Remote, RemoteAddress, UnattributedReason};

/// Owners told before the recorder forgets them all, so that neither side grows
/// without bound.
pub(super) const MAX_OWNERS: usize = 16_384;

/// Answers as identity did when the recording was made.
#[derive(Debug)]
pub struct KnownOwners {
    owners: HashMap<OwnerKey, Arc<Owner>>,
    unknown: Arc<Owner>,
    remotes: HashMap<(u32, SocketAddr), Arc<Remote>>,
    /// Keys whose owner was not in the recording: it is damaged or starts in
    /// the middle.
    unknown_count: u64,
}

impl KnownOwners {
    /// Nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            owners: HashMap::new(),
            unknown: Arc::new(Owner::Unattributed { reason: UnattributedReason::NotRecorded }),
            remotes: HashMap::new(),
            unknown_count: 0,
        }
    }

    /// From here on this is whose the key is.
    pub fn learn(&mut self, key: OwnerKey, owner: Owner) {
        // Twice the recorder's limit: parts are told anew without forgetting.
        if self.owners.len() >= 2 * MAX_OWNERS {
            self.owners.clear();
        }
        self.owners.insert(key, Arc::new(owner));
    }

    /// From here on this is who has the address, as seen from that namespace.
    pub fn learn_remote(&mut self, netns: u32, address: SocketAddr, remote: Option<Remote>) {
        if self.remotes.len() >= 2 * MAX_OWNERS {
            self.remotes.clear();
        }
        match remote {
            Some(remote) => self.remotes.insert((netns, address), Arc::new(remote)),
            None => self.remotes.remove(&(netns, address)),
        };
    }

    /// Nobody is known any more.
    pub fn forget(&mut self) {
        self.owners.clear();
        self.remotes.clear();
    }

    /// How often an owner was asked for that the recording does not name.
    #[must_use]
    pub fn unknown_count(&self) -> u64 {
        self.unknown_count
    }
}

impl Default for KnownOwners {
    fn default() -> Self {
        Self::new()
    }
}

impl Identify for KnownOwners {
    fn owner(&mut self, key: OwnerKey) -> Arc<Owner> {
        match self.owners.get(&key) {
            Some(owner) => Arc::clone(owner),
            None => {
                self.unknown_count += 1;
                Arc::clone(&self.unknown)
            }
        }
    }

    fn remote(&mut self, asked: RemoteAddress) -> Option<Arc<Remote>> {
        self.remotes.get(&(asked.netns, asked.address)).cloned()
    }
}
