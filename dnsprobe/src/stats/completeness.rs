//! What could not be seen, so that silence is never taken for health.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};

use crate::identity::UnattributedReason;

/// A hook role that is not attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The role.
    pub role: String,
    /// Why no mechanism for it could be attached.
    pub reason: String,
}

/// How much of what happened was seen. Counts are since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completeness {
    /// Hook roles that are not attached.
    pub missing: Vec<Missing>,
    /// Events lost because the ring buffer was full.
    pub lost_events: u64,
    /// Queries not followed because the in-flight map was full.
    pub in_flight_full: u64,
    /// Transactions not counted because the statistics map was full.
    pub stats_full: u64,
    /// DNS messages over TCP that could not be read.
    pub tcp_unread: u64,
    /// Runs of kernel programs that the kernel skipped.
    pub missed_runs: u64,
    /// Queries that were counted but could not be attributed to anyone.
    pub unattributed_queries: u64,
    /// These, by why not.
    pub unattributed: BTreeMap<UnattributedReason, u64>,
}

impl Completeness {
    /// Whether everything was seen. An unattributed query was seen.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
            && self.lost_events == 0
            && self.in_flight_full == 0
            && self.stats_full == 0
            && self.tcp_unread == 0
            && self.missed_runs == 0
    }
}

impl Serialize for Completeness {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Completeness", 9)?;
        fields.serialize_field("complete", &self.is_complete())?;
        fields.serialize_field("missing", &self.missing)?;
        fields.serialize_field("lost_events", &self.lost_events)?;
        fields.serialize_field("in_flight_full", &self.in_flight_full)?;
        fields.serialize_field("stats_full", &self.stats_full)?;
        fields.serialize_field("tcp_unread", &self.tcp_unread)?;
        fields.serialize_field("missed_runs", &self.missed_runs)?;
        fields.serialize_field("unattributed_queries", &self.unattributed_queries)?;
        let reasons: BTreeMap<_, _> =
            self.unattributed.iter().map(|(reason, count)| (reason.as_str(), count)).collect();
        fields.serialize_field("unattributed", &reasons)?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_means_that_nothing_went_unseen() {
        let mut completeness = Completeness { unattributed_queries: 3, ..Default::default() };
        assert!(completeness.is_complete());
        completeness.missed_runs = 1;
        completeness.unattributed.insert(UnattributedReason::CgroupGone, 3);
        assert!(!completeness.is_complete());
        assert_eq!(
            serde_json::to_string(&completeness).unwrap(),
            r#"{"complete":false,"missing":[],"lost_events":0,"in_flight_full":0,"stats_full":0,"tcp_unread":0,"missed_runs":1,"unattributed_queries":3,"unattributed":{"cgroup-gone":3}}"#
        );
    }
}
