//! How full the programs' tables are.

use dnsprobe_common::{
    slots::{GROUPS, WAYS},
    stats::{AGGREGATES, MOST_BACKENDS},
};

/// A table that the programs fill and user space empties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Queries in flight; a new one that finds its four slots taken is not followed, so
    /// some are refused before the table is full.
    InFlight,
    /// Aggregates: pairs of an owner and a server, in each role.
    Aggregates,
    /// Backends of services.
    Backends,
}

/// Entries in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Which.
    pub table: Table,
    /// How many there are.
    pub entries: usize,
}

impl Table {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InFlight => "in-flight",
            Self::Aggregates => "aggregates",
            Self::Backends => "backends",
        }
    }

    /// How many entries there may be.
    #[must_use]
    pub const fn limit(self) -> usize {
        match self {
            Self::InFlight => GROUPS as usize * WAYS,
            Self::Aggregates => AGGREGATES as usize,
            Self::Backends => MOST_BACKENDS as usize,
        }
    }
}
