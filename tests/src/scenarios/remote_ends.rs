//! Who is asked: a service by the comments in kube-proxy's rules, the pod behind
//! it by the address in its network namespace, a node-local cache, a pod by its
//! own address, a stub in the asking pod. Nobody is named who is not known.

use std::collections::BTreeSet;

use anyhow::Result;

use super::stage::{LOST_AFTER, Stage};
use super::{Kernels, Outcome, Scenario};
use crate::client::query;
use crate::expectation::Expectation;
use crate::lab::cast::{
    API, CART, COREDNS_0, COREDNS_1, DNS, IPVS_CLIENT, NODE_LOCAL_DNS, SECOND_DNS, STUB_DNS,
    VICTIM, WORKER,
};
use crate::lab::dnsprobe::Mode;
use crate::lab::firewall::{Balance, Rules};
use crate::lab::node_local::Cache;
use crate::lab::server;
use crate::observed::{Observed, Query};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "remote-ends",
    about: "service, backend pod, node-local cache and stub are named, and nobody else",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

/// What kube-proxy adds for a service, beside the chain that chooses a backend.
const PORTALS: [&str; 3] = [
    ":KUBE-SERVICES - [0:0]",
    "-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES",
    "-A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m comment \
     --comment \"kube-system/kube-dns:dns cluster IP\" -m udp --dport 53 -j KUBE-SVC-00000000",
];

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let backends = [COREDNS_0, COREDNS_1];
    let mut rules = Rules::default()
        .service(DNS, &backends, Balance::InTurn)
        // Translated by a rule that names nobody.
        .service(SECOND_DNS, &backends, Balance::InTurn);
    for rule in PORTALS {
        rules = rules.rule("nat", rule);
    }
    for rule in Cache::untracked() {
        rules = rules.rule("raw", rule);
    }
    rules.load(stage.node)?;
    let _cache = Cache::start(stage.node)?;
    let options = server::Options { listen: Some(STUB_DNS), ..server::Options::default() };
    let _stub = server::start(stage.pod(&VICTIM)?, &options)?;
    // A pod has had its address for two seconds before it is named by it.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let watch = stage.watch(Mode::Trace, LOST_AFTER)?;
    let healthy = stage.healthy_pod(DNS)?;
    let mut expectation = Expectation::default();
    let mut expected = BTreeSet::new();
    let mut expect = |who: &str, server: &str, backend: &str| {
        expected.insert([who, server, backend].map(str::to_owned));
    };
    let pods = ["pod kube-system/coredns-0", "pod kube-system/coredns-1"];
    // One socket, one flow, one backend; a new port for each query, both in turn.
    expect(&CART.label(), "service kube-system/kube-dns", pods[0]);
    for pod in pods {
        expect(&IPVS_CLIENT.label(), "-", pod);
    }
    expect(&API.label(), "node-local cache", "-");
    expect(&WORKER.label(), pods[0], "-");
    expect(&VICTIM.label(), &format!("pod {}", VICTIM.label()), "-");
    for (spec, server) in [
        (API, NODE_LOCAL_DNS.into()),
        (WORKER, std::net::IpAddr::from(COREDNS_0.address())),
        (VICTIM, STUB_DNS.into()),
        (IPVS_CLIENT, SECOND_DNS.into()),
    ] {
        let args = query::Args { fresh_port: true, ..query::Args::new(server, 6) };
        let report = stage.programs.query(stage.pod(&spec)?, &args)?.report()?;
        expectation.healthy(&spec.label(), &report)?;
    }
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    let observed = watch.finish()?;
    let told = told(&observed);
    let problem = (told != expected).then(|| format!("ends are {told:?}, expected {expected:?}"));
    Ok(Outcome::new(expectation, observed).also(problem))
}

/// Who asked, whom, and who is behind that.
fn told(observed: &Observed) -> BTreeSet<[String; 3]> {
    let clients = observed.transactions.iter().filter(|told| told.role == "client");
    clients
        .map(|told| [told.owner.label.clone(), server(&told.query), backend(&told.query)])
        .collect()
}

fn server(query: &Query) -> String {
    query.remote.as_ref().map_or_else(|| "-".to_owned(), |remote| remote.label.clone())
}

fn backend(query: &Query) -> String {
    let remote = query.backend.as_ref().and_then(|backend| backend.remote.as_ref());
    remote.map_or_else(|| "-".to_owned(), |remote| remote.label.clone())
}
