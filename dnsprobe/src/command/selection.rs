//! Which packets `dnsprobe capture` keeps.

use std::time::Duration;

use clap::Args;

use super::filter::{QueryFilter, parse_rcode_argument};
use crate::{
    capture::{Seen, Wanted},
    engine::{Query, Transaction, Verdict},
    identity::Owner,
};

/// Which packets.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(super) struct Selection {
    /// Only transactions that were lost, and near misses.
    #[arg(long)]
    failed: bool,
    /// Only transactions whose answer took longer.
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    slower_than: Option<Duration>,
    /// Also every packet this long before such a transaction.
    #[arg(long, requires = "which", value_parser = humantime::parse_duration, value_name = "TIME")]
    before: Option<Duration>,
    /// Also every packet this long after such a transaction.
    #[arg(long, requires = "which", value_parser = humantime::parse_duration, value_name = "TIME")]
    after: Option<Duration>,
    #[command(flatten)]
    filter: QueryFilter,
    /// Only transactions whose answer has this response code (NXDOMAIN, 3, ...).
    #[arg(long, value_parser = parse_rcode_argument, value_name = "RCODE")]
    rcode: Option<u8>,
}

impl Selection {
    /// What was lost, and all packets this long before and after it.
    pub(super) fn losses_with(around: Duration) -> Self {
        Self { failed: true, before: Some(around), after: Some(around), ..Self::default() }
    }

    pub(super) fn wanted(&self) -> Wanted {
        let (before, after) = (self.before.unwrap_or_default(), self.after.unwrap_or_default());
        if !before.is_zero() || !after.is_zero() {
            Wanted::Around { before, after }
        } else if self.is_about_ends() || self.filter.is_set() {
            Wanted::Transactions
        } else {
            Wanted::All
        }
    }

    /// Whether it depends on how a transaction ends.
    pub(super) fn is_about_ends(&self) -> bool {
        self.failed || self.slower_than.is_some() || self.rcode.is_some()
    }

    pub(super) fn wants_transaction(&self, transaction: &Transaction) -> bool {
        let is_slow = |limit: Duration| transaction.latency_seconds > limit.as_secs_f64();
        self.filter.fits(&transaction.owner, &transaction.query)
            && self.rcode.is_none_or(|rcode| transaction.rcode == Some(rcode))
            && match self.slower_than {
                Some(limit) => is_slow(limit),
                None => !self.failed,
            }
    }

    pub(super) fn wants_verdict(&self, verdict: &Verdict) -> bool {
        // A lost query took longer than any limit, and has no response code.
        let which = self.failed || self.slower_than.is_none() || verdict.loss;
        which && self.rcode.is_none() && self.filter.fits(&verdict.owner, &verdict.query)
    }

    pub(super) fn wants_unfollowed(&self, owner: &Owner, query: &Query) -> bool {
        !self.is_about_ends() && self.filter.fits(owner, query)
    }

    /// Whether a packet that no transaction is known of is wanted.
    pub(super) fn wants_packet(&self, seen: &Seen) -> bool {
        let message = &seen.packet.message;
        let name = message.question.as_ref().map(|question| &question.name);
        let fits = |owner| self.filter.fits_parts(owner, seen.packet.server().ip(), name);
        !self.is_about_ends() && seen.owner.as_deref().is_some_and(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::{clash, near_miss, transaction};

    #[test]
    fn without_a_choice_everything_is_wanted() {
        let all = Selection::default();
        assert_eq!(all.wanted(), Wanted::All);
        assert!(all.wants_transaction(&transaction()) && all.wants_verdict(&clash()));
    }

    #[test]
    fn failed_are_lost_queries_and_near_misses() {
        let failed = Selection { failed: true, ..Selection::default() };
        assert_eq!(failed.wanted(), Wanted::Transactions);
        assert!(!failed.wants_transaction(&transaction()));
        assert!(failed.wants_verdict(&clash()) && failed.wants_verdict(&near_miss()));
    }

    #[test]
    fn slow_are_late_answers_and_lost_queries() {
        let slower =
            |ms| Selection { slower_than: Some(Duration::from_millis(ms)), ..Selection::default() };
        assert!(slower(20).wants_transaction(&transaction()));
        assert!(!slower(21).wants_transaction(&transaction()));
        assert!(slower(21).wants_verdict(&clash()) && !slower(21).wants_verdict(&near_miss()));
    }

    #[test]
    fn a_response_code_is_of_answers() {
        let refused = |rcode| Selection { rcode: Some(rcode), ..Selection::default() };
        assert!(refused(0).wants_transaction(&transaction()));
        assert!(
            !refused(5).wants_transaction(&transaction()) && !refused(0).wants_verdict(&clash())
        );
    }

    #[test]
    fn with_time_around_everything_then_is_wanted() {
        let before = Some(Duration::from_secs(1));
        let around = Selection { failed: true, before, ..Selection::default() };
        let after = Duration::ZERO;
        assert_eq!(around.wanted(), Wanted::Around { before: Duration::from_secs(1), after });
    }
}
