//! Owners as the recording names them.

use std::{collections::HashMap, sync::Arc};

use crate::identity::{Identify, Owner, OwnerKey, UnattributedReason};

/// Owners told before the recorder forgets them all, so that neither side grows
/// without bound.
pub(super) const MAX_OWNERS: usize = 16_384;

/// Answers as identity did when the recording was made.
#[derive(Debug)]
pub struct KnownOwners {
    owners: HashMap<OwnerKey, Arc<Owner>>,
    unknown: Arc<Owner>,
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

    /// Nobody is known any more.
    pub fn forget(&mut self) {
        self.owners.clear();
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
}
