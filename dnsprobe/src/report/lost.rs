//! Examples of lost queries, and the one that is drawn.

use std::{collections::BTreeMap, fmt, net::SocketAddr, str::FromStr, sync::Arc};

use serde::{Serialize, Serializer};

use super::NoSuchQuery;
use crate::{
    dns::Question,
    engine::{Cause, Query, Retry, Verdict},
    identity::Owner,
    time::Timestamp,
};

/// Examples kept per cause.
const EXAMPLES: usize = 20;

/// What a query goes by: its DNS id, and the client's address where that is not
/// enough: `4660` or `10.244.0.11:40000/4660`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryId {
    client: Option<SocketAddr>,
    id: u16,
}

impl QueryId {
    /// The exact one of a query.
    #[must_use]
    pub fn of(query: &Query) -> Self {
        Self { client: Some(query.client), id: query.id }
    }

    fn fits(self, query: &Query) -> bool {
        self.id == query.id && self.client.is_none_or(|client| client == query.client)
    }
}

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.client {
            Some(client) => write!(f, "{client}/{}", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

impl Serialize for QueryId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for QueryId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (client, id) = match text.rsplit_once('/') {
            Some((client, id)) => (Some(client.parse().ok()), id),
            None => (None, text),
        };
        match (client, id.parse()) {
            (None, Ok(id)) => Ok(Self { client: None, id }),
            (Some(Some(client)), Ok(id)) => Ok(Self { client: Some(client), id }),
            _ => Err("use the query's DNS id, or ADDRESS:PORT/ID".to_owned()),
        }
    }
}

/// A lost query of the list.
#[derive(Clone, Debug, Serialize)]
pub struct LostQuery {
    /// For `--query`.
    pub id: QueryId,
    /// When it was sent.
    pub sent: Timestamp,
    /// Whose it was.
    pub owner: Arc<Owner>,
    /// Name and type; `None` when the question was not captured.
    #[serde(flatten, serialize_with = "Question::serialize_or_null")]
    pub question: Option<Question>,
    /// Why it was lost.
    pub cause: Cause,
    /// From its sending to the answer of the query that repeated it; `None` when
    /// none was seen.
    pub answered_after_seconds: Option<f64>,
}

/// Lost queries as they come.
pub(super) struct Losses {
    asked_for: Option<QueryId>,
    /// The one asked for.
    chosen: Option<Verdict>,
    kept: BTreeMap<Cause, Vec<LostQuery>>,
    /// The first of each cause, whole.
    first: BTreeMap<Cause, Verdict>,
    left_out: u64,
}

impl Losses {
    pub(super) fn new(asked_for: Option<QueryId>) -> Self {
        Self { asked_for, chosen: None, kept: BTreeMap::new(), first: BTreeMap::new(), left_out: 0 }
    }

    pub(super) fn add(&mut self, verdict: &Verdict) {
        let Verdict { cause, query, owner, .. } = verdict;
        let chosen = self.asked_for.is_some_and(|id| id.fits(query)) && self.chosen.is_none();
        if chosen {
            self.chosen = Some(verdict.clone());
        }
        self.first.entry(*cause).or_insert_with(|| verdict.clone());
        let kept = self.kept.entry(*cause).or_default();
        if kept.len() < EXAMPLES || chosen {
            kept.push(LostQuery {
                id: QueryId::of(query),
                sent: query.sent,
                owner: Arc::clone(owner),
                question: query.question.clone(),
                cause: *cause,
                answered_after_seconds: None,
            });
        } else {
            self.left_out += 1;
        }
    }

    pub(super) fn answered_later(&mut self, retry: &Retry) {
        let lost = &retry.lost;
        let kept = self.kept.get_mut(&lost.cause).into_iter().flatten();
        kept.filter(|row| row.id.fits(&lost.query) && row.sent == lost.query.sent)
            .for_each(|row| row.answered_after_seconds = Some(retry.lookup_seconds));
    }

    /// The list, how many are not in it, and the one to draw: the one asked for,
    /// else the first of the costliest cause.
    pub(super) fn finish(
        mut self,
        costliest: Option<Cause>,
    ) -> Result<(Vec<LostQuery>, u64, Option<Verdict>), NoSuchQuery> {
        let shown = match self.asked_for {
            Some(id) => Some(self.chosen.ok_or(NoSuchQuery(id))?),
            None => costliest
                .and_then(|cause| self.first.remove(&cause))
                .or_else(|| self.first.pop_first().map(|(_, verdict)| verdict)),
        };
        let mut list: Vec<LostQuery> = self.kept.into_values().flatten().collect();
        list.sort_by_key(|row| row.sent);
        Ok((list, self.left_out, shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::LostQuery as Lost, output::testing::clash};

    fn lost(cause: Cause, id: u16) -> Verdict {
        let mut verdict = Verdict { cause, ..clash() };
        verdict.query.id = id;
        verdict
    }

    #[test]
    fn a_query_goes_by_its_id_with_or_without_its_client() {
        for text in ["7", "10.244.0.11:40000/7", "[fd00::1]:5000/7"] {
            assert_eq!(text.parse::<QueryId>().unwrap().to_string(), text);
        }
        for wrong in ["", "x", "70000", "10.0.0.1/7", "/7", "10.0.0.1:53/"] {
            assert!(wrong.parse::<QueryId>().is_err(), "{wrong}");
        }
        let query = lost(Cause::PolicyDrop, 7).query;
        assert!("7".parse::<QueryId>().unwrap().fits(&query));
        assert!(!"10.244.0.12:40000/7".parse::<QueryId>().unwrap().fits(&query));
    }

    #[test]
    fn the_costliest_cause_is_drawn_unless_another_query_is_asked_for() {
        let losses = |asked_for: Option<&str>| {
            let mut losses = Losses::new(asked_for.map(|id| id.parse().unwrap()));
            losses.add(&lost(Cause::NoListener, 1));
            losses.add(&lost(Cause::PolicyDrop, 2));
            losses.add(&lost(Cause::PolicyDrop, 3));
            losses
        };
        let shown =
            |losses: Losses, costliest| losses.finish(costliest).unwrap().2.unwrap().query.id;
        assert_eq!(shown(losses(None), Some(Cause::PolicyDrop)), 2);
        assert_eq!(shown(losses(Some("3")), Some(Cause::PolicyDrop)), 3);
        assert_eq!(shown(losses(None), Some(Cause::NoListener)), 1);
        // Without a finding, any.
        assert_eq!(shown(losses(None), None), 2);
        let missing = losses(Some("4")).finish(None).unwrap_err().to_string();
        assert!(missing.starts_with("no lost query has the id 4;"), "{missing}");
        assert!(Losses::new(None).finish(None).unwrap().2.is_none());
    }

    #[test]
    fn examples_are_few_and_the_rest_is_counted() {
        let mut losses = Losses::new(Some("99".parse().unwrap()));
        for id in 0..100 {
            losses.add(&lost(Cause::PolicyDrop, id));
        }
        let verdict = lost(Cause::PolicyDrop, 5);
        losses.answered_later(&Retry {
            time: verdict.time,
            owner: Arc::clone(&verdict.owner),
            query: verdict.query.clone(),
            lost: Lost { cause: verdict.cause, query: verdict.query },
            same_socket: false,
            lookup_seconds: 5.1,
        });
        let (list, left_out, shown) = losses.finish(None).unwrap();
        assert_eq!((list.len(), left_out, shown.unwrap().query.id), (EXAMPLES + 1, 79, 99));
        assert_eq!(list[5].answered_after_seconds, Some(5.1));
        assert_eq!(list[6].answered_after_seconds, None);
    }
}
