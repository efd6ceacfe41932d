//! What is taken as DNS and when it is lost: options of every command that
//! watches traffic, whether it prints, records or makes a ticket.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{NodePlaces, Sources, WatchOptions, positive_duration};
use crate::record::Limits;

/// Which queries are seen, and on which node.
#[derive(Clone, Debug, Args)]
pub(super) struct Traffic {
    /// A query without an answer for this long counts as lost.
    #[arg(long, value_parser = positive_duration, default_value = "5s", value_name = "TIME")]
    pub(super) lost_after: Duration,
    /// UDP ports taken as DNS, up to four.
    #[arg(long, value_delimiter = ',', default_value = "53", value_name = "PORT")]
    pub(super) ports: Vec<u16>,
    #[command(flatten)]
    pub(super) node: NodePlaces,
    #[command(flatten)]
    pub(super) sources: Sources,
}

impl Traffic {
    /// A watch whose only purpose is its recording.
    pub(super) fn recording(
        &self,
        file: PathBuf,
        limits: Limits,
        duration: Option<Duration>,
    ) -> WatchOptions {
        WatchOptions {
            duration,
            traffic: self.clone(),
            record: Some(file),
            record_limits: limits,
            capture: None,
            replay: None,
        }
    }
}
