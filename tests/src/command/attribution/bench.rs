//! What every check works with: the node, the programs, and the truth.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::truth::{Truth, Who};
use crate::client::{Report, keyed};
use crate::lab::cast::COREDNS_0;
use crate::lab::clients::options;
use crate::lab::kubelet::{Container, KubePod};
use crate::lab::process::{AMPLE, Process};
use crate::lab::shell::Namespace;
use crate::lab::spec::Spec;
use crate::lab::{Node, Programs};

/// The node and what is known of it.
pub(super) struct Bench<'a> {
    pub(super) node: &'a Node,
    pub(super) programs: &'a Programs,
    pub(super) truth: Truth,
    next: u32,
}

/// A client that asks.
pub(super) struct Asker {
    key: usize,
    process: Process,
}

impl<'a> Bench<'a> {
    pub(super) fn new(node: &'a Node, programs: &'a Programs) -> Self {
        Self { node, programs, truth: Truth::default(), next: 0 }
    }

    /// A new pod in the network of one of the node's pods.
    pub(super) fn pod(&mut self, namespace: &str, name: &str, spec: &Spec) -> Result<KubePod> {
        self.pod_in(namespace, name, Namespace::Named(spec.netns()))
    }

    /// A new pod in some network.
    pub(super) fn pod_in(
        &mut self,
        namespace: &str,
        name: &str,
        network: Namespace,
    ) -> Result<KubePod> {
        let number = self.number();
        KubePod::create(self.node.directories(), (namespace, name), number, network)
    }

    /// The next pod is one whose groups no systemd has to make.
    pub(super) fn next_is_for_cgroupfs(&mut self) {
        self.next += self.next % 2;
    }

    /// A number that no pod has yet.
    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// The command of a client, with a key for it.
    pub(super) fn client(&self, key: usize, args: &keyed::Args) -> Result<Command> {
        let args = keyed::Args { key: format!("k{key}"), ..args.clone() };
        let mut command = Command::new(&self.programs.lab);
        command.args(["client", "keyed"]).args(options(&args)?);
        Ok(command)
    }

    /// Start asking in a pod's container.
    pub(super) fn ask(
        &mut self,
        check: &'static str,
        pod: &KubePod,
        container: &Container,
        args: &keyed::Args,
    ) -> Result<Asker> {
        let key = self.truth.key(check, Who::of(pod, container));
        let process = container.spawn(self.client(key, args)?)?;
        Ok(Asker { key, process })
    }

    /// Take charge of a client that was started otherwise.
    pub(super) fn asker(&self, key: usize, process: Process) -> Asker {
        Asker { key, process }
    }

    /// Wait for its end and count what it asked.
    pub(super) fn finish(&mut self, asker: Asker) -> Result<()> {
        self.printed(asker.key, &asker.process.finish(AMPLE)?)
    }

    /// Count what a client asked, as it printed at its end.
    pub(super) fn printed(&mut self, key: usize, lines: &[String]) -> Result<()> {
        self.truth.sent(key, report(lines)?.sent);
        Ok(())
    }
}

/// What a client printed at its end.
pub(super) fn report(lines: &[String]) -> Result<Report> {
    let line = lines.last().context("the client printed no report")?;
    Ok(serde_json::from_str(line)?)
}

/// Queries to the cluster's first server, one each `pause`.
pub(super) fn queries(count: u32, pause: Duration) -> keyed::Args {
    keyed::Args {
        key: String::new(),
        server: COREDNS_0.address().into(),
        count,
        pause_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
        timeout_ms: 1000,
        linger_ms: 0,
        own_network: false,
        cgroup: None,
    }
}
