//! Starting clients in pods and reading what they measured.

use std::io::Write;
use std::process::{ChildStdin, Command};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::pod::Pod;
use super::process::{AMPLE, Process};
use super::{Node, Programs};
use crate::client::resolver::{Lookups, Resolver};
use crate::client::{Report, forge, hostile, pair, preempt, query, spray, steady, tcp};

/// A client that runs.
#[derive(Debug)]
pub struct Client {
    process: Process,
    reads: Reads,
}

/// How its output is to be read.
#[derive(Clone, Copy, Debug)]
enum Reads {
    Report,
    Lookups { queries_per_lookup: u64 },
}

/// A look-up that takes this long has asked again: glibc and Go after 5 s,
/// musl after 2.5 s.
const FIRST_RETRY_SECONDS: f64 = 2.4;

impl Programs {
    /// Ask from `pod` one query after the other.
    pub fn query(&self, pod: &Pod, args: &query::Args) -> Result<Client> {
        self.measuring(pod, "query", args)
    }

    /// Ask from `pod` in A/AAAA pairs.
    pub fn pair(&self, pod: &Pod, args: &pair::Args) -> Result<Client> {
        self.measuring(pod, "pair", args)
    }

    /// Ask from `pod` in A/AAAA pairs at an even rate.
    pub fn steady(&self, pod: &Pod, args: &steady::Args) -> Result<Client> {
        self.measuring(pod, "steady", args)
    }

    /// Ask from `pod` over TCP.
    pub fn tcp(&self, pod: &Pod, args: &tcp::Args) -> Result<Client> {
        self.measuring(pod, "tcp", args)
    }

    /// Ask from `pod` with a thread that takes the processor from the other.
    pub fn preempt(&self, pod: &Pod, args: &preempt::Args) -> Result<Client> {
        self.measuring(pod, "preempt", args)
    }

    /// Open many flows from `pod` that nobody answers.
    pub fn spray(&self, pod: &Pod, args: &spray::Args) -> Result<Client> {
        self.measuring(pod, "spray", args)
    }

    /// Send broken messages from `pod`.
    pub fn hostile(&self, pod: &Pod, args: &hostile::Args) -> Result<Client> {
        self.measuring(pod, "hostile", args)
    }

    /// Answer from `pod` what was not put to it.
    pub fn forge(&self, pod: &Pod, args: &forge::Args) -> Result<Client> {
        self.measuring(pod, "forge", args)
    }

    /// Ask from the node itself, outside any pod, as a unit of that name.
    pub fn query_on_host(&self, node: &Node, unit: &str, args: &query::Args) -> Result<Client> {
        let process = node.spawn_on_host(unit, self.measuring_command("query", args)?)?;
        Ok(Client { process, reads: Reads::Report })
    }

    /// Ask from `pod` as if it had `hostNetwork: true`.
    pub fn query_on_host_network(&self, pod: &Pod, args: &query::Args) -> Result<Client> {
        let process = pod.spawn_on_host_network(self.measuring_command("query", args)?)?;
        Ok(Client { process, reads: Reads::Report })
    }

    fn measuring(&self, pod: &Pod, kind: &str, args: &impl Serialize) -> Result<Client> {
        let process = pod.spawn(self.measuring_command(kind, args)?)?;
        Ok(Client { process, reads: Reads::Report })
    }

    /// `lab client KIND` with every field of `args` as its option.
    fn measuring_command(&self, kind: &str, args: &impl Serialize) -> Result<Command> {
        let mut command = Command::new(&self.lab);
        command.args(["client", kind]);
        command.args(options(args)?);
        Ok(command)
    }

    /// Look `name` up from `pod` with a real resolver.
    pub fn resolve(
        &self,
        pod: &Pod,
        resolver: Resolver,
        nameservers: u64,
        lookup: Lookup<'_>,
    ) -> Result<Client> {
        let mut command = Command::new(resolver.path(&self.clients));
        if let Some(options) = lookup.options {
            command.env("RES_OPTIONS", options);
        }
        command.arg(lookup.name).arg(lookup.count.to_string());
        match lookup.pace {
            Pace::Every(interval) => command.arg(interval.as_millis().to_string()),
            Pace::OnRequest => command.arg("-"),
        };
        let queries_per_lookup = resolver.queries_per_lookup(nameservers);
        Ok(Client { process: pod.spawn(command)?, reads: Reads::Lookups { queries_per_lookup } })
    }
}

/// What a resolver is to look up.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// The name.
    pub name: &'a str,
    /// How often.
    pub count: u32,
    /// When.
    pub pace: Pace,
    /// Options on top of those in `resolv.conf`; only glibc reads them.
    pub options: Option<&'a str>,
}

/// When a resolver client looks up.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// By itself, with this pause.
    Every(Duration),
    /// Each time the lab asks for it.
    OnRequest,
}

impl Client {
    /// Wait for the end; the client's own count.
    pub fn report(self) -> Result<Report> {
        self.report_within(AMPLE)
    }

    /// The same for a client that may take this long.
    pub fn report_within(self, longest: Duration) -> Result<Report> {
        let lines = self.process.finish(longest)?;
        let text = lines.last().context("the client printed nothing")?;
        match self.reads {
            Reads::Report => serde_json::from_str(text).context("not a client's report"),
            Reads::Lookups { queries_per_lookup } => serde_json::from_str::<Lookups>(text)
                .context("not a resolver's report")?
                .into_report(queries_per_lookup, FIRST_RETRY_SECONDS),
        }
    }

    /// The look-ups of a resolver, however long they took.
    pub fn lookups(self) -> Result<Lookups> {
        let lines = self.process.finish(AMPLE)?;
        serde_json::from_str(lines.last().context("the client printed nothing")?)
            .context("not a resolver's report")
    }

    /// Ask a client that waits for requests for one look-up.
    pub fn request(&mut self) -> Result<()> {
        let stdin: &mut ChildStdin = self.process.stdin().context("the client has no input")?;
        stdin.write_all(b"\n").context("the client is gone")
    }
}

/// Turn an argument struct back into command-line options: `source_port: 5`
/// becomes `--source-port 5`, `true` a flag, `false` and `null` nothing.
pub(crate) fn options(args: &impl Serialize) -> Result<Vec<String>> {
    let value = serde_json::to_value(args)?;
    let fields = value.as_object().context("arguments are a struct")?;
    let mut options = Vec::new();
    for (name, value) in fields {
        let option = format!("--{}", name.replace('_', "-"));
        match value {
            serde_json::Value::Null | serde_json::Value::Bool(false) => {}
            serde_json::Value::Bool(true) => options.push(option),
            serde_json::Value::String(text) => options.extend([option, text.clone()]),
            other => options.extend([option, other.to_string()]),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        query: query::Args,
    }

    #[test]
    fn options_say_what_the_struct_says() {
        let args = query::Args {
            fresh_port: true,
            receive_buffer: Some(4096),
            source_port: 5353,
            ..query::Args::new(crate::lab::cast::DNS_V6, 7)
        };
        let line = [vec!["lab".to_owned()], options(&args).unwrap()].concat();
        let back = Cli::try_parse_from(line).unwrap().query;
        assert_eq!(serde_json::to_value(back).unwrap(), serde_json::to_value(args).unwrap());
    }
}
