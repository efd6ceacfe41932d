//! From a reading of the counters to a page of metrics.

use std::collections::BTreeSet;

use super::{
    family::{Family, Label},
    name_counts::NameCounts,
    own::{self, OwnCost, Plans, Pushes, Reloads, Shedding},
    owners::{Limits, Owners, Sums},
    page::{Format, Page},
    patterns::Patterns,
    samples::{LookUpSums, Samples},
};
use crate::{
    identity::Owner,
    kernel::{Counters, Fill, ProgramCost, RoleReport, Udp},
    stats::{Counts, PodCounts, ServiceCounts, Snapshot, role_name},
};
use dnsprobe_common::flow::Role;

/// Everything a page is made of.
#[derive(Debug)]
pub struct Scrape<'a> {
    /// The last reading.
    pub snapshot: &'a Snapshot,
    /// The kernel's own counters, read now.
    pub counters: &'a Counters,
    /// How the hooks stand.
    pub hooks: &'a [RoleReport],
    /// Who has series of their own.
    pub limits: &'a Limits,
    /// Whether an owner's servers are told apart.
    pub servers: bool,
    /// Verdicts that were not printed.
    pub verdicts_not_printed: u64,
    /// Where queries to services went.
    pub services: &'a [ServiceCounts],
    /// Queries that are missing there, because there were too many backends.
    pub backends_full: u64,
    /// When queries were lost lately.
    pub patterns: &'a Patterns,
    /// What sampled processes looked up; `None`: nobody is sampled.
    pub samples: Option<&'a Samples>,
    /// The names that were lost.
    pub lost_names: &'a NameCounts,
    /// How many names are to be told.
    pub top_names: usize,
    /// How often the settings were read again.
    pub reloads: Reloads,
    /// How often hooks were planned.
    pub plans: Plans,
    /// What was sent to a collector, where there is one.
    pub pushes: Option<Pushes>,
    /// How full the programs' tables are.
    pub tables: &'a [Fill],
    /// What each kernel program cost, where the kernel keeps that.
    pub programs: &'a [ProgramCost],
    /// What is left out.
    pub shedding: &'a Shedding,
    /// What dnsprobe itself costs.
    pub own: OwnCost,
}

/// Writes the page.
#[must_use]
pub fn collect(scrape: &Scrape<'_>, owners: &mut Owners, format: Format) -> Vec<u8> {
    let mut page = Page::new(format);
    let rows = owners.sort(&scrape.snapshot.pods, scrape.limits);
    of_owners(&mut page, &owners.with_the_rest(&rows));
    if scrape.servers {
        of_servers(&mut page, &rows, scrape.services);
    }
    of_services(&mut page, scrape);
    for (cause, pattern) in scrape.patterns.all() {
        let labels = [(Label::Cause, cause.as_str()), (Label::Pattern, pattern.as_str())];
        page.add(Family::LossPattern, &labels, 1.0);
    }
    if let Some(samples) = scrape.samples {
        of_samples(&mut page, &rows, samples);
    }
    page.add(Family::OwnersOverLimit, &[], owners.over_limit() as f64);
    of_node(&mut page, scrape.counters);
    own::add(&mut page, scrape);
    page.finish()
}

/// The labels of an owner; empty where they do not apply.
pub(crate) struct Labels {
    pub(crate) kind: &'static str,
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) unit: String,
    pub(crate) role: Role,
}

impl Labels {
    fn of(row: &PodCounts) -> Self {
        let none = String::new;
        let (kind, namespace, pod, unit) = match &*row.owner {
            Owner::Pod { namespace, pod, uid, .. } => (
                "pod",
                namespace.clone().unwrap_or_default(),
                pod.clone().unwrap_or_else(|| uid.clone()),
                none(),
            ),
            Owner::Container { id, name } => {
                ("container", none(), none(), name.clone().unwrap_or_else(|| id.clone()))
            }
            Owner::Host { name } => ("host", none(), none(), name.clone()),
            Owner::Unattributed { reason } => ("unattributed", none(), none(), reason.to_string()),
        };
        Self { kind, namespace, pod, unit, role: row.role }
    }

    fn of_rest(role: Role) -> Self {
        let none = String::new;
        Self { kind: "other", namespace: none(), pod: none(), unit: none(), role }
    }

    fn with<'a>(&'a self, more: Option<(Label, &'a str)>) -> Vec<(Label, &'a str)> {
        [
            (Label::OwnerKind, self.kind),
            (Label::Namespace, &self.namespace),
            (Label::Pod, &self.pod),
            (Label::Unit, &self.unit),
            (Label::Role, role_name(self.role)),
        ]
        .into_iter()
        .chain(more)
        .collect()
    }
}

impl Owners {
    /// Takes in a reading: the sums of all that have series of their own, and of the
    /// others together.
    pub(crate) fn sums(&mut self, rows: &[PodCounts], limits: &Limits) -> Vec<(Labels, Sums)> {
        let rows = self.sort(rows, limits);
        self.with_the_rest(&rows)
    }

    fn with_the_rest(&self, rows: &[&PodCounts]) -> Vec<(Labels, Sums)> {
        let mut sums: Vec<_> = rows.iter().map(|row| (Labels::of(row), Sums::of(row))).collect();
        for role in [Role::Client, Role::Server] {
            let rest = self.rest(role);
            if rest.queries > 0 {
                sums.push((Labels::of_rest(role), rest.clone()));
            }
        }
        sums
    }
}

fn of_owners(page: &mut Page, sums: &[(Labels, Sums)]) {
    let mut each = |family, value: &dyn Fn(&Sums) -> u64| {
        for (labels, sums) in sums {
            page.add(family, &labels.with(None), value(sums) as f64);
        }
    };
    each(Family::Queries, &|sums| sums.queries);
    for (labels, sums) in sums {
        for (rcode, count) in &sums.rcodes {
            page.add(Family::Answers, &labels.with(Some((Label::Rcode, rcode))), *count as f64);
        }
    }
    let mut by_cause = |family, counts: &dyn Fn(&Sums) -> Vec<(&'static str, u64)>| {
        for (labels, sums) in sums {
            for (cause, count) in counts(sums) {
                page.add(family, &labels.with(Some((Label::Cause, cause))), count as f64);
            }
        }
    };
    by_cause(Family::LostQueries, &|sums| {
        sums.lost.iter().map(|(cause, count)| (cause.as_str(), *count)).collect()
    });
    by_cause(Family::NearMisses, &|sums| {
        sums.near_misses.iter().map(|(cause, count)| (cause.as_str(), *count)).collect()
    });
    let mut each = |family, value: &dyn Fn(&Sums) -> u64| {
        for (labels, sums) in sums {
            page.add(family, &labels.with(None), value(sums) as f64);
        }
    };
    each(Family::NotFollowed, &|sums| sums.not_followed);
    each(Family::InFlight, &|sums| sums.in_flight);
    for (labels, sums) in sums {
        page.add_histogram(Family::Latency, &labels.with(None), &sums.latency);
    }
    for (labels, sums) in sums {
        page.add_histogram(Family::ReadDelay, &labels.with(None), &sums.read_delay);
    }
}

/// Servers beyond those that are told apart.
const OTHER_SERVERS: &str = "other";

fn of_servers(page: &mut Page, rows: &[&PodCounts], services: &[ServiceCounts]) {
    let mut each = |family, value: fn(&Counts) -> u64| {
        for row in rows {
            let labels = Labels::of(row);
            let mut told_apart = 0;
            for server in &row.servers {
                let address = server.server.to_string();
                let labels = labels.with(Some((Label::Server, &address)));
                told_apart += value(&server.total);
                page.add(family, &labels, value(&server.total) as f64);
            }
            let others = value(&row.total).saturating_sub(told_apart);
            if others > 0 {
                let labels = labels.with(Some((Label::Server, OTHER_SERVERS)));
                page.add(family, &labels, others as f64);
            }
        }
    };
    each(Family::ServerQueries, |counts| counts.queries);
    each(Family::ServerAnswers, |counts| counts.answered);
    each(Family::ServerLostQueries, |counts| counts.lost_total);
    // Many owners ask one server.
    let servers = rows.iter().flat_map(|row| &row.servers);
    let servers = servers.map(|server| (server.server, server.remote.as_deref()));
    let backends = services.iter().flat_map(|service| &service.backends);
    let backends = backends.map(|backend| (backend.address, backend.remote.as_deref()));
    let known: BTreeSet<_> = servers
        .chain(backends)
        .filter_map(|(address, remote)| {
            let remote = remote?;
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let (namespace, name) = (text(&remote.namespace), text(&remote.name));
            Some((address, remote.kind, namespace, name))
        })
        .collect();
    for (server, kind, namespace, name) in known {
        let server = server.to_string();
        let labels = [
            (Label::Server, server.as_str()),
            (Label::Kind, kind.as_str()),
            (Label::Namespace, &namespace),
            (Label::Name, &name),
        ];
        page.add(Family::ServerInfo, &labels, 1.0);
    }
}

fn of_services(page: &mut Page, scrape: &Scrape<'_>) {
    let backends: Vec<_> = scrape
        .services
        .iter()
        .flat_map(|service| service.backends.iter().map(|it| (service.service.to_string(), it)))
        .map(|(server, backend)| (server, backend.address.to_string(), backend))
        .collect();
    for (server, address, backend) in &backends {
        let labels = [(Label::Server, server.as_str()), (Label::Backend, address.as_str())];
        page.add(Family::BackendQueries, &labels, backend.queries as f64);
    }
    if scrape.backends_full > 0 {
        let labels = [(Label::Server, OTHER_SERVERS), (Label::Backend, OTHER_SERVERS)];
        page.add(Family::BackendQueries, &labels, scrape.backends_full as f64);
    }
    for (server, address, backend) in &backends {
        if let Some(weight) = backend.ipvs.and_then(|ipvs| ipvs.weight) {
            let labels = [(Label::Server, server.as_str()), (Label::Backend, address.as_str())];
            page.add(Family::IpvsWeight, &labels, f64::from(weight));
        }
    }
    for (server, address, backend) in &backends {
        let Some(ipvs) = backend.ipvs else { continue };
        for (state, count) in
            [("active", ipvs.active_connections), ("inactive", ipvs.inactive_connections)]
        {
            let Some(count) = count else { continue };
            let labels = [
                (Label::Server, server.as_str()),
                (Label::Backend, address.as_str()),
                (Label::State, state),
            ];
            page.add(Family::IpvsConnections, &labels, count as f64);
        }
    }
}

/// Of owners that have series of their own.
fn of_samples(page: &mut Page, rows: &[&PodCounts], samples: &Samples) {
    let clients = rows.iter().filter(|row| row.role == Role::Client);
    let sampled: Vec<_> =
        clients.filter_map(|row| Some((Labels::of(row), samples.of(&row.owner)?))).collect();
    let mut each = |family, value: fn(&LookUpSums) -> u64| {
        for (labels, sums) in &sampled {
            page.add(family, &labels.with(None), value(sums) as f64);
        }
    };
    each(Family::SampledLookUps, |sums| sums.look_ups);
    each(Family::SampledNames, |sums| sums.names);
    each(Family::SampledQueries, |sums| sums.queries);
}

/// What the kernel does not tell has no series.
fn of_node(page: &mut Page, counters: &Counters) {
    let mut told = |family, labels: &[(Label, &str)], value: Option<u64>| {
        if let Some(value) = value {
            page.add(family, labels, value as f64);
        }
    };
    let conntrack = &counters.conntrack;
    told(Family::ConntrackEntries, &[], conntrack.entries);
    told(Family::ConntrackEntriesLimit, &[], conntrack.max_entries);
    for (event, count) in [
        ("insert_failed", conntrack.insert_failed),
        ("drop", conntrack.drop),
        ("early_drop", conntrack.early_drop),
        ("clash_resolve", conntrack.clash_resolve),
        ("chain_too_long", conntrack.chaintoolong),
        ("search_restart", conntrack.search_restart),
        ("invalid", conntrack.invalid),
        ("error", conntrack.error),
    ] {
        told(Family::ConntrackEvents, &[(Label::Event, event)], count);
    }
    told(Family::BacklogDrops, &[], counters.softnet.dropped);
    told(Family::BacklogSqueezes, &[], counters.softnet.time_squeeze);
    for (family, udp) in [("ipv4", &counters.udp), ("ipv6", &counters.udp6)] {
        for (event, count) in udp_events(udp) {
            let labels = [(Label::Family, family), (Label::Event, event)];
            told(Family::UdpErrors, &labels, count);
        }
    }
}

fn udp_events(udp: &Udp) -> [(&'static str, Option<u64>); 5] {
    [
        ("no_port", udp.no_ports),
        ("receive_buffer_full", udp.rcvbuf_errors),
        ("send_buffer_full", udp.sndbuf_errors),
        ("checksum", udp.in_csum_errors),
        ("memory", udp.mem_errors),
    ]
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{HashMap, HashSet},
        num::NonZeroU8,
    };

    use super::*;
    use crate::{
        kernel::{Mechanism, Role as Hook, RoleState, Table},
        metrics::Shed,
        output::testing::{services, snapshot, transaction},
        time::Timestamp,
    };

    fn page(format: Format, servers: bool) -> String {
        page_with_names(format, servers, 0)
    }

    fn page_with_names(format: Format, servers: bool, top_names: usize) -> String {
        let mut lost_names = NameCounts::default();
        for name in ["a.test.", "a.test.", "b\x1b.test."] {
            lost_names.count(Some(&name.parse().unwrap()));
        }
        let counters =
            Counters { udp: Udp { no_ports: Some(4), ..Udp::default() }, ..Counters::default() };
        let mut samples = Samples::default();
        for id in 0..3 {
            // A second look-up for the same name ends the one before.
            let mut transaction = transaction();
            transaction.query.id = id;
            transaction.time = Timestamp::from_unix_ns(u64::from(id) * 60_000_000_000);
            transaction.query.sent = transaction.time;
            samples.answered(&transaction, NonZeroU8::MIN, true);
        }
        samples.read(&snapshot(), 5);
        let hooks = [RoleReport {
            role: Hook::Send,
            state: RoleState::Attached { mechanism: Mechanism::Fentry, symbols: Vec::new() },
            passed_over: Vec::new(),
        }];
        let scrape = Scrape {
            snapshot: &snapshot(),
            counters: &counters,
            hooks: &hooks,
            limits: &Limits::default(),
            servers,
            verdicts_not_printed: 0,
            services: &services(),
            backends_full: 3,
            patterns: &Patterns::default(),
            samples: Some(&samples),
            lost_names: &lost_names,
            top_names,
            reloads: Reloads::default(),
            pushes: Some(Pushes::default()),
            plans: Plans { attached: 2, refused: 0 },
            tables: &[Fill { table: Table::InFlight, entries: 9 }],
            programs: &[ProgramCost { program: "send".into(), runs: 3, time_ns: 1_500 }],
            shedding: &Shedding { shed: vec![Shed::Lines], ..Shedding::default() },
            own: OwnCost::default(),
        };
        String::from_utf8(collect(&scrape, &mut Owners::default(), format)).unwrap()
    }

    #[test]
    fn what_a_snapshot_says_is_there() {
        let text = page(Format::Text, true);
        let has = |line: &str| assert!(text.lines().any(|own| own == line), "{line}\n{text}");
        let cart = r#"owner_kind="pod",namespace="shop",pod="cart-0",unit="",role="client""#;
        has(&format!(r#"dnsprobe_lost_queries_total{{{cart},cause="conntrack-clash"}} 1"#));
        has(&format!(r#"dnsprobe_near_misses_total{{{cart},cause="conntrack-clash-resolved"}} 2"#));
        has(r#"dnsprobe_hook_info{hook="send",state="attached",mechanism="fentry"} 1"#);
        has(r#"dnsprobe_udp_errors_total{family="ipv4",event="no_port"} 4"#);
        has("dnsprobe_complete 1");
        has(r#"dnsprobe_plans_total{result="attached"} 2"#);
        has(r#"dnsprobe_table_entries{table="in-flight"} 9"#);
        has(r#"dnsprobe_table_entries_limit{table="in-flight"} 32768"#);
        has(r#"dnsprobe_program_runs_total{program="send"} 3"#);
        has(r#"dnsprobe_program_seconds_total{program="send"} 0.0000015"#);
        has(r#"dnsprobe_shed{detail="lines"} 1"#);
        has(r#"dnsprobe_shed{detail="servers"} 0"#);
        assert!(text.contains("dnsprobe_server_queries_total{"));
        has(
            r#"dnsprobe_server_info{server="10.96.0.10:53",kind="service",namespace="kube-system",name="kube-dns"} 1"#,
        );
        assert!(!text.contains("dnsprobe_conntrack_entries "), "what is not known has no series");
        assert!(!page(Format::Text, false).contains("dnsprobe_server_"));
    }

    #[test]
    fn services_and_samples_are_told() {
        let text = page(Format::Text, true);
        let has = |line: &str| assert!(text.lines().any(|own| own == line), "{line}\n{text}");
        let backend = |last: u8| format!(r#"server="10.96.0.10:53",backend="10.244.0.{last}:53""#);
        has(&format!("dnsprobe_backend_queries_total{{{}}} 6", backend(2)));
        has(&format!("dnsprobe_backend_queries_total{{{}}} 2", backend(3)));
        has(r#"dnsprobe_backend_queries_total{server="other",backend="other"} 3"#);
        has(&format!("dnsprobe_ipvs_weight{{{}}} 1", backend(2)));
        has(&format!(r#"dnsprobe_ipvs_connections{{{},state="inactive"}} 9"#, backend(2)));
        assert!(!text.contains(&format!("dnsprobe_ipvs_weight{{{}}}", backend(3))));
        has(
            r#"dnsprobe_server_info{server="10.244.0.2:53",kind="pod",namespace="kube-system",name="coredns-0"} 1"#,
        );
        let cart = r#"owner_kind="pod",namespace="shop",pod="cart-0",unit="",role="client""#;
        has(&format!("dnsprobe_sampled_lookups_total{{{cart}}} 2"));
        has(&format!("dnsprobe_sampled_lookup_names_total{{{cart}}} 2"));
        has("dnsprobe_samples_left_out_total 5");
    }

    #[test]
    fn names_are_told_to_who_asks_for_them() {
        assert!(!page(Format::Text, true).contains("test."));
        let text = page_with_names(Format::Text, true, 1);
        let told: Vec<&str> =
            text.lines().filter(|line| line.starts_with("dnsprobe_top_lost_names{")).collect();
        let expected = [
            r#"dnsprobe_top_lost_names{name="a.test."} 2"#,
            r#"dnsprobe_top_lost_names{name="other"} 1"#,
        ];
        assert_eq!(told, expected);
        let all = page_with_names(Format::Text, true, 2);
        assert!(all.contains(r#"{name="b\\027.test."} 1"#), "{all}");
    }

    #[test]
    fn no_series_comes_twice_and_families_are_together() {
        for format in [Format::Text, Format::OpenMetrics] {
            let text = page(format, true);
            let series: Vec<&str> = text
                .lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(|line| line.rsplit_once(' ').map(|(series, _)| series))
                .collect();
            let unique: HashSet<_> = series.iter().collect();
            assert_eq!(unique.len(), series.len());
            let mut types = HashMap::new();
            for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
                *types.entry(line.to_owned()).or_insert(0) += 1;
            }
            assert!(types.values().all(|count| *count == 1), "{types:?}");
        }
    }

    #[test]
    fn every_series_has_the_labels_its_family_says() {
        let text = page(Format::Text, true);
        for family in Family::ALL {
            let samples = text.lines().filter(|line| {
                line.starts_with(&format!("{}{{", family.name()))
                    || line.starts_with(&format!("{}_total{{", family.name()))
            });
            for sample in samples {
                let names: Vec<&str> = sample
                    .split_once('{')
                    .unwrap()
                    .1
                    .split("=\"")
                    .filter_map(|part| part.rsplit([',', '{', '"']).next())
                    .filter(|name| !name.is_empty() && !name.contains('}'))
                    .collect();
                let expected: Vec<&str> = family.labels().iter().map(|l| l.as_str()).collect();
                assert_eq!(names, expected, "{sample}");
            }
        }
    }

    #[test]
    fn servers_that_are_not_told_apart_are_one_other() {
        let mut snapshot = snapshot();
        let pod = &mut snapshot.pods[0];
        let told_apart: u64 = pod.servers.iter().map(|server| server.total.queries).sum();
        pod.total.queries = told_apart + 5;
        let rows = [&snapshot.pods[0]];
        let mut page = Page::new(Format::Text);
        of_servers(&mut page, &rows, &[]);
        let text = String::from_utf8(page.finish()).unwrap();
        let others: Vec<&str> =
            text.lines().filter(|line| line.contains("server=\"other\"")).collect();
        let queries = others.iter().find(|line| line.contains("_server_queries_total{")).unwrap();
        assert!(queries.ends_with(" 5"), "{queries}");
    }
}
