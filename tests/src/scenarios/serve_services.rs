//! What `dnsprobe serve` tells of services and search lists: which backend queries left
//! for, under iptables and IPVS, when queries were lost, and how many names a look-up of
//! a sampled process takes.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::serve::{equal, series, start};
use super::stage::{LOST_AFTER, Stage};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::client::resolver::Resolver;
use crate::lab::cast::{
    API, CART, COREDNS_0, COREDNS_1, COREDNS_DEAF, DNS, FRONTEND, IPVS_CLIENT, IPVS_DNS,
    SECOND_DNS, VICTIM, WORKER,
};
use crate::lab::clients::{Lookup, Pace};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::ipvs;
use crate::lab::prometheus::lint;
use crate::lab::serve::Server;
use crate::lab::server::{self, OUTSIDE};
use crate::lab::spec::Spec;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "serve-services",
    about: "serve: backends of services, patterns of losses, names per look-up",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const PORT: u16 = 19_353;
/// Of these one in ten goes to the first backend.
const UNEVEN: u16 = 40;
/// Of these every second one, because IPVS takes turns.
const IN_TURN: u16 = 20;
/// Its connections outlive the real server.
const IPVS_PORT: u16 = 5353;
const LOST: u16 = 5;
/// For some turns of the sample, with one of two processes sampled at a time.
const LOOKUPS: u32 = 60;
const EVERY: Duration = Duration::from_millis(400);
/// Names that the victim's search list makes of one.
const NAMES: f64 = 4.0;
/// Look-ups that are sampled for sure.
const SAMPLED: f64 = 5.0;
/// What the ends of a turn may take away from the names of a look-up.
const CUT: f64 = 0.3;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let two = [COREDNS_0, COREDNS_1];
    Rules::default()
        .service(DNS, &[COREDNS_DEAF], Balance::Random)
        .service(SECOND_DNS, &two, Balance::OneInTen)
        .rule("filter", format!("-A FORWARD -s {} -p udp --dport 53 -j DROP", WORKER.address()))
        .load(stage.node)?;
    ipvs::service(stage.node, IPVS_DNS, &two)?;
    ipvs::keep_stale_connections(stage.node)?;
    let options = server::Options { outside: true, ..server::Options::default() };
    let _outside = server::start(stage.pod(&COREDNS_DEAF)?, &options)?;
    let server = start(stage, PORT, &["--sample-processes=2"])?;

    let absolute = format!("{OUTSIDE}.");
    let look_up = |spec: &Spec, resolver, name| {
        let lookup = Lookup { name, count: LOOKUPS, pace: Pace::Every(EVERY), options: None };
        stage.programs.resolve(stage.pod(spec)?, resolver, 1, lookup)
    };
    let searching = look_up(&VICTIM, Resolver::Glibc, OUTSIDE)?;
    let straight = look_up(&API, Resolver::Go, &absolute)?;
    let refused = query::Args { interval_ms: 300, timeout_ms: 200, ..query::Args::new(DNS, 60) };
    let refused = stage.programs.query(stage.pod(&WORKER)?, &refused)?;

    let ask =
        |spec: &Spec, args: &query::Args| stage.programs.query(stage.pod(spec)?, args)?.report();
    let fresh = |address, count| query::Args {
        fresh_port: true,
        interval_ms: 5,
        ..query::Args::new(address, count)
    };
    ask(&CART, &fresh(SECOND_DNS, UNEVEN))?;
    ask(&FRONTEND, &fresh(IPVS_DNS, IN_TURN))?;
    let kept = |count| query::Args {
        source_port: IPVS_PORT,
        timeout_ms: 200,
        ..query::Args::new(IPVS_DNS, count)
    };
    ask(&IPVS_CLIENT, &kept(1))?;
    let gone = ipvs::backend_of(stage.node, IPVS_CLIENT.address(), IPVS_PORT)?;
    sleep(Duration::from_secs(2));
    ipvs::remove_backend(stage.node, IPVS_DNS, gone)?;
    sleep(Duration::from_secs(1));
    let lost = ask(&IPVS_CLIENT, &kept(LOST))?;
    let refused = refused.report()?;
    for lookups in [searching.lookups()?, straight.lookups()?] {
        ensure!(lookups.failed == 0, "the name is not found");
    }
    sleep(LOST_AFTER + Duration::from_millis(2500));

    let mut outcome = Outcome::default()
        .checked("queries by backend", backends(&server, gone)?)
        .checked("when queries were lost", patterns(&server, refused.sent, lost.sent)?)
        .checked("names per look-up", names_per_look_up(&server)?)
        .checked("the page of metrics", lint(&server.text("/metrics")?)?);
    let services = server.text("/api/v1/services")?;
    let told = |spec: &Spec| services.contains(&format!("\"name\":\"{}\"", spec.name));
    let unnamed: Vec<String> = two
        .iter()
        .filter(|spec| !told(spec))
        .map(|spec| format!("{} has no name", spec.name))
        .collect();
    outcome = outcome.checked("backends by name", unnamed);
    server.finish()?;
    Ok(outcome)
}

/// Every query left for the backend that the rules led it to.
fn backends(server: &Server, gone: std::net::Ipv4Addr) -> Result<Vec<String>> {
    let [first, second] = [COREDNS_0, COREDNS_1].map(|spec| spec.address());
    let value = |metric: &str, service, backend, more: &str| {
        server
            .metric(&format!("{metric}{{server=\"{service}:53\",backend=\"{backend}:53\"{more}}}"))
    };
    let queries = |service, backend| value("dnsprobe_backend_queries_total", service, backend, "");
    let half = u64::from(IN_TURN / 2);
    // IPVS drops those for the one that is gone: they never leave for it.
    let of_kept = |backend| u64::from(backend == gone);
    let mut problems = Vec::new();
    for (service, backend, truth) in [
        (SECOND_DNS, first, u64::from(UNEVEN / 10)),
        (SECOND_DNS, second, u64::from(UNEVEN - UNEVEN / 10)),
        (IPVS_DNS, first, half + of_kept(first)),
        (IPVS_DNS, second, half + of_kept(second)),
    ] {
        let told = queries(service, backend)?;
        problems.extend(equal(&format!("queries to {service} for {backend}"), told, truth));
    }
    for backend in [first, second] {
        let listed = u64::from(backend != gone);
        let weight = value("dnsprobe_ipvs_weight", IPVS_DNS, backend, "")?;
        problems.extend(equal(&format!("weight of {backend}"), weight, listed));
        let inactive = ",state=\"inactive\"";
        let connections = value("dnsprobe_ipvs_connections", IPVS_DNS, backend, inactive)?;
        if listed == 1 && connections < half as f64 {
            problems.push(format!("{backend} has {connections} connections, at least {half} are"));
        }
    }
    Ok(problems)
}

/// All along where a rule drops every query; after a real server went away where its
/// connections are kept.
fn patterns(server: &Server, refused: u64, lost: u64) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for (spec, cause, count, pattern) in [
        (WORKER, "policy-drop", refused, "always"),
        (IPVS_CLIENT, "ipvs-stale-backend", lost, "scaling-window"),
    ] {
        let more = format!(",cause=\"{cause}\"");
        let of_pod = series("dnsprobe_lost_queries_total", spec.namespace, spec.name, &more);
        problems.extend(equal(&of_pod, server.metric(&of_pod)?, count));
        let told = format!("dnsprobe_loss_pattern_info{{cause=\"{cause}\",pattern=\"{pattern}\"}}");
        problems.extend(equal(&told, server.metric(&told)?, 1));
    }
    Ok(problems)
}

/// Four with a search list, one without.
fn names_per_look_up(server: &Server) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for (spec, truth) in [(VICTIM, NAMES), (API, 1.0)] {
        let value = |metric: &str| server.metric(&series(metric, spec.namespace, spec.name, ""));
        let lookups = value("dnsprobe_sampled_lookups_total")?;
        let names = value("dnsprobe_sampled_lookup_names_total")? / lookups;
        if lookups < SAMPLED || names > truth || names < truth - CUT {
            problems.push(format!(
                "{} look-ups of {} were sampled, with {names} names each instead of {truth}",
                lookups, spec.name
            ));
        }
    }
    problems.extend(equal(
        "transactions left out",
        server.metric("dnsprobe_samples_left_out_total")?,
        0,
    ));
    Ok(problems)
}
