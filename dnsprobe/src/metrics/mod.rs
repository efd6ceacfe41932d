//! Metrics: what there is ([`Family`]), whose series are told apart ([`Owners`]), and
//! how they are written ([`Page`]). Asks nobody anything: everything comes in as
//! [`Scrape`].

mod collect;
mod family;
mod name_counts;
mod own;
mod owners;
mod page;
mod patterns;
mod protobuf;
mod reference;
mod samples;

pub(crate) use collect::Labels;
pub use collect::{Scrape, collect};
pub use family::{Family, Kind, Label};
pub use name_counts::NameCounts;
pub use own::{OwnCost, Plans, Pushes, Reloads, Shed, Shedding};
pub(crate) use owners::Sums;
pub use owners::{Limits, Owners};
pub use page::{Format, Page};
pub use patterns::Patterns;
pub use reference::reference;
pub use samples::{LookUpSums, Samples};
