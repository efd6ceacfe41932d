//! `dnsprobe diagnose`: watches for a while and says what is wrong.

use std::{
    io::{self, IsTerminal, Write},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use dnsprobe_common::flow::Role;

use super::{
    EXIT_FOUND, EXIT_OK, Format, WatchOptions,
    watch::{self, Detail, Handler},
};
use crate::{
    dns::Name,
    engine::{ConnectFailure, Query, Transaction, Verdict},
    findings::{Diagnosis, Findings, Options as Limits},
    identity::Owner,
    output::{Terminal, diagnosis, json},
    stats::Snapshot,
    time::Timestamp,
};

/// Watching time when none is given.
const DURATION: Duration = Duration::from_secs(30);
/// How often the progress is refreshed.
const PROGRESS: Duration = Duration::from_secs(1);

/// Watch for a while, then say what is wrong, for whom, and what to do.
///
/// Watches for 30 seconds unless --duration says otherwise, waits up to
/// --lost-after for queries that are still open, and prints findings, the worst
/// first, with what was ruled out and what could not be seen. Ctrl-C ends the
/// watching early and prints what was found until then. Exit code 1 when a
/// fault was found: lost queries, wrong answers or slow ones. Near misses,
/// names that do not exist outside the cluster, and notes on the set-up are no
/// faults.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  dnsprobe diagnose                          30 seconds, every pod
  dnsprobe diagnose --duration 5m --pod shop/cart-0
  dnsprobe diagnose --slow-after 50ms -o json | jq '.findings[].code'")]
pub(super) struct Options {
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    pub(super) watch: WatchOptions,
    #[command(flatten)]
    scope: Scope,
}

/// What is looked for, and for whom.
#[derive(Clone, Debug, Args)]
pub(super) struct Scope {
    /// Only findings about these pods: NAME or NAMESPACE/NAME; repeatable.
    #[arg(long, value_name = "POD")]
    pod: Vec<PodName>,
    /// An answer that takes this long is slow.
    #[arg(long, value_parser = super::positive_duration, default_value = "100ms", value_name = "TIME")]
    slow_after: Duration,
    /// The cluster's domain; learned from the names asked for when not given.
    #[arg(long, value_name = "DOMAIN")]
    cluster_domain: Option<Name>,
    /// How long IPVS keeps a UDP connection (`ipvsadm -l --timeout`).
    #[arg(long, value_parser = super::positive_duration, default_value = "5m", value_name = "TIME")]
    ipvs_udp_timeout: Duration,
}

/// A pod by name, with or without its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PodName {
    namespace: Option<String>,
    name: String,
}

impl std::str::FromStr for PodName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, text),
        };
        if name.is_empty() || name.contains('/') || namespace.is_some_and(str::is_empty) {
            return Err("use NAME or NAMESPACE/NAME".to_owned());
        }
        Ok(Self { namespace: namespace.map(str::to_owned), name: name.to_owned() })
    }
}

impl PodName {
    fn fits(&self, owner: &Owner) -> bool {
        let Owner::Pod { namespace, pod: Some(pod), .. } = owner else { return false };
        *pod == self.name && (self.namespace.is_none() || self.namespace == *namespace)
    }
}

pub(super) fn run(options: &Options) -> anyhow::Result<u8> {
    // A recording is looked at as a whole.
    let live = options.watch.replay.is_none();
    let duration = options.watch.duration.or(live.then_some(DURATION));
    let watch = WatchOptions { duration, ..options.watch.clone() };
    let progress = duration.filter(|_| live && io::stderr().is_terminal());
    let mut doctor = Examination::new(options.scope.findings(), progress);
    watch::run(&watch, Detail::Transactions, Some(PROGRESS), &mut doctor)?;
    let found = doctor.diagnosis()?;
    let mut out = io::stdout().lock();
    match options.output {
        Format::Json => json::write(json::Record::Diagnosis(&found), &mut out)?,
        Format::Table => {
            write!(out, "{}", diagnosis::render(&found, &Terminal::of_stdout()))?;
        }
    }
    out.flush()?;
    Ok(if found.fault { EXIT_FOUND } else { EXIT_OK })
}

impl Scope {
    /// Whose queries are meant.
    pub(super) fn wanted(&self) -> Box<dyn Fn(&Owner) -> bool> {
        let pods = self.pod.clone();
        Box::new(move |owner: &Owner| pods.is_empty() || pods.iter().any(|pod| pod.fits(owner)))
    }

    /// Nothing found yet.
    pub(super) fn findings(&self) -> Findings {
        let limits = Limits {
            slow_after: self.slow_after,
            cluster_domain: self.cluster_domain.clone(),
            ipvs_udp_timeout: self.ipvs_udp_timeout,
        };
        Findings::new(limits, self.wanted())
    }
}

/// Hands everything to the findings.
pub(super) struct Examination {
    /// Until the last snapshot.
    findings: Option<Findings>,
    /// From the last snapshot on.
    diagnosis: Option<Diagnosis>,
    /// How long it is going to take, where somebody looks on.
    progress: Option<Duration>,
}

impl Examination {
    /// Shows its progress when it knows how long it is going to take.
    pub(super) fn new(findings: Findings, progress: Option<Duration>) -> Self {
        Self { findings: Some(findings), diagnosis: None, progress }
    }

    /// What was found.
    pub(super) fn diagnosis(self) -> anyhow::Result<Diagnosis> {
        self.diagnosis.context("the watch ended without a last reading of the counters")
    }

    fn collect(&mut self, take: impl FnOnce(&mut Findings)) {
        if let Some(findings) = &mut self.findings {
            take(findings);
        }
    }
}

impl Handler for Examination {
    fn transaction(&mut self, transaction: &Transaction) -> anyhow::Result<()> {
        self.collect(|findings| findings.transaction(transaction));
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> anyhow::Result<()> {
        self.collect(|findings| findings.verdict(verdict));
        Ok(())
    }

    fn not_followed(
        &mut self,
        owner: &Arc<Owner>,
        role: Role,
        query: &Query,
    ) -> anyhow::Result<()> {
        self.collect(|findings| findings.not_followed(owner, role, query));
        Ok(())
    }

    fn connect_failed(&mut self, failure: &ConnectFailure) -> anyhow::Result<()> {
        self.collect(|findings| findings.connect_failed(failure));
        Ok(())
    }

    fn now(&mut self, now: Timestamp) {
        self.collect(|findings| findings.tick(now));
    }

    fn settles(&self) -> bool {
        true
    }

    fn snapshot(&mut self, snapshot: &Arc<Snapshot>, last: bool) -> anyhow::Result<()> {
        if last {
            if self.progress.is_some() {
                eprint!("\r\x1b[K");
            }
            self.diagnosis = self.findings.take().map(|findings| findings.finish(snapshot));
        } else if let Some(duration) = self.progress {
            let queries: u64 = snapshot
                .pods
                .iter()
                .filter(|pod| pod.role == Role::Client)
                .map(|pod| pod.total.queries)
                .sum();
            eprint!(
                "\r\x1b[K{:.0} of {:.0} s, {queries} queries",
                snapshot.since_seconds,
                duration.as_secs_f64()
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_named_with_or_without_its_namespace() {
        let cart = Owner::Pod {
            namespace: Some("shop".into()),
            pod: Some("cart-0".into()),
            container: None,
            uid: "u".into(),
            details: crate::identity::PodDetails::default(),
        };
        let fits = |text: &str| text.parse::<PodName>().unwrap().fits(&cart);
        assert!(fits("cart-0") && fits("shop/cart-0"));
        assert!(!fits("cart") && !fits("other/cart-0"));
        assert!(!"cart-0".parse::<PodName>().unwrap().fits(&Owner::Host { name: "cart-0".into() }));
        for wrong in ["", "/cart", "shop/", "a/b/c"] {
            assert!(wrong.parse::<PodName>().is_err(), "{wrong}");
        }
    }
}
