//! `dnsprobe check`: is the set-up of the node or of a pod the problem?

use std::{
    collections::BTreeSet,
    io::{self, Write},
    net::IpAddr,
    sync::Arc,
};

use anyhow::{bail, ensure};
use clap::Args;

use super::{EXIT_FOUND, EXIT_OK, Format, NodePlaces, conntrack_owners};
use crate::{
    dns::resolv_conf::{MAX_BYTES, ResolvConf},
    identity::{Identity, Owner, RunningContainer},
    kernel::{self, Services, container},
    output::{Terminal, check},
    setup::{self, Container, Report, ResolvConfFile, Unread},
};

const RESOLV_CONF: &str = "etc/resolv.conf";
/// Holds a pod's namespaces and asks no names; it may lack the file.
const SANDBOX_COMMAND: &str = "pause";

/// Looks for what is wrong with the set-up of this node and its pods, without
/// watching any traffic: settings, conntrack table, IPVS, kernel bugs, and each
/// pod's resolv.conf. Reads only; changes and sends nothing.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Exit codes: 0 nothing is wrong (notes may be printed); 1 something is; 2 could not run.

Examples:
  dnsprobe check
  dnsprobe check --pod cart-0 -o json
  dnsprobe check --pid 4711 --pid 4712")]
pub(super) struct Options {
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Look at this pod only (its name), beside the node.
    #[arg(long, value_name = "NAME", conflicts_with = "pid")]
    pod: Option<String>,
    /// Look at this process only, in a pod or not, beside the node; repeatable.
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    #[command(flatten)]
    node: NodePlaces,
}

pub(super) fn run(options: &Options) -> anyhow::Result<u8> {
    let mut identity = options.node.identity_now();
    let mut unread = Vec::new();
    let all = identity.containers();
    let chosen = choose(options, &all, &mut identity)?;
    if chosen.is_empty() {
        let reason = "no process is in a cgroup of the kubelet's".to_owned();
        unread.push(Unread { what: "pods".to_owned(), reason });
    }

    let services = Services::read();
    unread.extend(
        services
            .unreadable()
            .iter()
            .map(|(source, reason)| Unread { what: source.to_string(), reason: reason.clone() }),
    );
    let mut node = kernel::node_facts(&services, &mut unread);
    conntrack_owners(options, &mut node.conntrack, &all, identity.host_netns(), &mut unread);
    let containers: Vec<Container> =
        chosen.iter().filter_map(|running| look_at(options, running, &mut unread)).collect();
    let pods: BTreeSet<&Owner> = containers.iter().map(|container| &*container.owner).collect();
    let report = Report {
        pods: pods.len(),
        containers: containers.len(),
        findings: setup::judge(&node, &containers),
        node,
        unread,
    };
    let text = match options.output {
        Format::Json => check::to_json(&report)? + "\n",
        Format::Table => check::to_text(&report, &Terminal::of_stdout()),
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(if report.has_problems() { EXIT_FOUND } else { EXIT_OK })
}

/// The containers that are asked for.
fn choose(
    options: &Options,
    all: &[RunningContainer],
    identity: &mut Identity,
) -> anyhow::Result<Vec<RunningContainer>> {
    if let Some(wanted) = &options.pod {
        let is_wanted = |owner: &Owner| {
            matches!(owner, Owner::Pod { pod: Some(pod), .. } if pod == wanted)
                || owner.to_string() == *wanted
        };
        let chosen: Vec<_> = all.iter().filter(|c| is_wanted(&c.owner)).cloned().collect();
        ensure!(
            !chosen.is_empty(),
            "no pod {wanted} runs on this node; `dnsprobe check` looks at all"
        );
        return Ok(chosen);
    }
    if options.pid.is_empty() {
        return Ok(all.to_vec());
    }
    let find = |pid: &u32| match identity.container_of(*pid) {
        Some(container) => Ok(container),
        None => bail!("there is no process {pid}, or it cannot be looked at; are you root?"),
    };
    options.pid.iter().map(find).collect()
}

/// `None` for a sandbox without the file, and for what could not be read.
fn look_at(
    options: &Options,
    running: &RunningContainer,
    unread: &mut Vec<Unread>,
) -> Option<Container> {
    let pid = *running.pids.first()?;
    let process = options.node.process(pid);
    // One byte more, so that a file that is too long is seen to be.
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let resolv_conf = match container::read_file(&process, RESOLV_CONF, limit) {
        Ok(content) => ResolvConfFile::Read(ResolvConf::parse(&content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if running.command == SANDBOX_COMMAND {
                return None;
            }
            ResolvConfFile::Missing
        }
        Err(error) => {
            let what = format!("/{RESOLV_CONF} of {} (pid {pid})", running.owner);
            unread.push(Unread { what, reason: error.to_string() });
            return None;
        }
    };
    let servers: Vec<IpAddr> = match &resolv_conf {
        ResolvConfFile::Read(conf) => {
            conf.nameservers.iter().map(|server| server.address).collect()
        }
        ResolvConfFile::Missing => Vec::new(),
    };
    Some(Container {
        owner: Arc::clone(&running.owner),
        pid,
        resolv_conf,
        library: container::library(running.pids.iter().map(|pid| options.node.process(*pid))),
        reachability: container::reachability(&process, &servers),
    })
}

/// Fills in whose the conntrack entries are.
fn conntrack_owners(
    options: &Options,
    conntrack: &mut setup::Conntrack,
    all: &[RunningContainer],
    host_netns: Option<u32>,
    unread: &mut Vec<Unread>,
) {
    match conntrack_owners::read(&options.node, all, host_netns) {
        Ok(Some(found)) => {
            conntrack.owners = found.owners;
            conntrack.others = Some(found.others);
        }
        Ok(None) => {}
        Err(error) => {
            let what = "conntrack entries".to_owned();
            unread.push(Unread { what, reason: error.to_string() });
        }
    }
}
