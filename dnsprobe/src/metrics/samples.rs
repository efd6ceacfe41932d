//! What the processes that are sampled look up: how many names a look-up takes, and
//! which names.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU8,
    sync::Arc,
};

use dnsprobe_common::{
    flow::Role,
    sample::{self, Told},
};

use super::name_counts::NameCounts;
use crate::{
    engine::{Parts, Transaction},
    findings::LookUps,
    identity::Owner,
    stats::Snapshot,
};

/// Look-ups by owner, and names.
#[derive(Debug, Default)]
pub struct Samples {
    look_ups: LookUps,
    owners: HashMap<Arc<Owner>, LookUpSums>,
    names: NameCounts,
    /// What was chosen here, see [`Samples::is_chosen`].
    told: Told,
    left_out: u64,
    left_out_here: u64,
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
    /// Takes in a transaction; `bits`: one of 2^`bits` processes is sampled at a time;
    /// `names`: whether to count what was asked for.
    pub fn answered(&mut self, transaction: &Transaction, bits: NonZeroU8, names: bool) {
        if transaction.role != Role::Client || !self.is_chosen(transaction, bits) {
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
        if !self.owners.is_empty() {
            let known: HashSet<&Arc<Owner>> = snapshot.pods.iter().map(|row| &row.owner).collect();
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
        self.left_out + self.left_out_here
    }

    /// Of what was read the programs have chosen already. Where reading is not seen, or
    /// nobody read an answer, every transaction comes by: chosen in the same way.
    fn is_chosen(&mut self, transaction: &Transaction, bits: NonZeroU8) -> bool {
        if matches!(transaction.parts, Parts::Client { read_seconds: Some(_), .. }) {
            return true;
        }
        let window = sample::window(transaction.query.sent.unix_ns());
        let tgid = transaction.query.pid.unwrap_or(0);
        if !sample::is_sampled(tgid, window, bits.get()) {
            return false;
        }
        if self.told.window != window {
            self.told = Told { window, transactions: 0 };
        }
        self.told.transactions += 1;
        let is_too_many = self.told.transactions > sample::MOST;
        self.left_out_here += u64::from(is_too_many);
        !is_too_many
    }
}

impl LookUpSums {
    /// Names per look-up: 1 where no search list costs anything.
    #[must_use]
    pub fn names_per_look_up(&self) -> f64 {
        self.names as f64 / self.look_ups.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{output::testing, time::Timestamp};

    const BITS: NonZeroU8 = NonZeroU8::MIN;

    /// The `number`th query of a process in a window of the sample.
    fn transaction(number: u64, window: u64, pid: u32, is_read: bool) -> Transaction {
        let mut transaction = testing::transaction();
        transaction.query.id = number as u16;
        transaction.query.pid = Some(pid);
        transaction.query.sent = Timestamp::from_unix_ns((window << 33) + number * 1_000_000);
        transaction.time = transaction.query.sent;
        if !is_read {
            transaction.parts =
                Parts::Client { answer_queued_seconds: Some(0.02), read_seconds: None };
        }
        transaction
    }

    fn asked(samples: &Samples) -> u64 {
        let (_, queries) = samples.names().top(0);
        queries
    }

    #[test]
    fn what_was_read_is_chosen_already_and_the_rest_in_turns() {
        let mut samples = Samples::default();
        (0..64).for_each(|it| samples.answered(&transaction(it, it, 9, true), BITS, true));
        assert_eq!(asked(&samples), 64);
        let mut samples = Samples::default();
        (0..64).for_each(|it| samples.answered(&transaction(it, it, 9, false), BITS, true));
        assert!((30..=34).contains(&asked(&samples)), "{}", asked(&samples));
    }

    #[test]
    fn a_busy_process_is_followed_only_so_far() {
        let mut samples = Samples::default();
        let turn = (0..).find(|window| sample::is_sampled(9, *window, BITS.get())).unwrap();
        for number in 0..sample::MOST + 5 {
            samples.answered(&transaction(number, turn, 9, false), BITS, true);
        }
        assert_eq!((asked(&samples), samples.left_out()), (sample::MOST, 5));
    }
}
