//! Look-ups alone, for who wants no findings: how many names each of them tried.

use std::sync::Arc;

use super::{
    join::Joined,
    search::{LookUp, Search},
};
use crate::{engine::Transaction, identity::Owner};

/// Puts look-ups together from their transactions.
#[derive(Debug, Default)]
pub struct LookUps {
    search: Search,
}

/// A look-up that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookedUp {
    /// Whose.
    pub owner: Arc<Owner>,
    /// Names that were tried, one after the other: 1 where no search list cost anything.
    pub names: u64,
    /// Queries for them; a name is often asked for by two, A and AAAA.
    pub queries: u64,
}

impl LookUps {
    /// Takes in a client's answered query, in about the order of time; which look-ups
    /// are over by then.
    pub fn answered(&mut self, transaction: &Transaction) -> Vec<LookedUp> {
        let mut done = Vec::new();
        let alone = Joined { client: transaction, server: None, upstream: Vec::new() };
        self.search.add(&alone, &mut done);
        self.search.close(transaction.time, &mut done);
        done.iter().map(LookedUp::of).collect()
    }
}

impl LookedUp {
    fn of(look_up: &LookUp) -> Self {
        Self {
            owner: Arc::clone(&look_up.owner),
            names: look_up.candidates.len() as u64,
            queries: look_up.queries,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{MS, SECOND, client};

    const NXDOMAIN: u8 = 3;

    #[test]
    fn a_look_up_is_told_when_it_is_over_with_all_names_that_it_tried() {
        let mut look_ups = LookUps::default();
        let mut ask = |sent_ns, name, id, rcode| {
            look_ups.answered(&client(sent_ns, name, id).with_rcode(rcode))
        };
        assert_eq!(ask(0, "www.example.com.svc.cluster.local.", 1, NXDOMAIN), []);
        assert_eq!(ask(5 * MS, "www.example.com.cluster.local.", 2, NXDOMAIN), []);
        assert_eq!(ask(10 * MS, "www.example.com.", 3, 0), []);
        let over = ask(60 * SECOND, "cart.shop.svc.cluster.local.", 4, 0);
        let numbers: Vec<_> = over.iter().map(|it| (it.names, it.queries)).collect();
        assert_eq!(numbers, [(3, 3)]);
        let next = ask(120 * SECOND, "cart.shop.svc.cluster.local.", 5, 0);
        assert_eq!(next.iter().map(|it| it.names).collect::<Vec<_>>(), [1]);
    }
}
