//! `dnsprobe serve`: watches all the time and publishes over HTTP.

use std::{
    io::{self, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;

use super::{
    EXIT_OK, Format, WatchOptions,
    watch::{self, Detail, Handler},
};
use crate::{
    engine::{Transaction, Verdict},
    kernel::RoleReport,
    output::json,
    serve::{self, Server, Shared, check_address},
    stats::Snapshot,
};

/// Watch all the time, and publish metrics, health, the last reading and the last
/// verdicts over HTTP.
///
/// Everything is counted inside the kernel and read once per interval, whoever asks
/// how often. Each lost query is one line of JSON on standard output, for log
/// collectors.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Paths: / (a page for people), /metrics (Prometheus, OpenMetrics; docs/metrics.md), /healthz,
/readyz, /api/v1/snapshot, /api/v1/verdicts, /api/v1/hooks (JSON; docs/json.md).

Examples:
  dnsprobe serve                                 on 127.0.0.1:9353
  dnsprobe serve --listen 10.0.0.7:9353          for a Prometheus elsewhere
  dnsprobe serve --verdicts none --no-servers    fewer lines, fewer series
  curl -s 127.0.0.1:9353/api/v1/snapshot | jq .")]
pub(super) struct Options {
    #[command(flatten)]
    watch: WatchOptions,
    /// Time between two readings of the counters.
    #[arg(long, value_parser = super::positive_duration, default_value = "5s", value_name = "TIME")]
    interval: Duration,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9353", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Allow --listen to stand for every interface of the node (0.0.0.0, [::]).
    #[arg(long)]
    listen_on_all_interfaces: bool,
    /// Owners and roles with metrics of their own; all others are summed up.
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    max_owners: usize,
    /// Leave out the metrics that tell an owner's servers apart.
    #[arg(long)]
    no_servers: bool,
    /// What becomes of verdicts on standard output.
    #[arg(long, value_enum, default_value_t)]
    verdicts: Verdicts,
    /// Verdicts printed per second, at most; the others are counted.
    #[arg(long, default_value_t = 50, value_name = "N")]
    max_verdicts: u32,
    /// Do not keep what is asked for; costs less per query.
    ///
    /// Lost queries are then reported without their name and command, and a clash
    /// without the other query. The queries of a resolver that was content with
    /// another server's answer count as lost.
    #[arg(long)]
    without_names: bool,
}

/// What becomes of verdicts on standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Verdicts {
    /// One JSON object per line.
    #[default]
    Json,
    /// Nothing; they are published all the same.
    None,
}

pub(super) fn run(options: &Options) -> anyhow::Result<u8> {
    check_address(options.listen, options.listen_on_all_interfaces)?;
    anyhow::ensure!(
        options.watch.output == Format::Table,
        "serve has no --output: what it prints is JSON, see --verdicts"
    );
    let published = Shared::new(serve::Options {
        interval: options.interval,
        max_owners: options.max_owners,
        servers: !options.no_servers,
    });
    // Before anything is attached: an address that is taken is known at once.
    let server = serve::bind(options.listen, published.clone())
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    let mut daemon = Daemon {
        published,
        server: Some(server),
        print: options.verdicts == Verdicts::Json,
        rate: Rate::new(options.max_verdicts, Instant::now()),
    };
    let detail = if options.without_names { Detail::Counts } else { Detail::Names };
    watch::run(&options.watch, detail, Some(options.interval), &mut daemon)?;
    Ok(EXIT_OK)
}

struct Daemon {
    published: Shared,
    /// Until it serves.
    server: Option<Server>,
    print: bool,
    rate: Rate,
}

impl Handler for Daemon {
    fn watching(&mut self, hooks: &[RoleReport]) -> anyhow::Result<()> {
        self.published.lock().watching(hooks);
        let Some(server) = self.server.take() else { return Ok(()) };
        let address = server.address()?;
        server.start().context("cannot serve")?;
        eprintln!("dnsprobe: serving on http://{address}/");
        Ok(())
    }

    fn transaction(&mut self, _: &Transaction) -> anyhow::Result<()> {
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> anyhow::Result<()> {
        // A full disk or a log collector that is gone is no reason to stop watching.
        let printed = !self.print
            || self.rate.allows(Instant::now())
                && json::write(json::Record::Verdict(verdict), &mut io::stdout().lock()).is_ok();
        self.published.lock().verdict(verdict, printed);
        Ok(())
    }

    fn snapshot(&mut self, snapshot: &Snapshot, _: bool) -> anyhow::Result<()> {
        self.published.lock().reading(snapshot);
        // As above.
        let _ = io::stdout().lock().flush();
        Ok(())
    }
}

/// At most so many per second.
#[derive(Debug)]
struct Rate {
    per_second: u32,
    second: Instant,
    left: u32,
}

impl Rate {
    fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, second: now, left: per_second }
    }

    fn allows(&mut self, now: Instant) -> bool {
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            (self.second, self.left) = (now, self.per_second);
        }
        let allows = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_so_many_a_second() {
        let start = Instant::now();
        let mut rate = Rate::new(2, start);
        let allowed = |rate: &mut Rate, ms| rate.allows(start + Duration::from_millis(ms));
        assert!(allowed(&mut rate, 0) && allowed(&mut rate, 10) && !allowed(&mut rate, 20));
        assert!(!allowed(&mut rate, 999) && allowed(&mut rate, 1_000));
        assert!(!Rate::new(0, start).allows(start));
    }
}
