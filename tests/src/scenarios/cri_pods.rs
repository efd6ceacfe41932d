//! Pods that containerd makes through CRI, with the kubelet's cgroups, on a node whose
//! files tell nothing: only the runtime's socket names them. One is on the node's
//! network, one is a static pod, one comes while dnsprobe watches. Who does not ask the
//! socket knows their UIDs and no more.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

use super::stage::{LOST_AFTER, Stage};
use super::{Kernels, Outcome, Scenario};
use crate::client::{Report, keyed};
use crate::lab::cast::COREDNS_0;
use crate::lab::clients::options;
use crate::lab::containerd::{self, Containerd, Sandbox};
use crate::lab::dnsprobe::{Mode, Watch};
use crate::lab::kubelet::KubePod;
use crate::lab::process::Process;
use crate::lab::recording::Keep;
use crate::lab::shell::Namespace;
use crate::observed::Observed;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "cri-pods",
    about: "pods made through CRI are named by the runtime where no file tells of them",
    kernels: Kernels::All,
    exact_clock: false,
    run,
};

const QUERIES: u32 = 40;
const PAUSE_MS: u64 = 100;
/// What is asked before the runtime can have been asked for a new container.
const UNNAMED: u64 = QUERIES as u64 / 2;

/// Who asked, in which container, behind which workload.
type Asked = BTreeMap<(String, String, String), u64>;

fn run(stage: &Stage<'_>) -> Result<Outcome> {
    let directories = stage.node.directories();
    let runtime = Containerd::start()?;
    runtime.import_image()?;
    let pod = |namespace, name, number, network| {
        KubePod::create(directories, (namespace, name), number, network)
    };
    let own = || Namespace::Named(String::new());
    // Uneven numbers have the groups that a runtime without systemd makes; the one of
    // a static pod ends in nine.
    let cart = pod("shop", "cart-5d78c9869d-x2x8k", 1, own())?;
    let proxy = pod("kube-system", "kube-proxy-node", 9, Namespace::Own)?;
    let late = pod("batch", "late", 5, own())?;
    let hash = [("pod-template-hash", "5d78c9869d")];
    let make = |pod: &KubePod, labels: &[_]| runtime.sandbox(pod, &directories.cgroups, labels);
    let before = [(&cart, make(&cart, &hash)?), (&proxy, make(&proxy, &[])?)];

    let socket = watch(stage, containerd::SOCKET)?;
    let nobody = watch(stage, "none")?;
    // The first list is there.
    sleep(Duration::from_secs(2));
    let mut asked = Asked::new();
    let mut ask = |pod: &KubePod, sandbox: &Sandbox<'_>, names: &[&str], workload: &str| {
        let client = client(&stage.programs.lab, &pod.name)?;
        let containers: Vec<_> = names
            .iter()
            .map(|name| {
                let container = sandbox.create(pod, name, &client)?;
                container.start()?;
                anyhow::Ok((container, (*name).to_owned()))
            })
            .collect::<Result<_>>()?;
        for (container, name) in containers {
            let lines = container.finish()?;
            let report: Report =
                serde_json::from_str(lines.last().context("the client printed no report")?)?;
            asked.insert((pod.label(), name, workload.to_owned()), report.answered);
        }
        anyhow::Ok(())
    };
    for (pod, sandbox) in &before {
        match pod.name.as_str() {
            "kube-proxy-node" => ask(pod, sandbox, &["kube-proxy"], "")?,
            _ => ask(pod, sandbox, &["app", "side-car"], "Deployment cart labels")?,
        }
    }
    let sandbox = make(&late, &[])?;
    ask(&late, &sandbox, &["app"], "")?;
    let (socket, nobody) = (socket.finish()?, nobody.finish()?);
    sandbox.remove()?;
    before.into_iter().try_for_each(|(_, sandbox)| sandbox.remove())?;

    let pods = [&cart, &proxy, &late];
    let named = compare(&asked, &told(&socket));
    let unasked: Vec<String> = told(&nobody)
        .into_keys()
        .filter(|(label, ..)| pods.iter().any(|pod| *label == pod.label()))
        .map(|who| format!("who asked nobody knows {who:?}"))
        .collect();
    let by_uid = pods.iter().filter(|pod| {
        let label = format!("pod/{}", pod.uid());
        !told(&nobody).into_keys().any(|(told, ..)| told == label)
    });
    let by_uid: Vec<String> =
        by_uid.map(|pod| format!("who asked nobody does not tell of pod/{}", pod.uid())).collect();
    pods.iter().for_each(|pod| pod.remove());
    Ok(Outcome::default()
        .checked("every query of a pod made through CRI has its pod, container, workload", named)
        .checked("without the socket they are their UIDs", [unasked, by_uid].concat()))
}

/// One that watches a node without files that name pods.
fn watch(stage: &Stage<'_>, socket: &str) -> Result<Watch> {
    let directories = stage.node.directories();
    let empty = directories.run.join("no-files");
    fs::create_dir_all(&empty)?;
    let program = &stage.programs.dnsprobe;
    let mut command = Command::new(program);
    command.args(Watch::arguments(Mode::Trace, LOST_AFTER)).arg("--cri-socket").arg(socket);
    for option in ["--log-dir", "--run-dir"] {
        command.arg(option).arg(&empty);
    }
    let child = command
        .arg("--cgroup-root")
        .arg(&directories.cgroups)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let process = Process::new("dnsprobe", child);
    Watch::of(process, program, Mode::Trace, LOST_AFTER, Keep::default())
}

fn client(lab: &Path, key: &str) -> Result<Command> {
    let args = keyed::Args {
        key: key.to_owned(),
        server: COREDNS_0.address().into(),
        count: QUERIES,
        pause_ms: PAUSE_MS,
        timeout_ms: 1000,
        linger_ms: 0,
        own_network: false,
        cgroup: None,
    };
    let mut command = Command::new(lab);
    command.args(["client", "keyed"]).args(options(&args)?);
    Ok(command)
}

fn told(observed: &Observed) -> Asked {
    let mut told = Asked::new();
    for one in observed.transactions.iter().filter(|told| told.role == "client") {
        let container = one.owner.container_name.clone().unwrap_or_default();
        let workload = one.owner.workload.as_ref().map_or_else(String::new, |workload| {
            format!("{} {} {}", workload.kind, workload.name, workload.source)
        });
        *told.entry((one.owner.label.clone(), container, workload)).or_default() += 1;
    }
    told
}

/// What is wrong. The containers come while it is watched: some queries have no name,
/// until the runtime was asked.
fn compare(asked: &Asked, told: &Asked) -> Vec<String> {
    let mut problems = Vec::new();
    for (who, answered) in asked {
        let named = told.get(who).copied().unwrap_or(0);
        let right = UNNAMED..=*answered;
        if *answered != u64::from(QUERIES) || !right.contains(&named) {
            problems.push(format!("{who:?}: {answered} answered, {named} told: {told:?}"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_owner_and_a_name_too_late_are_found() {
        let who = |label: &str| (label.to_owned(), "app".to_owned(), String::new());
        let asked: Asked = [(who("batch/late"), QUERIES.into())].into();
        let problems =
            |label: &str, named: u64| compare(&asked, &[(who(label), named)].into()).len();
        let all = u64::from(QUERIES);
        assert_eq!(
            [all, UNNAMED, UNNAMED - 1, all + 1].map(|n| problems("batch/late", n)),
            [0, 0, 1, 1]
        );
        assert_eq!(problems("shop/other", all), 1);
    }
}
