//! Every metric: its name, its kind, its labels and what it means. The one source of
//! what is written and of `docs/metrics.md`.

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, and starts anew with dnsprobe.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts per bucket, a sum and a count.
    Histogram,
    /// A gauge that is always 1 and says something by its labels.
    Info,
}

/// What a series is told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// `pod`, `host`, `unattributed`, or `other` beyond the limit of owners.
    OwnerKind,
    /// The pod's namespace.
    Namespace,
    /// The pod.
    Pod,
    /// The host process's unit or command.
    Unit,
    /// `client` or `server`.
    Role,
    /// The address asked.
    Server,
    /// The one that the query left for instead.
    Backend,
    /// What a server's address is.
    Kind,
    /// Its name; or the name that was asked for.
    Name,
    /// Response code.
    Rcode,
    /// A cause of `docs/causes.md`.
    Cause,
    /// A pattern of `docs/findings.md`.
    Pattern,
    /// A hook role of `docs/hooks.md`.
    Hook,
    /// The mechanism in force.
    Mechanism,
    /// How a hook stands, or a connection.
    State,
    /// What the kernel counted.
    Event,
    /// `ipv4` or `ipv6`.
    Family,
    /// What came of it: `applied` or `attached`, else `refused`.
    Result,
    /// One of dnsprobe's kernel programs.
    Program,
    /// One of their tables.
    Table,
    /// What may be left out: `lines`, `names` or `servers`.
    Detail,
    /// dnsprobe's version.
    Version,
    /// Upper bound of a bucket.
    Le,
}

impl Label {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OwnerKind => "owner_kind",
            Self::Namespace => "namespace",
            Self::Pod => "pod",
            Self::Unit => "unit",
            Self::Role => "role",
            Self::Server => "server",
            Self::Backend => "backend",
            Self::Kind => "kind",
            Self::Name => "name",
            Self::Rcode => "rcode",
            Self::Cause => "cause",
            Self::Pattern => "pattern",
            Self::Hook => "hook",
            Self::Mechanism => "mechanism",
            Self::State => "state",
            Self::Event => "event",
            Self::Family => "family",
            Self::Result => "result",
            Self::Program => "program",
            Self::Table => "table",
            Self::Detail => "detail",
            Self::Version => "version",
            Self::Le => "le",
        }
    }
}

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Queries.
    Queries,
    /// Answers by response code.
    Answers,
    /// Lost queries by cause.
    LostQueries,
    /// Near misses by cause.
    NearMisses,
    /// Queries not followed to their end.
    NotFollowed,
    /// Queries in flight.
    InFlight,
    /// How long answers took.
    Latency,
    /// How long packets waited to be read.
    ReadDelay,
    /// Queries by the server asked.
    ServerQueries,
    /// Answered ones.
    ServerAnswers,
    /// Lost ones.
    ServerLostQueries,
    /// Who a server is.
    ServerInfo,
    /// Queries by the backend that they left for.
    BackendQueries,
    /// Weight of an IPVS real server.
    IpvsWeight,
    /// Its connections.
    IpvsConnections,
    /// When queries are lost.
    LossPattern,
    /// Look-ups of sampled processes.
    SampledLookUps,
    /// Names that those tried.
    SampledNames,
    /// Queries for these.
    SampledQueries,
    /// Owners beyond the limit.
    OwnersOverLimit,
    /// Entries of conntrack.
    ConntrackEntries,
    /// How many there may be.
    ConntrackEntriesLimit,
    /// What conntrack counted.
    ConntrackEvents,
    /// What the backlog dropped.
    BacklogDrops,
    /// How often softirq work ran out of time.
    BacklogSqueezes,
    /// What UDP counted.
    UdpErrors,
    /// How the hooks stand.
    HookState,
    /// Whether everything was seen.
    Complete,
    /// Events lost to a full ring buffer.
    LostEvents,
    /// Program runs the kernel skipped.
    MissedRuns,
    /// Queries that found the table of queries in flight full.
    InFlightFull,
    /// Transactions that found the table of aggregates full.
    StatsFull,
    /// TCP messages that could not be read.
    TcpUnread,
    /// How full a table is.
    TableEntries,
    /// How full it may be.
    TableLimit,
    /// Verdicts that were not printed.
    VerdictsNotPrinted,
    /// Lost queries by name.
    TopLostNames,
    /// Sampled queries by name.
    TopSampledNames,
    /// Transactions that were too many for the sample.
    SamplesLeftOut,
    /// How often hooks were planned.
    Plans,
    /// How often each kernel program ran.
    ProgramRuns,
    /// How long.
    ProgramTime,
    /// What is left out.
    Shed,
    /// How often more was left out.
    Sheddings,
    /// Share of a processor that is used.
    CpuUse,
    /// Share that may be.
    CpuLimit,
    /// How often a collector was sent to.
    OtlpPushes,
    /// Verdicts that it did not get.
    OtlpVerdictsDropped,
    /// How often settings were read again.
    ConfigReloads,
    /// Whether that went well the last time.
    ConfigReloadSuccessful,
    /// When the counters were read.
    ReadingTime,
    /// The build.
    BuildInfo,
    /// Processor time of dnsprobe.
    ProcessCpu,
    /// Its memory.
    ProcessMemory,
    /// When it started.
    ProcessStart,
}

use Label::{
    Backend, Cause, Detail, Event, Family as Ip, Hook, Mechanism, Name, Namespace, OwnerKind, Pod,
    Program, Rcode, Result as Outcome, Role, Server, State, Unit, Version,
};

const OWNER: &[Label] = &[OwnerKind, Namespace, Pod, Unit, Role];

impl Family {
    /// Every metric, in the order they are written.
    pub const ALL: [Self; 55] = [
        Self::Queries,
        Self::Answers,
        Self::LostQueries,
        Self::NearMisses,
        Self::NotFollowed,
        Self::InFlight,
        Self::Latency,
        Self::ReadDelay,
        Self::ServerQueries,
        Self::ServerAnswers,
        Self::ServerLostQueries,
        Self::ServerInfo,
        Self::BackendQueries,
        Self::IpvsWeight,
        Self::IpvsConnections,
        Self::LossPattern,
        Self::SampledLookUps,
        Self::SampledNames,
        Self::SampledQueries,
        Self::OwnersOverLimit,
        Self::ConntrackEntries,
        Self::ConntrackEntriesLimit,
        Self::ConntrackEvents,
        Self::BacklogDrops,
        Self::BacklogSqueezes,
        Self::UdpErrors,
        Self::HookState,
        Self::Complete,
        Self::LostEvents,
        Self::MissedRuns,
        Self::InFlightFull,
        Self::StatsFull,
        Self::TcpUnread,
        Self::TableEntries,
        Self::TableLimit,
        Self::VerdictsNotPrinted,
        Self::TopLostNames,
        Self::TopSampledNames,
        Self::SamplesLeftOut,
        Self::Plans,
        Self::ProgramRuns,
        Self::ProgramTime,
        Self::Shed,
        Self::Sheddings,
        Self::CpuUse,
        Self::CpuLimit,
        Self::OtlpPushes,
        Self::OtlpVerdictsDropped,
        Self::ConfigReloads,
        Self::ConfigReloadSuccessful,
        Self::ReadingTime,
        Self::BuildInfo,
        Self::ProcessCpu,
        Self::ProcessMemory,
        Self::ProcessStart,
    ];

    /// Its name, without what the samples of its kind add (`_total`, `_bucket`, ...).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queries => "dnsprobe_queries",
            Self::Answers => "dnsprobe_answers",
            Self::LostQueries => "dnsprobe_lost_queries",
            Self::NearMisses => "dnsprobe_near_misses",
            Self::NotFollowed => "dnsprobe_not_followed_queries",
            Self::InFlight => "dnsprobe_in_flight_queries",
            Self::Latency => "dnsprobe_latency_seconds",
            Self::ReadDelay => "dnsprobe_read_delay_seconds",
            Self::ServerQueries => "dnsprobe_server_queries",
            Self::ServerAnswers => "dnsprobe_server_answers",
            Self::ServerLostQueries => "dnsprobe_server_lost_queries",
            Self::ServerInfo => "dnsprobe_server_info",
            Self::BackendQueries => "dnsprobe_backend_queries",
            Self::IpvsWeight => "dnsprobe_ipvs_weight",
            Self::IpvsConnections => "dnsprobe_ipvs_connections",
            Self::LossPattern => "dnsprobe_loss_pattern_info",
            Self::SampledLookUps => "dnsprobe_sampled_lookups",
            Self::SampledNames => "dnsprobe_sampled_lookup_names",
            Self::SampledQueries => "dnsprobe_sampled_lookup_queries",
            Self::OwnersOverLimit => "dnsprobe_owners_over_limit",
            Self::ConntrackEntries => "dnsprobe_conntrack_entries",
            Self::ConntrackEntriesLimit => "dnsprobe_conntrack_entries_limit",
            Self::ConntrackEvents => "dnsprobe_conntrack_events",
            Self::BacklogDrops => "dnsprobe_backlog_dropped_packets",
            Self::BacklogSqueezes => "dnsprobe_backlog_squeezes",
            Self::UdpErrors => "dnsprobe_udp_errors",
            Self::HookState => "dnsprobe_hook_info",
            Self::Complete => "dnsprobe_complete",
            Self::LostEvents => "dnsprobe_lost_events",
            Self::MissedRuns => "dnsprobe_missed_program_runs",
            Self::InFlightFull => "dnsprobe_in_flight_full",
            Self::StatsFull => "dnsprobe_aggregates_full",
            Self::TcpUnread => "dnsprobe_unread_tcp_messages",
            Self::TableEntries => "dnsprobe_table_entries",
            Self::TableLimit => "dnsprobe_table_entries_limit",
            Self::VerdictsNotPrinted => "dnsprobe_verdicts_not_printed",
            Self::TopLostNames => "dnsprobe_top_lost_names",
            Self::TopSampledNames => "dnsprobe_top_sampled_names",
            Self::SamplesLeftOut => "dnsprobe_samples_left_out",
            Self::Plans => "dnsprobe_plans",
            Self::ProgramRuns => "dnsprobe_program_runs",
            Self::ProgramTime => "dnsprobe_program_seconds",
            Self::Shed => "dnsprobe_shed",
            Self::Sheddings => "dnsprobe_sheddings",
            Self::CpuUse => "dnsprobe_cpu_use_ratio",
            Self::CpuLimit => "dnsprobe_cpu_limit_ratio",
            Self::OtlpPushes => "dnsprobe_otlp_pushes",
            Self::OtlpVerdictsDropped => "dnsprobe_otlp_verdicts_dropped",
            Self::ConfigReloads => "dnsprobe_config_reloads",
            Self::ConfigReloadSuccessful => "dnsprobe_config_last_reload_successful",
            Self::ReadingTime => "dnsprobe_reading_timestamp_seconds",
            Self::BuildInfo => "dnsprobe_build_info",
            Self::ProcessCpu => "process_cpu_seconds",
            Self::ProcessMemory => "process_resident_memory_bytes",
            Self::ProcessStart => "process_start_time_seconds",
        }
    }

    /// How it behaves.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Latency | Self::ReadDelay => Kind::Histogram,
            Self::ServerInfo | Self::LossPattern | Self::HookState | Self::BuildInfo => Kind::Info,
            Self::InFlight
            | Self::OwnersOverLimit
            | Self::ConntrackEntries
            | Self::ConntrackEntriesLimit
            | Self::Complete
            | Self::TableEntries
            | Self::TableLimit
            | Self::IpvsWeight
            | Self::IpvsConnections
            | Self::TopLostNames
            | Self::TopSampledNames
            | Self::Shed
            | Self::CpuUse
            | Self::CpuLimit
            | Self::ConfigReloadSuccessful
            | Self::ReadingTime
            | Self::ProcessMemory
            | Self::ProcessStart => Kind::Gauge,
            _ => Kind::Counter,
        }
    }

    /// What its series are told apart by.
    #[must_use]
    pub const fn labels(self) -> &'static [Label] {
        match self {
            Self::Queries
            | Self::NotFollowed
            | Self::InFlight
            | Self::Latency
            | Self::ReadDelay
            | Self::SampledLookUps
            | Self::SampledNames
            | Self::SampledQueries => OWNER,
            Self::Answers => &[OwnerKind, Namespace, Pod, Unit, Role, Rcode],
            Self::LostQueries | Self::NearMisses => &[OwnerKind, Namespace, Pod, Unit, Role, Cause],
            Self::ServerQueries | Self::ServerAnswers | Self::ServerLostQueries => {
                &[OwnerKind, Namespace, Pod, Unit, Role, Server]
            }
            Self::ServerInfo => &[Server, Label::Kind, Namespace, Name],
            Self::BackendQueries | Self::IpvsWeight => &[Server, Backend],
            Self::IpvsConnections => &[Server, Backend, State],
            Self::LossPattern => &[Cause, Label::Pattern],
            Self::TopLostNames | Self::TopSampledNames => &[Name],
            Self::ConntrackEvents => &[Event],
            Self::UdpErrors => &[Ip, Event],
            Self::HookState => &[Hook, State, Mechanism],
            Self::Plans | Self::OtlpPushes | Self::ConfigReloads => &[Outcome],
            Self::ProgramRuns | Self::ProgramTime => &[Program],
            Self::TableEntries | Self::TableLimit => &[Label::Table],
            Self::Shed => &[Detail],
            Self::BuildInfo => &[Version],
            _ => &[],
        }
    }

    /// What it means.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::Queries => "DNS queries sent (role client) or received (role server).",
            Self::Answers => "Answered DNS queries by response code.",
            Self::LostQueries => "Lost DNS queries by proven cause; unexplained is one of them.",
            Self::NearMisses => "Events that nearly lost a query, by cause.",
            Self::NotFollowed => {
                "Queries whose end is nobody's loss or that did not fit into a table."
            }
            Self::InFlight => "Queries neither answered nor decided yet.",
            Self::Latency => {
                "Client: query sent to answer read. Server: query queued to answer sent."
            }
            Self::ReadDelay => "Part of the latency spent in the receive queue of the socket.",
            Self::ServerQueries => "Queries by the address asked, of the servers told apart.",
            Self::ServerAnswers => "Answered queries by the address asked.",
            Self::ServerLostQueries => "Lost queries by the address asked.",
            Self::ServerInfo => {
                "Who has a server's address, as far as that is proven; to be joined by server."
            }
            Self::BackendQueries => {
                "UDP queries to a service by the backend that they left this node, or its pod, for."
            }
            Self::IpvsWeight => {
                "Weight of an IPVS real server of a UDP service; 0: it gets no new connections."
            }
            Self::IpvsConnections => {
                "Connections of an IPVS real server; those of UDP are all inactive."
            }
            Self::LossPattern => {
                "When queries were lost in the last ten minutes, against the node's load, by cause."
            }
            Self::SampledLookUps => "Look-ups of client processes that were sampled, and are over.",
            Self::SampledNames => {
                "Names that these look-ups tried: as many where no search list costs anything."
            }
            Self::SampledQueries => "Queries for these names.",
            Self::OwnersOverLimit => "Owners and roles that are summed up as owner_kind other.",
            Self::ConntrackEntries => "Entries in the connection tracking table.",
            Self::ConntrackEntriesLimit => "How many entries the table may hold.",
            Self::ConntrackEvents => {
                "What connection tracking counted, all protocols, since the kernel started."
            }
            Self::BacklogDrops => "Packets dropped at full processor backlogs.",
            Self::BacklogSqueezes => "Times that packets were left when softirq time was over.",
            Self::UdpErrors => "What the kernel counted as UDP errors, all ports.",
            Self::HookState => "How each hook stands: attached, not-needed or missing.",
            Self::Complete => "1 when everything that happened was seen, else 0.",
            Self::LostEvents => "Events lost to a full ring buffer.",
            Self::MissedRuns => "Runs of kernel programs that the kernel skipped.",
            Self::InFlightFull => "Queries not followed because their table was full.",
            Self::StatsFull => "Transactions not counted because their table was full.",
            Self::TcpUnread => "DNS messages over TCP that could not be read.",
            Self::TableEntries => {
                "Entries in the tables of the kernel programs at the last reading."
            }
            Self::TableLimit => "How many entries there may be.",
            Self::VerdictsNotPrinted => {
                "Verdicts not printed: too many a second, nobody read, or left out."
            }
            Self::TopLostNames => {
                "Lost queries since the start by name, of the names lost most (--top-names)."
            }
            Self::TopSampledNames => {
                "Queries of sampled processes by name, of the names asked most (--top-names)."
            }
            Self::SamplesLeftOut => {
                "Transactions of sampled processes that were not looked at, being too many."
            }
            Self::Plans => "Times that hooks were planned: at the start and when modules changed.",
            Self::ProgramRuns => "Runs of each kernel program, where the kernel counts them.",
            Self::ProgramTime => {
                "Processor time of each kernel program, where the kernel measures it."
            }
            Self::Shed => "1 for what is left out to stay below the limit of processor time.",
            Self::Sheddings => "Times that more was left out.",
            Self::CpuUse => "Share of one processor that dnsprobe used in the last interval.",
            Self::CpuLimit => "Share of one processor above which detail is left out.",
            Self::OtlpPushes => "Times that a collector was sent to (--otlp-endpoint).",
            Self::OtlpVerdictsDropped => {
                "Verdicts that were not sent to the collector, because too many waited."
            }
            Self::ConfigReloads => "Times that the settings were to be read again (SIGHUP).",
            Self::ConfigReloadSuccessful => {
                "0 when the settings could not be read again the last time, else 1."
            }
            Self::ReadingTime => "When the counters were read last, Unix time.",
            Self::BuildInfo => "The running dnsprobe.",
            Self::ProcessCpu => "Processor time spent by dnsprobe in user space and system calls.",
            Self::ProcessMemory => "Resident memory of dnsprobe, with its kernel tables.",
            Self::ProcessStart => "When dnsprobe started, Unix time.",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_follow_the_conventions() {
        let names: HashSet<_> = Family::ALL.iter().map(|family| family.name()).collect();
        assert_eq!(names.len(), Family::ALL.len());
        for family in Family::ALL {
            let name = family.name();
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert!(!name.ends_with("_total"), "{name}: the writer adds that");
            assert!(family.help().ends_with('.'), "{name}");
            if family.kind() == Kind::Info {
                assert!(name.ends_with("_info"), "{name}");
            }
        }
    }
}
