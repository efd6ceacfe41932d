//! The hard cases, one function each. All of them only ask; who was right is
//! found out afterwards.

use std::fs;
use std::process::Command;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::bench::{Bench, queries};
use super::truth::Who;
use crate::client::keyed;
use crate::lab::cast::{API, CART, COREDNS_0, FRONTEND, VICTIM, WEB_V6, WORKER};
use crate::lab::containerd::Containerd;
use crate::lab::firewall::Rules;
use crate::lab::kubelet::{Container, KubePod};
use crate::lab::pod;
use crate::lab::process::AMPLE;
use crate::lab::server;
use crate::lab::shell::Namespace;
use crate::lab::spec::Spec;

/// Pods that stay, each with two containers.
pub(super) struct Steady(Vec<(KubePod, [Container; 2])>);

const STEADY: [(&str, &str, Spec); 4] = [
    ("shop", "cart-5d78c9869d-x2x8k", CART),
    ("shop", "api-0", API),
    ("batch", "report-7bk2d", VICTIM),
    ("legacy", "worker", WORKER),
];

impl Steady {
    pub(super) fn create(bench: &mut Bench<'_>) -> Result<Self> {
        let mut pods = Vec::new();
        for (namespace, name, spec) in STEADY {
            let pod = bench.pod(namespace, name, &spec)?;
            let containers = [pod.container("app", 0)?, pod.container("side-car", 0)?];
            pods.push((pod, containers));
        }
        Ok(Self(pods))
    }

    /// Every container asks at the same time.
    pub(super) fn ask(
        &self,
        bench: &mut Bench<'_>,
        check: &'static str,
        args: &keyed::Args,
    ) -> Result<()> {
        let mut askers = Vec::new();
        for (pod, containers) in &self.0 {
            for container in containers {
                askers.push(bench.ask(check, pod, container, args)?);
            }
        }
        askers.into_iter().try_for_each(|asker| bench.finish(asker))
    }
}

/// A pod with one container.
fn single(
    bench: &mut Bench<'_>,
    namespace: &str,
    name: &str,
    network: Namespace,
) -> Result<(KubePod, Container)> {
    let pod = bench.pod_in(namespace, name, network)?;
    let container = pod.container("app", 0)?;
    Ok((pod, container))
}

fn remove(pod: &KubePod, container: &Container) {
    container.remove();
    pod.remove();
}

/// Queries, and then answers, are dropped in softirq by a rule of the node.
pub(super) fn softirq_drops(bench: &mut Bench<'_>, steady: &Steady) -> Result<()> {
    let (client, server) = (CART.address(), COREDNS_0.address());
    let args = keyed::Args { timeout_ms: 50, ..queries(10, Duration::from_millis(20)) };
    for rule in [
        format!("-A FORWARD -s {client} -p udp --dport 53 -j DROP"),
        format!("-A FORWARD -s {server} -d {client} -p udp --sport 53 -j DROP"),
    ] {
        Rules::default().rule("filter", rule).load(bench.node)?;
        steady.ask(bench, "softirq-drops", &args)?;
    }
    Rules::default().load(bench.node)
}

/// Pods on the host's network, a unit and a container outside pods, all at once.
pub(super) fn host_network(bench: &mut Bench<'_>) -> Result<()> {
    let args = queries(50, Duration::from_millis(10));
    let pods = [
        single(bench, "kube-system", "kube-proxy-k7x2b", Namespace::Own)?,
        single(bench, "monitoring", "agent-x9z4c", Namespace::Own)?,
    ];
    let mut askers = Vec::new();
    for (pod, container) in &pods {
        askers.push(bench.ask("host-network", pod, container, &args)?);
    }
    let key = bench.truth.key("host-network", Who::named("host/lab-backup.service"));
    let unit = bench.node.spawn_on_host("lab-backup.service", bench.client(key, &args)?)?;
    askers.push(bench.asker(key, unit));

    let id = "d0c4e7".repeat(11)[..64].to_owned();
    let state = format!("/var/lib/docker/containers/{id}");
    fs::create_dir_all(&state)?;
    fs::write(format!("{state}/config.v2.json"), r#"{"Name":"/registry","Config":{}}"#)?;
    let key = bench.truth.key("host-network", Who::named("container/registry"));
    let scope = format!("docker-{id}.scope");
    let container = bench.node.spawn_on_host(&scope, bench.client(key, &args)?)?;
    askers.push(bench.asker(key, container));
    askers.into_iter().try_for_each(|asker| bench.finish(asker))?;
    pods.iter().for_each(|(pod, container)| remove(pod, container));
    Ok(())
}

/// Pods that containerd and runc make, asked through CRI as the kubelet does.
pub(super) fn real_runtime(bench: &mut Bench<'_>) -> Result<()> {
    let runtime = Containerd::start()?;
    runtime.import_image()?;
    let cgroups = bench.node.directories().cgroups.clone();
    let args = queries(50, Duration::from_millis(10));
    let mut ran = Vec::new();
    let pods = [
        ("web-6b7f8d9c5-t4k2z", Namespace::Named(String::new())),
        ("db-1", Namespace::Named(String::new())),
        ("node-agent-x7k2b", Namespace::Own),
    ];
    for (name, network) in pods {
        bench.next_is_for_cgroupfs();
        let pod = bench.pod_in("prod", name, network)?;
        let sandbox = runtime.sandbox(&pod, &cgroups, &[])?;
        let mut containers = Vec::new();
        for name in ["app", "exporter"] {
            let key = bench.truth.key("containerd", Who::named(&pod.label()));
            let container = sandbox.create(&pod, name, &bench.client(key, &args)?)?;
            bench.truth.is_in(key, (container.id.clone(), name.to_owned()));
            containers.push((key, container));
        }
        // All at once.
        containers.iter().try_for_each(|(_, container)| container.start())?;
        ran.push((pod, sandbox, containers));
    }
    for (pod, sandbox, containers) in ran {
        for (key, container) in containers {
            bench.printed(key, &container.finish()?)?;
        }
        sandbox.remove()?;
        pod.remove();
    }
    Ok(())
}

/// Two containers of one pod in one process namespace.
pub(super) fn shared_processes(bench: &mut Bench<'_>) -> Result<()> {
    let pod = bench.pod("shop", "debugged", &FRONTEND)?;
    let [pause, app, tools] =
        [pod.container("pause", 0)?, pod.container("app", 0)?, pod.container("tools", 0)?];
    let mut sleeper = Command::new("unshare");
    sleeper.args(["--pid", "--fork", "--kill-child", "sleep", "1000"]);
    let holder = pause.spawn(sleeper)?;
    let inside = holder.only_child(AMPLE)?;
    let args = queries(50, Duration::from_millis(10));
    let mut askers = Vec::new();
    for container in [&app, &tools] {
        let key = bench.truth.key("shared-process-namespace", Who::of(&pod, container));
        let client = bench.client(key, &args)?;
        let mut command = Command::new("nsenter");
        command.args(["--pid", "-t", &inside.to_string(), "--"]);
        command.arg(client.get_program()).args(client.get_args());
        let process = container.spawn(command)?;
        askers.push(bench.asker(key, process));
    }
    askers.into_iter().try_for_each(|asker| bench.finish(asker))?;
    drop(holder);
    [pause, app, tools].iter().for_each(Container::remove);
    pod.remove();
    Ok(())
}

/// A container asks the one beside it, which asks the server.
pub(super) fn proxying_sidecar(bench: &mut Bench<'_>) -> Result<()> {
    let pod = bench.pod("shop", "meshed", &WEB_V6)?;
    let (app, proxy) = (pod.container("app", 0)?, pod.container("proxy", 0)?);
    let options = server::Options {
        upstream: Some(COREDNS_0.address()),
        knows_nothing: true,
        ..server::Options::default()
    };
    let forwarder = server::serving(proxy.spawn(server::command(&options))?)?;
    let local = std::net::Ipv4Addr::LOCALHOST.into();
    let args = keyed::Args { server: local, ..queries(50, Duration::from_millis(10)) };
    let key = bench.truth.key("proxying-sidecar", Who::of(&pod, &app));
    bench.truth.passed_on_by(key, Who::of(&pod, &proxy));
    let process = app.spawn(bench.client(key, &args)?)?;
    let asker = bench.asker(key, process);
    bench.finish(asker)?;
    drop(forwarder);
    [app, proxy].iter().for_each(Container::remove);
    pod.remove();
    Ok(())
}

/// Pods whose queries are still unanswered when everything of them is gone.
pub(super) fn deleted_in_flight(bench: &mut Bench<'_>) -> Result<()> {
    let drop_all = format!("-A FORWARD -s {} -p udp --dport 53 -j DROP", VICTIM.address());
    Rules::default().rule("filter", drop_all).load(bench.node)?;
    for name in ["gone-0", "gone-1", "gone-2"] {
        let network = Namespace::Named(VICTIM.netns());
        let (pod, container) = single(bench, "batch", name, network)?;
        let args = keyed::Args { timeout_ms: 1, ..queries(10, Duration::from_millis(2)) };
        let asker = bench.ask("deleted-in-flight", &pod, &container, &args)?;
        bench.finish(asker)?;
        remove(&pod, &container);
    }
    // Until the last is counted as lost.
    sleep(super::LOST_AFTER + Duration::from_millis(500));
    Rules::default().load(bench.node)
}

/// Pods that have the network namespace, and so the address, of the one before,
/// which ended that moment.
pub(super) fn reused_address(bench: &mut Bench<'_>) -> Result<()> {
    for number in 0..20 {
        let network = Namespace::Named(VICTIM.netns());
        let (pod, container) = single(bench, "batch", &format!("turn-{number}"), network)?;
        let args = queries(5, Duration::from_millis(5));
        let asker = bench.ask("reused-address", &pod, &container, &args)?;
        bench.finish(asker)?;
        remove(&pod, &container);
    }
    Ok(())
}

/// A container that ends and comes back under another id, five times.
pub(super) fn restarted_container(bench: &mut Bench<'_>) -> Result<()> {
    let pod = bench.pod("shop", "crashing", &FRONTEND)?;
    for restart in 0..6 {
        let container = pod.container("app", restart)?;
        let args = queries(10, Duration::from_millis(5));
        let asker = bench.ask("restarted-container", &pod, &container, &args)?;
        bench.finish(asker)?;
        container.remove();
    }
    pod.remove();
    Ok(())
}

/// Pods that live for as long as it takes to ask four times in 200 ms, every
/// fourth in a network of its own, the others on the host's: making a namespace is
/// most of what an emulated processor can do in the time.
pub(super) fn short_lived(bench: &mut Bench<'_>, pods: u32, per_second: u32) -> Result<f64> {
    let pause = Duration::from_secs(1) / per_second;
    let start = Instant::now();
    let mut alive = Vec::new();
    for number in 0..pods {
        let due = start + pause * number;
        sleep(due.saturating_duration_since(Instant::now()));
        let name = format!("short-{number}");
        let (pod, container) = single(bench, "batch", &name, Namespace::Own)?;
        let args = keyed::Args {
            own_network: number.is_multiple_of(4),
            linger_ms: 20,
            // To start it there copies the lab's own memory map, which takes most
            // of an emulated processor at this rate.
            cgroup: Some(container.cgroup().to_owned()),
            ..queries(4, Duration::from_millis(60))
        };
        let key = bench.truth.key("short-lived", Who::of(&pod, &container));
        let process = pod::spawn_here(bench.client(key, &args)?)?;
        alive.push(thread::spawn(move || {
            let report = super::bench::report(&process.finish(AMPLE)?);
            remove(&pod, &container);
            report.map(|report| (key, report.sent))
        }));
    }
    let rate = f64::from(pods) / start.elapsed().as_secs_f64();
    for pod in alive {
        let (key, sent) = pod.join().map_err(|_| anyhow::anyhow!("a pod's thread panicked"))??;
        bench.truth.sent(key, sent);
    }
    Ok(rate)
}

/// Many pods at once.
pub(super) fn many(bench: &mut Bench<'_>, pods: u32) -> Result<()> {
    let mut alive = Vec::new();
    for number in 0..pods {
        let name = format!("many-{number}");
        let (pod, container) = single(bench, "scale", &name, Namespace::Own)?;
        let args = keyed::Args {
            own_network: number % 2 == 1,
            // Until all the others are there.
            linger_ms: 15_000,
            ..queries(4, Duration::from_millis(1500))
        };
        let asker = bench.ask("500-pods", &pod, &container, &args)?;
        alive.push((pod, container, asker));
    }
    for (pod, container, asker) in alive {
        bench.finish(asker)?;
        remove(&pod, &container);
    }
    Ok(())
}

/// What a flood of groups did.
pub(super) struct Flood {
    pub(super) per_second: f64,
    pub(super) grown_kib: i64,
    pub(super) resident_kib: i64,
}

/// Pod groups made and removed, a thousand each second, while steady pods ask.
pub(super) fn flood(bench: &mut Bench<'_>, steady: &Steady, watcher: i32) -> Result<Flood> {
    const PER_SECOND: u32 = 1000;
    const SECONDS: u32 = 10;
    let before = resident_kib(watcher)?;
    let parent = bench.node.directories().cgroups.join("kubepods.slice");
    let start = Instant::now();
    let making = thread::spawn(move || -> Result<f64> {
        for number in 0..PER_SECOND * SECONDS {
            let due = start + Duration::from_secs(1) / PER_SECOND * number;
            sleep(due.saturating_duration_since(Instant::now()));
            let group = parent.join(format!("kubepods-podf100d000_{number:04}.slice"));
            fs::create_dir(&group).with_context(|| format!("cannot make {}", group.display()))?;
            fs::remove_dir(&group)?;
        }
        Ok(f64::from(PER_SECOND * SECONDS) / start.elapsed().as_secs_f64())
    });
    steady.ask(bench, "cgroup-flood", &queries(100, Duration::from_millis(100)))?;
    let per_second = making.join().map_err(|_| anyhow::anyhow!("the flood panicked"))??;
    steady.ask(bench, "cgroup-flood", &queries(10, Duration::from_millis(10)))?;
    let resident_kib = resident_kib(watcher)?;
    Ok(Flood { per_second, grown_kib: resident_kib - before, resident_kib })
}

/// Memory of its own that a process has resident. What is mapped from files, its
/// program above all, comes and goes with the page cache.
fn resident_kib(pid: i32) -> Result<i64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    kib.with_context(|| format!("process {pid} has no memory"))
}
