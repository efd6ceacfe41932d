//! Every way a query can be sent, all healthy: each has to be counted, and its
//! answer too. One way per pod.

use anyhow::Result;

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::client::message::QueryType;
use crate::client::query::Args;
use crate::client::{Via, uring};
use crate::expectation::Expectation;
use crate::lab::cast::{
    API, CART, COREDNS_0, COREDNS_1, COREDNS_DEAF, COREDNS_GONE, DNS, DNS_V6, FRONTEND,
    IPVS_CLIENT, TWO_NAMESERVERS, VICTIM, WEB_V6, WORKER,
};
use crate::lab::firewall::{Balance, Rules};
use crate::lab::server::BIG_NAME;
use crate::lab::spec::Spec;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "transports",
    about: "IPv6, mapped and connected sockets, sendmmsg, io_uring, fragments, the host network",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const SERVERS: [Spec; 2] = [COREDNS_0, COREDNS_1];
const QUERIES: u16 = 6;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    Rules::default()
        .bridge_service(DNS, &SERVERS, Balance::Random)
        .service(DNS, &SERVERS, Balance::Random)
        .service(DNS_V6, &SERVERS, Balance::Random)
        .load(stage.node)?;
    let plain = Args::new(DNS, QUERIES);
    let v6 = Args::new(DNS_V6, QUERIES);
    let big =
        Args { name: BIG_NAME.into(), kind: QueryType::Txt, edns: Some(4096), ..plain.clone() };
    let ways = [
        (VICTIM, Args { mapped: true, ..plain.clone() }),
        (VICTIM, Args { mapped: true, connected: true, ..plain.clone() }),
        (WORKER, Args { connected: true, ..plain.clone() }),
        (API, Args { via: Via::Sendmmsg, burst: true, ..plain.clone() }),
        (API, Args { via: Via::Sendmmsg, burst: true, connected: true, ..plain.clone() }),
        (WEB_V6, v6.clone()),
        (WEB_V6, Args { connected: true, via: Via::Sendmmsg, burst: true, ..v6.clone() }),
        (WEB_V6, Args { kind: QueryType::Txt, edns: Some(4096), name: BIG_NAME.into(), ..v6 }),
        (TWO_NAMESERVERS, big.clone()),
        (FRONTEND, big),
        (COREDNS_DEAF, Args { same_id: Some(0), ..plain.clone() }),
    ];
    let by_ring = [
        Args { via: Via::IoUring, burst: true, ..plain.clone() },
        Args { via: Via::IoUring, connected: true, ..plain.clone() },
        Args { via: Via::IoUring, mapped: true, burst: true, ..plain.clone() },
    ];
    let watch = stage.top()?;
    let healthy = stage.healthy_pod(DNS)?;
    let mut clients = Vec::new();
    for (spec, args) in &ways {
        clients.push((*spec, stage.programs.query(stage.pod(spec)?, args)?));
    }
    if uring::is_allowed() {
        for args in &by_ring {
            clients.push((IPVS_CLIENT, stage.programs.query(stage.pod(&IPVS_CLIENT)?, args)?));
        }
    } else {
        eprintln!("transports: this kernel gives no io_uring, so none is used");
    }
    let on_host = stage.programs.query_on_host_network(stage.pod(&COREDNS_GONE)?, &plain)?;
    clients.push((COREDNS_GONE, on_host));

    let mut expectation = Expectation::default();
    for (spec, client) in clients {
        expectation.healthy(&spec.label(), &client.report()?)?;
    }
    expectation.healthy(&CART.label(), &healthy.report()?)?;
    Ok(Outcome::new(expectation, watch.finish()?))
}
