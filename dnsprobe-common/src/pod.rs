//! Tells aya that these structs may be copied to and from kernel memory.

use crate::{
    config::{Config, Offsets},
    event::{Answer, Question, Recent, Sent},
    flow::{InFlight, QueryKey, Tuple},
    stats::{BackendKey, Stats, StatsKey, StatsSlot},
    tcp::TcpLayout,
};

macro_rules! pod {
    ($($name:ty),+ $(,)?) => {
        // SAFETY: repr(C), only integers, named padding, any bit pattern valid.
        $(unsafe impl aya::Pod for $name {})+
    };
}

pod!(
    Answer, BackendKey, Config, InFlight, Offsets, QueryKey, Question, Recent, Sent, Stats,
    StatsKey, StatsSlot, Tuple, TcpLayout
);
