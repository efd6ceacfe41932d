//! A running set of hooks and their data.

use std::{
    collections::HashMap,
    io,
    num::NonZeroU8,
    os::fd::{AsFd, AsRawFd},
    time::{Duration, SystemTime},
};

use aya::{
    Ebpf,
    maps::{Array, HashMap as BpfHashMap, MapData, RingBuf},
};
use dnsprobe_common::{
    capture::LONG,
    cgroup::NewCgroup,
    config::{Config, MAX_PORTS},
    event::Sent,
    flow::{InFlight, QueryKey, Role as End, Transport, state},
    stats::Health,
};
use tokio::io::unix::AsyncFd;

use super::{
    at_server::{self, SentAgain},
    attach::{self, Conditions},
    btf::Btf,
    capture,
    counters::Counters,
    decode,
    devices::Devices,
    dropped::DropReasons,
    fill::{Fill, Table},
    ipvs::IpvsState,
    layout::Layout,
    loading::{self, Attached, state_of},
    maps::Maps,
    modules::Modules,
    node_services::NodeServices,
    object::{Object, Windows},
    plan::{AGAIN, Mechanism, Role, RoleReport, RoleState},
    preemption,
    program_info::{ProgramCost, ProgramInfo},
    program_log::ProgramLog,
    recent::{self, RecentQueries},
    symbols::Symbols,
    tracing::Loaded,
};
use crate::{
    capture::Packet,
    engine::{FactKind, Observation, QuerySeen, Unanswered},
    stats::{AggregateChanges, BackendQueries},
    time::Clock,
};

/// From a device to a socket, or to being dropped, is one run of the network
/// stack; a tenth of a second is far beyond it.
const ARRIVED_NS: u64 = 100_000_000;

/// The most that can be captured of a packet, bytes.
pub const MAX_CAPTURE_BYTES: u32 = LONG as u32;

/// How a session is to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// UDP ports taken as DNS; at most four.
    pub ports: Vec<u16>,
    /// Report every finished transaction, not only failures.
    pub trace: bool,
    /// Keep the question of every query, so that a lost one has its name.
    pub questions: bool,
    /// Report finished transactions of one process of each 2^this at a time, all that
    /// it makes meanwhile; `None`: of nobody, unless `trace` reports them all. At most
    /// [`dnsprobe_common::sample::MAX_BITS`].
    pub sample_bits: Option<NonZeroU8>,
    /// Bytes to capture of each packet, at most [`MAX_CAPTURE_BYTES`]; `None`: no
    /// packets.
    pub capture: Option<u32>,
    /// Id of the cgroup whose processes are told apart by their command; 0:
    /// none.
    pub root_cgroup: u64,
}

/// Why a session could not start.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The kernel's types cannot be read.
    #[error("this kernel has no usable type information: {0}")]
    Btf(String),
    /// A field that nothing works without is missing.
    #[error("this kernel's layout is unknown: {0}")]
    Layout(String),
    /// The kernel refused the maps.
    #[error("cannot load the kernel programs")]
    Load(#[from] aya::EbpfError),
    /// A map could not be used.
    #[error("cannot use a map of the kernel programs")]
    Map(#[from] aya::maps::MapError),
    /// A map could not be mapped into memory.
    #[error("cannot map {name} of the kernel programs into memory")]
    Table {
        /// Which.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The built-in object lacks something: a broken build.
    #[error("the built-in kernel programs lack {0}")]
    Object(&'static str),
    /// Neither sending nor reading can be seen.
    #[error("cannot see DNS traffic on this kernel: {0}")]
    Blind(String),
    /// A bad port list.
    #[error("--ports takes between one and {MAX_PORTS} ports, none of them 0")]
    Ports,
    /// The event loop refused the ring buffer.
    #[error("cannot wait for events")]
    Wait(#[from] io::Error),
}

impl SessionError {
    /// What to do about it, where there is something to do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Btf(_) => Some(
                "dnsprobe needs CONFIG_DEBUG_INFO_BTF=y, which distributions have set since about 2020",
            ),
            Self::Load(_) | Self::Map(_) => Some(
                "run as root, or with CAP_BPF and CAP_PERFMON; before 5.11 also CAP_SYS_RESOURCE",
            ),
            Self::Object(_) => Some("rebuild with `cargo xtask build`"),
            Self::Blind(_) => Some("`dnsprobe doctor` lists every hook and why it is missing"),
            Self::Layout(_) | Self::Ports | Self::Wait(_) | Self::Table { .. } => None,
        }
    }
}

/// Everything the counters said at one moment.
#[derive(Default)]
pub struct Reading {
    /// Aggregates per pod, server and role.
    pub aggregates: AggregateChanges,
    /// Events lost to a full ring buffer.
    pub events_lost: u64,
    /// Queries not followed because the in-flight map was full.
    pub in_flight_full: u64,
    /// Transactions not counted because the stats map was full.
    pub stats_full: u64,
    /// DNS messages over TCP that could not be read.
    pub tcp_unread: u64,
    /// Program runs the kernel skipped, and function returns whose entry was
    /// missed.
    pub missed_runs: u64,
    /// Where queries to services left for.
    pub backends: Vec<BackendQueries>,
    /// Queries that are missing there, because there were too many backends.
    pub backends_full: u64,
    /// Transactions of sampled processes that were not reported, because too many were.
    pub samples_left_out: u64,
    /// How full the tables were: that of queries in flight at the last sweep.
    pub tables: Vec<Fill>,
    /// What each program cost; empty unless the kernel keeps such statistics
    /// (`kernel.bpf_stats_enabled`), which cost time themselves and are never switched
    /// on here.
    pub programs: Vec<ProgramCost>,
}

/// Attached programs and their maps. Dropping it detaches everything.
pub struct Session {
    ebpf: Ebpf,
    tracing: HashMap<String, Loaded>,
    maps: AsyncFd<Maps>,
    cgroups: AsyncFd<RingBuf<MapData>>,
    packets: AsyncFd<RingBuf<MapData>>,
    switch: Array<MapData, u32>,
    roles: Vec<RoleReport>,
    reasons: DropReasons,
    qdisc_reasons: DropReasons,
    symbols: Symbols,
    devices: Devices,
    ipvs: IpvsState,
    sent_again: SentAgain,
    services: NodeServices,
    /// Queries in flight at the last sweep.
    in_flight: usize,
    /// Whether the count of packets dropped for a long chain is to be read.
    chain_count_due: bool,
    clock: Clock,
    config: Config,
    log: ProgramLog,
}

impl Session {
    /// Reads the kernel's layout, loads and attaches what is possible. Follows no
    /// query until it is told to.
    ///
    /// # Errors
    /// When the programs cannot be loaded. A missing hook is no error; see
    /// [`Session::sees_traffic`].
    pub fn start(options: &Options) -> Result<Self, SessionError> {
        let vmlinux = Btf::vmlinux().map_err(|error| SessionError::Btf(error.to_string()))?;
        let modules = Modules::read(&vmlinux);
        let layout = Layout::of(&vmlinux, &modules);
        if let Err(error) = &layout.basic {
            return Err(SessionError::Layout(error.to_string()));
        }
        let named = |kind, prefix| DropReasons::new(vmlinux.enumerators(kind), prefix);
        let reasons = named("skb_drop_reason", "SKB_DROP_REASON_");
        let qdisc_reasons = named("qdisc_drop_reason", "QDISC_DROP_");
        let qdisc_drops = vmlinux.tracepoint_arguments("qdisc_drop").is_some();
        let mut symbols = Symbols::open();
        let targets = attach::targets(&vmlinux, &modules);
        drop(modules);
        let mut config = loading::config(options, &vmlinux, &layout, &reasons, &mut symbols)?;
        let windows = Windows::of(&vmlinux);
        config.window_type = windows.map_or(0, |windows| windows.as_type);
        let object = Object::fitted(windows, &layout.offsets)?;
        drop(vmlinux);
        let conditions = Conditions {
            drop_reasons: config.drop_has_reason != 0,
            qdisc_drops,
            conntrack: layout.conntrack.as_ref().map(drop).map_err(ToString::to_string),
            ipvs: layout.ipvs.clone(),
            preemptible: preemption::is_possible(),
            tcp: layout.tcp.as_ref().map(drop).map_err(ToString::to_string),
            capture: options
                .capture
                .map(|_| layout.capture.as_ref().map(drop).map_err(ToString::to_string)),
        };
        let mut attached = loading::attach(&object, &config, &layout, &targets, &conditions)?;
        // What can be attached changes what the other programs do, so where
        // the best plan is not possible they are loaded anew.
        if loading::adapt(&mut config, &attached.roles) {
            drop(attached);
            attached = loading::attach(&object, &config, &layout, &targets, &conditions)?;
        }
        drop(object);
        let Attached { mut ebpf, tracing, roles } = attached;
        let ipvs_by_table = roles
            .iter()
            .any(|r| r.role == Role::IpvsConnection && r.mechanism() == Some(Mechanism::ProcFile));
        let cgroups = Maps::cgroups(&mut ebpf)?;
        let packets = Maps::packets(&mut ebpf)?;
        let maps = Maps::take(&mut ebpf)?;
        let switch = Maps::switch(&mut ebpf)?;
        let log = ProgramLog::of(&mut ebpf);
        // SAFETY: `Maps` owns the ring buffer, returns the same descriptor for
        // as long as it lives, and nothing else registers it.
        let maps = unsafe { AsyncFd::register(maps) }
            .map_err(|error| SessionError::Wait(error.into_parts().1))?;
        // SAFETY: as above, with the ring buffer itself.
        let cgroups = unsafe { AsyncFd::register(cgroups) }
            .map_err(|error| SessionError::Wait(error.into_parts().1))?;
        // SAFETY: as above.
        let packets = unsafe { AsyncFd::register(packets) }
            .map_err(|error| SessionError::Wait(error.into_parts().1))?;
        let devices = Devices::new();
        let clock = Clock::new(SystemTime::now(), now_ns());
        let ipvs = IpvsState::new(ipvs_by_table);
        give_back_memory();
        Ok(Self {
            ebpf,
            tracing,
            maps,
            cgroups,
            packets,
            switch,
            roles,
            reasons,
            qdisc_reasons,
            symbols,
            devices,
            ipvs,
            sent_again: SentAgain::default(),
            services: NodeServices::new(ipvs_by_table),
            in_flight: 0,
            chain_count_due: true,
            clock,
            config,
            log,
        })
    }

    /// New queries are followed from now on, or not any more; those in flight are
    /// followed to their end.
    ///
    /// # Errors
    /// When the kernel refuses to write the programs' variable.
    pub fn follow(&mut self, new_queries: bool) -> Result<(), SessionError> {
        Ok(self.switch.set(0, u32::from(new_queries), 0)?)
    }

    /// Every role and how it stands.
    #[must_use]
    pub fn roles(&self) -> &[RoleReport] {
        &self.roles
    }

    /// Turns kernel times into wall-clock times.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Whether the hooks in force see DNS traffic at all.
    ///
    /// # Errors
    /// [`SessionError::Blind`] when sending or arrival cannot be seen.
    pub fn sees_traffic(&self) -> Result<(), SessionError> {
        for role in [Role::Send, Role::Queue] {
            if let Some(RoleState::Missing { reason }) = state_of(&self.roles, role) {
                return Err(SessionError::Blind(format!("{}: {reason}", role.without())));
            }
        }
        Ok(())
    }

    /// How many roles are attached.
    #[must_use]
    pub fn attached(&self) -> usize {
        self.roles.iter().filter(|r| r.mechanism().is_some()).count()
    }

    /// Whether queries are only seen when a device takes them, so that one
    /// dropped before was never counted as sent.
    #[must_use]
    pub fn sees_sending_late(&self) -> bool {
        self.roles
            .iter()
            .any(|r| r.role == Role::Send && r.mechanism() == Some(Mechanism::BtfTracepoint))
    }

    /// Waits until there are events, packets or new cgroups.
    ///
    /// # Errors
    /// When the event loop fails.
    pub async fn wait(&self) -> io::Result<()> {
        tokio::select! {
            ready = self.maps.readable() => ready?.clear_ready(),
            ready = self.cgroups.readable() => ready?.clear_ready(),
            ready = self.packets.readable() => ready?.clear_ready(),
        }
        Ok(())
    }

    /// Hands over every cgroup that was made since the last time: its id and its
    /// path below the root of the unified hierarchy. To be called before events
    /// are drained, whose owners they are.
    pub fn new_cgroups(&mut self, sink: &mut dyn FnMut(u64, &str)) {
        let cgroups = self.cgroups.get_mut();
        while let Some(record) = cgroups.next() {
            if let Some((id, path)) = NewCgroup::read(&record) {
                sink(id, &String::from_utf8_lossy(path));
            }
        }
    }

    /// Hands over every event there is, oldest first.
    pub fn drain(&mut self, sink: &mut dyn FnMut(Observation)) {
        self.log.flush();
        let Maps { events, sent, flows, .. } = self.maps.get_mut();
        let again = &mut self.sent_again;
        while let Some(record) = events.next() {
            let recent = RecentQueries { flows, sent };
            let mut context = decode::Context {
                reasons: &self.reasons,
                qdisc_reasons: &self.qdisc_reasons,
                symbols: &mut self.symbols,
                devices: &mut self.devices,
                ipvs: &mut self.ipvs,
                recent: &recent,
            };
            match decode::decode(&record, &mut context) {
                Some(Observation::Unanswered { mut query, how }) => {
                    let Some(finished) = decode::finished(&record) else { continue };
                    if query.role == End::Server {
                        again.silent(finished.key, &query);
                        sink(Observation::Unanswered { query, how });
                    } else if asks_other(sent, &finished.key, &query) {
                        sink(Observation::Unanswered { query, how: Unanswered::Overtaken });
                    } else {
                        ask_for_backend(&mut self.services, &mut query);
                        let key = at_server::server_key(&finished.key, &finished.query);
                        if let Some(oldest) = again.hold(query, how, key) {
                            sink(oldest.into());
                        }
                    }
                }
                Some(observation) => {
                    self.chain_count_due |= is_confirm_drop(&observation);
                    sink(observation);
                }
                None => {}
            }
        }
    }

    /// Hands over every captured packet there is, oldest first. To be called after
    /// events are drained: of what they tell of, all packets are there then.
    pub fn packets(&mut self, sink: &mut dyn FnMut(Packet)) {
        let Self { packets, reasons, qdisc_reasons, symbols, .. } = self;
        let packets = packets.get_mut();
        while let Some(record) = packets.next() {
            if let Some(packet) = capture::decode(&record, reasons, qdisc_reasons, symbols) {
                sink(packet);
            }
        }
    }

    /// Packets that were not captured, because there was no room for them.
    #[must_use]
    pub fn packets_lost(&self) -> u64 {
        self.maps.get_ref().health(Health::PacketsLost)
    }

    /// Takes queries out of the table that have waited longer than
    /// `lost_after`: unanswered ones are handed over as lost, answered ones
    /// that nobody read as transactions. Where reading is not seen, answered
    /// ones are taken as soon as no drop can follow any more. `last`: nothing
    /// comes later that could say more.
    pub fn sweep(&mut self, lost_after: Duration, last: bool, sink: &mut dyn FnMut(Observation)) {
        self.count_long_chains(sink);
        while let Some(held) = self.sent_again.next(last) {
            sink(held.into());
        }
        let limit_ns = u64::try_from(lost_after.as_nanos()).unwrap_or(u64::MAX);
        let sees_reading = self.config.sees_reading != 0;
        let now = now_ns();
        let is_due = |query: &InFlight| {
            let arrived = !sees_reading
                && query.state == state::ANSWERED
                && now.saturating_sub(query.middle_ns) > ARRIVED_NS;
            arrived || now.saturating_sub(query.start_ns) > limit_ns
        };
        let maps = self.maps.get_mut();
        let mut due = Vec::new();
        let mut servers_over_tcp = Vec::new();
        self.in_flight = 0;
        maps.in_flight.for_each(|key, query| {
            self.in_flight += 1;
            if is_due(&query) {
                due.push((key, query));
            }
            if at_server::is_over_tcp(&key) {
                servers_over_tcp.push(key);
            }
        });
        // A client's end before its server's, which it asks for.
        due.sort_by_key(|(key, _)| key.role);
        for (key, query) in due {
            // An answer may have come since.
            let Some(query) = maps.in_flight.end(&key, query.start_ns) else { continue };
            let mut seen = decode::query_seen(&key, &query, &mut self.devices);
            if let Ok(sent) = maps.sent.get(&key, 0)
                && sent.at_ns == query.start_ns
            {
                seen.question = decode::question(&sent.question);
                seen.command = decode::command(sent.command);
            }
            if key.role == End::Client as u8 {
                seen.other_answer_ns =
                    recent::other_answer_ns(&maps.answered, &key, query.start_ns);
                if query.state == state::SENT {
                    ask_for_backend(&mut self.services, &mut seen);
                }
                let server_key = match Transport::from_number(key.transport) {
                    Transport::Udp => Some(at_server::server_key(&key, &query)),
                    Transport::Tcp => servers_over_tcp
                        .iter()
                        .find(|other| at_server::is_same_over_tcp(&key, other))
                        .copied(),
                };
                if let Some(server_key) = server_key
                    && let Some(server) = maps.in_flight.get(&server_key)
                    && at_server::is_silent(&server, query.start_ns)
                {
                    let server = decode::query_seen(&server_key, &server, &mut self.devices);
                    seen.at_server = Some(at_server::at_server(&server));
                }
            }
            sink(if query.state == state::SENT {
                Observation::Unanswered { query: seen, how: Unanswered::Expired }
            } else {
                Observation::Transaction { query: seen, end_ns: None }
            });
        }
    }

    /// Reads how many packets conntrack dropped for a long chain: at first, and
    /// after each refusal to confirm, which it may explain.
    fn count_long_chains(&mut self, sink: &mut dyn FnMut(Observation)) {
        if !self.chain_count_due {
            return;
        }
        self.chain_count_due = false;
        // The time first: what is dropped in between is in the next reading.
        let at_ns = now_ns();
        if let Some(packets) = Counters::read().conntrack.chaintoolong {
            sink(Observation::ChainTooLong { at_ns, packets });
        }
    }

    /// Events lost so far to a full ring buffer.
    #[must_use]
    pub fn events_lost(&self) -> u64 {
        self.maps.get_ref().health(Health::EventsLost)
    }

    /// Reads every counter; of the aggregates, what changed since the last time.
    ///
    /// # Errors
    /// When this process gets no memory for them.
    pub fn read(&mut self) -> io::Result<Reading> {
        let (programs, missed_runs) = self.programs();
        let maps = self.maps.get_mut();
        let aggregates = maps.aggregates(now_ns())?;
        let backends = maps.backends(now_ns());
        let tables = [
            (Table::InFlight, self.in_flight),
            (Table::Aggregates, maps.aggregates_in_use()),
            (Table::Backends, backends.len()),
        ];
        Ok(Reading {
            aggregates,
            events_lost: maps.health(Health::EventsLost),
            in_flight_full: maps.health(Health::InFlightFull),
            stats_full: maps.health(Health::StatsFull),
            tcp_unread: maps.health(Health::TcpUnread),
            backends,
            tables: tables.map(|(table, entries)| Fill { table, entries }).to_vec(),
            backends_full: maps.health(Health::BackendsFull),
            samples_left_out: maps.health(Health::SamplesLeftOut),
            missed_runs: missed_runs + maps.health(Health::EntryMissed),
            programs,
        })
    }

    /// What each program cost, and the runs the kernel skipped because a program was
    /// already running on that processor, without those that a second program made up
    /// for.
    fn programs(&self) -> (Vec<ProgramCost>, u64) {
        let probes = self.ebpf.programs().filter_map(|(name, program)| {
            Some((name, program.fd().ok()?.as_fd().as_raw_fd(), false))
        });
        let is_made_up_for = |name: &str| {
            AGAIN.iter().any(|(first, second)| *first == name && self.tracing.contains_key(*second))
        };
        let tracing = self.tracing.iter().map(|(name, program)| {
            (name.as_str(), program.as_fd().as_raw_fd(), is_made_up_for(name))
        });
        let (mut costs, mut missed) = (Vec::new(), 0);
        for (name, fd, made_up_for) in probes.chain(tracing) {
            let Some(info) = ProgramInfo::read(fd) else { continue };
            missed += if made_up_for { 0 } else { info.recursion_misses };
            costs.extend(info.cost(name));
        }
        costs.sort_by(|one, other| one.program.cmp(&other.program));
        (costs, missed)
    }
}

/// Whether the query that replaced this one asks something else: then two
/// queries share one id, and an answer to the first cannot be told apart.
fn asks_other(
    sent: &BpfHashMap<MapData, QueryKey, Sent>,
    key: &QueryKey,
    replaced: &QuerySeen,
) -> bool {
    let Some(asked) = &replaced.question else { return false };
    let later = sent.get(key, 0).ok().and_then(|sent| decode::question(&sent.question));
    later.is_some_and(|later| later != *asked)
}

/// What the node's services say of the backend that an unanswered query left
/// for.
fn ask_for_backend(services: &mut NodeServices, query: &mut QuerySeen) {
    if let Some(left) = &mut query.translation
        && left.tuple.destination != query.id.server
    {
        left.backend = services.state(query.id.server, left.tuple.destination);
    }
}

fn is_confirm_drop(observation: &Observation) -> bool {
    matches!(observation, Observation::Fact(fact) if matches!(fact.kind, FactKind::ConfirmDrop))
}

/// Gives memory that was freed back to the kernel; glibc keeps it otherwise. Reading the
/// kernel's types takes many times the memory that is used from then on.
pub(crate) fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The kernel programs' clock.
#[must_use]
pub fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place to write to; the clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
