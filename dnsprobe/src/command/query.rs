//! `dnsprobe query`: asks every DNS server from where a pod stands.

use std::{
    ffi::OsStr,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;

use super::{EXIT_FOUND, EXIT_OK, Format, NodePlaces, positive_duration};
use crate::{
    dns::{
        Name, QType,
        resolv_conf::{self, Effective, Libc, ResolvConf},
    },
    identity::{Owner, escape, find_pod},
    kernel::{Services, container},
    output::{Terminal, query as output},
    query::{self, Conclusion, Place, Target, Task},
};

const PORT: u16 = 53;
const RESOLV_CONF: &str = "etc/resolv.conf";
/// Servers and backends that are asked at most; the rest is counted.
const TARGETS: usize = 64;

/// Asks DNS servers from inside a pod's network namespace and says where it
/// breaks: the configured nameservers, and each backend behind a service
/// address by itself.
///
/// Sends real queries, as the C library does: without EDNS, each from a port
/// of its own, with a random id. Only the thread that asks enters the
/// namespace. Backends are those of this node's IPVS, iptables and nftables.
/// A server that gives no answer over UDP is asked once over TCP.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Exit codes: 0 nothing is wrong; 1 something is broken; 2 could not run.

Needs root, or CAP_SYS_ADMIN and CAP_SYS_PTRACE, to ask from another namespace, and CAP_NET_ADMIN \
to find the backends.

Examples:
  dnsprobe query cart.shop.svc.cluster.local --pod shop/frontend-0
  dnsprobe query example.com --pod coredns-5d78c-x --server 192.0.2.53 --count 10
  dnsprobe query kubernetes.default --netns 4711 --type AAAA -o json
  dnsprobe query example.com --tcp             from this namespace, UDP and TCP")]
pub(super) struct Options {
    /// The name; without a dot at its end the search list applies.
    name: String,
    /// Record type: a mnemonic or a number.
    #[arg(long = "type", default_value = "A", value_name = "TYPE")]
    qtype: QType,
    /// Ask from this pod: POD, NAMESPACE/POD or pod/UID.
    #[arg(long, conflicts_with = "netns")]
    pod: Option<String>,
    /// Ask from this network namespace: a path or a process id.
    #[arg(long, value_name = "PATH|PID")]
    netns: Option<String>,
    /// Ask this server instead of those of resolv.conf; may be repeated.
    #[arg(long, value_parser = parse_server, value_name = "ADDRESS[:PORT]")]
    server: Vec<SocketAddr>,
    /// Ask over TCP too.
    #[arg(long)]
    tcp: bool,
    /// Queries per server.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    count: u16,
    /// How long to wait for each answer.
    #[arg(long, value_parser = positive_duration, default_value = "2s", value_name = "TIME")]
    timeout: Duration,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    node: NodePlaces,
}

fn parse_server(text: &str) -> Result<SocketAddr, String> {
    let address = text.trim_start_matches('[').trim_end_matches(']');
    text.parse()
        .or_else(|_| address.parse::<IpAddr>().map(|address| SocketAddr::new(address, PORT)))
        .map_err(|_| "not an address; use 10.96.0.10, 10.96.0.10:5353 or [fd00::a]:53".to_owned())
}

/// Where to ask from, and what is configured there.
struct From {
    place: Place,
    owner: Option<Arc<Owner>>,
    /// What was entered; `None`: dnsprobe's own namespace.
    path: Option<PathBuf>,
    conf: io::Result<ResolvConf>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<u8> {
    let given: Name = options
        .name
        .parse()
        .with_context(|| format!("{} is no domain name", escape(options.name.as_bytes())))?;
    let from = whence(options)?;
    let effective = match (&from.conf, options.server.is_empty()) {
        (Ok(conf), _) => Some(conf.effective(Libc::Glibc)),
        (Err(error), true) => {
            bail!("cannot read resolv.conf there: {error}; give servers with --server")
        }
        (Err(_), false) => None,
    };
    let names = match &effective {
        Some(effective) => effective.names(&options.name, Libc::Glibc)?,
        None => vec![given.clone()],
    };
    let servers = servers(options, effective.as_ref(), &from.place)?;
    let services = Services::read();
    let mut targets = targets(&servers, &services);
    let not_asked = targets.len().saturating_sub(TARGETS);
    targets.truncate(TARGETS);
    let task = Task {
        name: given,
        names,
        qtype: options.qtype,
        targets,
        tcp: options.tcp,
        count: options.count,
        timeout: options.timeout,
    };
    eprintln!(
        "dnsprobe: asking {} servers, {} queries each, up to {} for each answer",
        task.targets.len(),
        task.count,
        humantime::format_duration(task.timeout)
    );
    let measured = from.place.run(|| query::measure(&task))?;
    let conclusions = query::conclude(&measured.measurements);
    let report = output::Report {
        typed: &options.name,
        owner: from.owner.as_deref(),
        netns: from.path.as_deref(),
        resolver: effective.as_ref(),
        measured: &measured,
        not_asked,
        unreadable: services.unreadable(),
        conclusions: &conclusions,
    };
    let text = match options.output {
        Format::Json => output::json(&report)?,
        Format::Table => output::text(&report, &Terminal::of_stdout()),
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    let broken = conclusions.iter().any(Conclusion::is_fault);
    Ok(if broken { EXIT_FOUND } else { EXIT_OK })
}

/// Finds the namespace and its configuration.
fn whence(options: &Options) -> anyhow::Result<From> {
    if let Some(wanted) = &options.pod {
        let mut identity = options.node.identity_now();
        let pods = identity.pods();
        let pod = find_pod(&pods, wanted)?;
        return of_processes(options, &pod.processes, Some(Arc::clone(&pod.owner)));
    }
    let Some(netns) = &options.netns else {
        let (place, conf) = (Place::here(), read_conf(Path::new(OWN_PROCESS), RESOLV_CONF));
        return Ok(From { place, owner: None, path: None, conf });
    };
    if let Ok(pid) = netns.parse() {
        return of_processes(options, &[pid], None);
    }
    let path = PathBuf::from(netns);
    Ok(From {
        place: Place::open(&path)?,
        owner: None,
        conf: read_named_conf(&path),
        path: Some(path),
    })
}

/// The namespace of the first process, and the configuration of the first that
/// has one: containers of a pod share both, but some have no files.
fn of_processes(
    options: &Options,
    processes: &[u32],
    owner: Option<Arc<Owner>>,
) -> anyhow::Result<From> {
    let first = processes.first().context("the pod has no process")?;
    let path = options.node.process(*first).join("ns/net");
    let place = Place::open(&path)?;
    let mut conf = Err(io::Error::from(io::ErrorKind::NotFound));
    for process in processes {
        conf = read_conf(&options.node.process(*process), RESOLV_CONF);
        if conf.as_ref().is_ok_and(|conf| !conf.nameservers.is_empty()) {
            break;
        }
    }
    Ok(From { place, owner, path: Some(path), conf })
}

/// Our own directory in `/proc`.
const OWN_PROCESS: &str = "/proc/self";

/// A file as a process sees it.
fn read_conf(process: &Path, file: &str) -> io::Result<ResolvConf> {
    // One byte more tells that it was cut.
    let limit = resolv_conf::MAX_BYTES as u64 + 1;
    Ok(ResolvConf::parse(&container::read_file(process, file, limit)?))
}

/// `ip netns` keeps files of a named namespace in `/etc/netns/NAME`
/// (ip-netns(8)).
fn read_named_conf(path: &Path) -> io::Result<ResolvConf> {
    let named =
        ["/run/netns", "/var/run/netns"].iter().any(|dir| path.parent() == Some(Path::new(dir)));
    let name = path.file_name().and_then(OsStr::to_str).filter(|_| named);
    let name = name.ok_or(io::ErrorKind::NotFound)?;
    read_conf(Path::new(OWN_PROCESS), &format!("etc/netns/{name}/resolv.conf"))
}

/// The servers to ask: those given, else those that the C library asks.
fn servers(
    options: &Options,
    effective: Option<&Effective>,
    place: &Place,
) -> anyhow::Result<Vec<SocketAddr>> {
    let configured = match effective {
        Some(effective) if options.server.is_empty() => &effective.nameservers,
        _ => return Ok(options.server.clone()),
    };
    if configured.is_empty() {
        return Ok(vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT)]);
    }
    configured
        .iter()
        .map(|nameserver| {
            let address = SocketAddr::new(nameserver.address, PORT);
            let Some(scope) = &nameserver.scope else { return Ok(address) };
            // The interface's index is that of the namespace.
            let scoped = place.run(|| async { query::scoped(address, scope) })?;
            scoped.with_context(|| format!("no interface {scope}, which {address} needs"))
        })
        .collect()
}

/// Servers first, each once, then the backends behind them.
fn targets(servers: &[SocketAddr], services: &Services) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    for &address in servers {
        if targets.iter().all(|target| target.address != address) {
            let service =
                !services.backends(address).is_empty() || services.is_ipvs_service(address);
            targets.push(Target { address, backend_of: Vec::new(), service, drained: false });
        }
    }
    for &service in servers {
        let mut backends = services.backends(service);
        backends.sort_by_key(|backend| backend.address);
        for backend in backends {
            let drained = backend.weight == Some(0);
            match targets.iter_mut().find(|target| target.address == backend.address) {
                Some(target) => {
                    target.drained &= drained;
                    if !target.backend_of.contains(&service) {
                        target.backend_of.push(service);
                    }
                }
                None => targets.push(Target {
                    address: backend.address,
                    backend_of: vec![service],
                    service: false,
                    drained,
                }),
            }
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_addresses_with_or_without_a_port() {
        for (text, address) in [
            ("10.96.0.10", "10.96.0.10:53"),
            ("10.96.0.10:5353", "10.96.0.10:5353"),
            ("fd00::a", "[fd00::a]:53"),
            ("[fd00::a]", "[fd00::a]:53"),
            ("[fd00::a]:5353", "[fd00::a]:5353"),
        ] {
            assert_eq!(parse_server(text).unwrap().to_string(), address);
        }
        assert!(parse_server("dns.example").is_err());
    }

    #[test]
    fn each_server_is_asked_once() {
        let server = "192.0.2.1:53".parse().unwrap();
        assert_eq!(targets(&[server, server], &Services::default()).len(), 1);
    }
}
