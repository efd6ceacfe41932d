//! What the processes that are sampled look up: how many names a look-up takes, and
//! which names.

use std::{collections::HashMap, sync::Arc};

use dnsprobe_common::flow::Role;

use super::name_counts::NameCounts;
use crate::{engine::Transaction, findings::LookUps, identity::Owner, stats::Snapshot};

/// Look-ups by owner, and names.
#[derive(Debug, Default)]
pub struct Samples {
    look_ups: LookUps,
    owners: HashMap<Arc<Owner>, LookUpSums>,
    names: NameCounts,
    left_out: u64,
}

/// Sums of look-ups that are over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookUpSums {
    /// Look-ups.
    pub look_ups: u64,
    /// Names that they tried.
    pub names: u64,
    /// Queries for these.
    pub queries: u64,
}

impl Samples {
    /// Takes in a transaction; `names`: whether to count what was asked for.
    pub fn answered(&mut self, transaction: &Transaction, names: bool) {
        if transaction.role != Role::Client {
            return;
        }
        if names {
            let question = transaction.query.question.as_ref();
            self.names.count(question.map(|question| &question.name));
        }
        for over in self.look_ups.answered(transaction) {
            let sums = self.owners.entry(over.owner).or_default();
            sums.look_ups += 1;
            sums.names += over.names;
            sums.queries += over.queries;
        }
    }

    /// Takes in a reading: who is not counted any more is forgotten here, too.
    /// `left_out`: transactions that were too many.
    pub fn read(&mut self, snapshot: &Snapshot, left_out: u64) {
        self.left_out = left_out;
        if self.owners.len() > snapshot.pods.len() {
            let known: std::collections::HashSet<&Arc<Owner>> =
                snapshot.pods.iter().map(|row| &row.owner).collect();
            self.owners.retain(|owner, _| known.contains(owner));
        }
    }

    /// What an owner's look-ups add up to, if any was sampled.
    #[must_use]
    pub fn of(&self, owner: &Arc<Owner>) -> Option<&LookUpSums> {
        self.owners.get(owner)
    }

    /// What was asked for.
    #[must_use]
    pub fn names(&self) -> &NameCounts {
        &self.names
    }

    /// Transactions that were too many.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

impl LookUpSums {
    /// Names per look-up: 1 where no search list costs anything.
    #[must_use]
    pub fn names_per_look_up(&self) -> f64 {
        self.names as f64 / self.look_ups.max(1) as f64
    }
}
