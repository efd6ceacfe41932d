//! What dnsprobe says of itself.

use super::{
    Scrape,
    family::{Family, Label},
    name_counts::NameCounts,
    page::Page,
};
use crate::kernel::{Fill, RoleState};

/// How often somebody asked for the settings to be read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    /// They were.
    pub applied: u64,
    /// They were broken, and stayed as they were.
    pub refused: u64,
    /// The last time was one of these.
    pub last_refused: bool,
}

impl Reloads {
    /// One more.
    pub fn count(&mut self, applied: bool) {
        self.applied += u64::from(applied);
        self.refused += u64::from(!applied);
        self.last_refused = !applied;
    }
}

/// What a process costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OwnCost {
    /// Processor time since it started, seconds.
    pub cpu_seconds: f64,
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// When it started, Unix time, seconds.
    pub start_seconds: f64,
}

/// How often hooks were planned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plans {
    /// And attached: once at the start, and anew since.
    pub attached: u64,
    /// And not attached: they stayed as they were.
    pub refused: u64,
}

/// How often what is published was sent to a collector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushes {
    /// And taken.
    pub sent: u64,
    /// And not.
    pub failed: u64,
    /// Verdicts that were not sent, because too many waited.
    pub verdicts_dropped: u64,
}

/// Something that costs, and that counting goes on without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shed {
    /// Lost queries as lines on standard output.
    Lines,
    /// What queries ask for, so that a lost one has its name, and the sample.
    Names,
    /// Metrics that tell an owner's servers apart.
    Servers,
}

impl Shed {
    /// All of it, in the order in which it is left out.
    pub const ALL: [Self; 3] = [Self::Lines, Self::Names, Self::Servers];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Names => "names",
            Self::Servers => "servers",
        }
    }
}

/// What is left out to keep below the limit of processor time.
#[derive(Clone, Debug, Default)]
pub struct Shedding {
    /// What.
    pub shed: Vec<Shed>,
    /// Share of one processor at the last measurement.
    pub share: f64,
    /// The limit; none: no limit.
    pub limit: Option<f64>,
    /// How often more was left out.
    pub times: u64,
}

/// Adds the metrics of dnsprobe itself.
pub(super) fn add(page: &mut Page, scrape: &Scrape<'_>) {
    for hook in scrape.hooks {
        let (state, mechanism) = match &hook.state {
            RoleState::Attached { mechanism, .. } => ("attached", mechanism.as_str()),
            RoleState::NotNeeded { .. } => ("not-needed", ""),
            RoleState::Missing { .. } => ("missing", ""),
        };
        let labels = [
            (Label::Hook, hook.role.as_str()),
            (Label::State, state),
            (Label::Mechanism, mechanism),
        ];
        page.add(Family::HookState, &labels, 1.0);
    }
    let seen = &scrape.snapshot.completeness;
    let time = scrape.snapshot.time.unix_ns() as f64 / 1e9;
    let own = &scrape.own;
    for (family, value) in [
        (Family::Complete, f64::from(u8::from(seen.is_complete()))),
        (Family::LostEvents, seen.lost_events as f64),
        (Family::MissedRuns, seen.missed_runs as f64),
        (Family::InFlightFull, seen.in_flight_full as f64),
        (Family::StatsFull, seen.stats_full as f64),
        (Family::TcpUnread, seen.tcp_unread as f64),
        (Family::VerdictsNotPrinted, scrape.verdicts_not_printed as f64),
        (Family::ReadingTime, time),
    ] {
        page.add(family, &[], value);
    }
    for (family, value) in [
        (Family::TableEntries, (|fill| fill.entries) as fn(&Fill) -> usize),
        (Family::TableLimit, |fill| fill.table.limit()),
    ] {
        for fill in scrape.tables {
            page.add(family, &[(Label::Table, fill.table.as_str())], value(fill) as f64);
        }
    }
    add_names(page, Family::TopLostNames, scrape.lost_names, scrape.top_names);
    if let Some(samples) = scrape.samples {
        add_names(page, Family::TopSampledNames, samples.names(), scrape.top_names);
        page.add(Family::SamplesLeftOut, &[], samples.left_out() as f64);
    }
    let plans = &scrape.plans;
    for (result, count) in [("attached", plans.attached), ("refused", plans.refused)] {
        page.add(Family::Plans, &[(Label::Result, result)], count as f64);
    }
    for cost in scrape.programs {
        page.add(Family::ProgramRuns, &[(Label::Program, &cost.program)], cost.runs as f64);
    }
    for cost in scrape.programs {
        let seconds = cost.time_ns as f64 / 1e9;
        page.add(Family::ProgramTime, &[(Label::Program, &cost.program)], seconds);
    }
    let shedding = scrape.shedding;
    for shed in Shed::ALL {
        let is_shed = f64::from(u8::from(shedding.shed.contains(&shed)));
        page.add(Family::Shed, &[(Label::Detail, shed.as_str())], is_shed);
    }
    page.add(Family::Sheddings, &[], shedding.times as f64);
    page.add(Family::CpuUse, &[], shedding.share);
    if let Some(limit) = shedding.limit {
        page.add(Family::CpuLimit, &[], limit);
    }
    if let Some(pushes) = scrape.pushes {
        for (result, count) in [("sent", pushes.sent), ("failed", pushes.failed)] {
            page.add(Family::OtlpPushes, &[(Label::Result, result)], count as f64);
        }
        page.add(Family::OtlpVerdictsDropped, &[], pushes.verdicts_dropped as f64);
    }
    let reloads = &scrape.reloads;
    for (result, count) in [("applied", reloads.applied), ("refused", reloads.refused)] {
        page.add(Family::ConfigReloads, &[(Label::Result, result)], count as f64);
    }
    let holds = f64::from(u8::from(!reloads.last_refused));
    page.add(Family::ConfigReloadSuccessful, &[], holds);
    page.add(Family::BuildInfo, &[(Label::Version, env!("CARGO_PKG_VERSION"))], 1.0);
    page.add(Family::ProcessCpu, &[], own.cpu_seconds);
    page.add(Family::ProcessMemory, &[], own.resident_bytes as f64);
    page.add(Family::ProcessStart, &[], own.start_seconds);
}

/// The names that come most, where names are to be told.
fn add_names(page: &mut Page, family: Family, names: &NameCounts, told: usize) {
    if told == 0 {
        return;
    }
    let (top, others) = names.top(told);
    for (name, count) in top {
        page.add(family, &[(Label::Name, &name.to_string())], count as f64);
    }
    // Every name ends in a dot, so this is none.
    page.add(family, &[(Label::Name, "other")], others as f64);
}
