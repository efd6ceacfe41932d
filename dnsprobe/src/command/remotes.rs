//! Keeps what is known of remote ends up to date, on a thread of its own: reading
//! it takes milliseconds that nobody who watches shall wait for.

use std::{
    fs,
    sync::Arc,
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context;

use super::places::NodePlaces;
use crate::{
    dns::resolv_conf::ResolvConf,
    identity::{Holder, RemoteFacts, SharedFacts, holders},
    kernel::{self, container},
};

/// Services and addresses are read anew after this time.
const EVERY: Duration = Duration::from_secs(10);
/// Every process is looked at after this time, or when pods have come.
const HOLDERS_EVERY: Duration = Duration::from_secs(60);
/// How long the start of a watch waits for the first reading: milliseconds, but
/// for the largest nodes.
const FIRST: Duration = Duration::from_millis(500);
/// A pod that has just come has its address a little later.
const AT_LEAST: Duration = Duration::from_secs(1);
/// From one reading to the next this many times as long as it took: where pods come
/// and go all the time, no more than a twentieth of a processor reads.
const REST: u32 = 19;
/// Files of the node that name its upstream servers, below its root: what the
/// kubelet hands on to pods is one or the other.
const RESOLV_CONF: [&str; 2] = ["etc/resolv.conf", "run/systemd/resolve/resolv.conf"];
const RESOLV_CONF_BYTES: u64 = 64 << 10;

/// The thread, until this is dropped.
pub(super) struct Reader {
    facts: Arc<SharedFacts>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Begins to read, and waits a moment for the first reading.
    pub(super) fn start(places: &NodePlaces) -> anyhow::Result<Self> {
        let facts = Arc::new(SharedFacts::default());
        let (shared, places) = (Arc::clone(&facts), places.clone());
        let thread = Builder::new()
            .name("dnsprobe-ends".to_owned())
            .spawn(move || run(&shared, &places))
            .context("cannot start the thread that names remote ends")?;
        facts.wait_for_first(FIRST);
        Ok(Self { facts, thread: Some(thread) })
    }

    /// What it reads.
    pub(super) fn facts(&self) -> Arc<SharedFacts> {
        Arc::clone(&self.facts)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.facts.end();
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn run(shared: &SharedFacts, places: &NodePlaces) {
    let mut known: (Option<Instant>, Vec<Holder>) = (None, Vec::new());
    let mut wanted = true;
    loop {
        let began = Instant::now();
        if wanted || known.0.is_none_or(|at| at.elapsed() >= HOLDERS_EVERY) {
            let address = |pid| container::local_addresses(&places.process(pid));
            known = (Some(began), holders(&places.identity(), address));
        }
        shared.publish(read(places, known.1.clone()));
        if !shared.pause(AT_LEAST.max(began.elapsed() * REST)) {
            return;
        }
        match shared.wait(EVERY) {
            Some(now) => wanted = now,
            None => return,
        }
    }
}

fn read(places: &NodePlaces, holders: Vec<Holder>) -> RemoteFacts {
    let netns = |pid: &str| fs::read_link(places.proc_root().join(pid).join("ns/net")).ok();
    // Rules and addresses are those of the network that we are in.
    let (own, host) = (fs::read_link("/proc/self/ns/net").ok(), netns("1"));
    if own.is_none() || own != host {
        return RemoteFacts::new(None, &[], Vec::new(), Vec::new(), holders);
    }
    let host =
        host.and_then(|link| link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok());
    let process = places.process(1);
    let upstreams = RESOLV_CONF
        .iter()
        .filter_map(|path| container::read_file(&process, path, RESOLV_CONF_BYTES).ok())
        .flat_map(|text| ResolvConf::parse(&text).nameservers)
        .map(|server| server.address)
        .collect();
    RemoteFacts::new(host, &kernel::local_addresses(), kernel::service_names(), upstreams, holders)
}
