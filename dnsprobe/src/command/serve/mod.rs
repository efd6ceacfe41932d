//! `dnsprobe serve`: watches all the time and publishes over HTTP.

mod daemon;
mod lines;
mod rate;
mod settings;
mod sources;

use std::{
    io::{self, Write},
    net::SocketAddr,
    num::NonZeroU8,
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use clap::{ArgAction::Set, Args};
use dnsprobe_common::sample::MAX_BITS;

use self::{daemon::Daemon, settings::Settings};
use super::{EXIT_OK, WatchOptions, watch};
use crate::{
    metrics::Limits,
    otlp::Endpoint,
    serve::{self, Shared, check_address},
};

/// Watch all the time, and publish metrics, health, the last reading and the last
/// verdicts over HTTP.
///
/// Everything is counted inside the kernel and read once per interval, whoever asks
/// how often. Each lost query is one line of JSON on standard output, for log
/// collectors.
///
/// Settings: a flag goes before the environment (DNSPROBE_MAX_OWNERS for --max-owners),
/// that before the file of --config (TOML; keys are the options' names, such as
/// max-owners = 500), that before what is built in. --print-config shows them all, each
/// with where it comes from. An unknown key is an error. SIGHUP reads file and
/// environment again and changes max-owners, namespaces, no-servers, top-names, verdicts,
/// max-verdicts and max-cpu-percent; what else differs needs a restart, which is said on
/// standard error.
/// When the file is broken, all stays as it was.
///
/// SIGTERM and SIGINT end it with exit code 0, after a last reading. Nothing stays in
/// the kernel, however it ends.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Paths: / (a page for people), /metrics (Prometheus, OpenMetrics; docs/metrics.md), /healthz,
/readyz, /api/v1/snapshot, /api/v1/services, /api/v1/verdicts, /api/v1/hooks (JSON;
docs/json.md).

Examples:
  dnsprobe serve                                 on 127.0.0.1:9353
  dnsprobe serve --listen 10.0.0.7:9353          for a Prometheus elsewhere
  dnsprobe serve --verdicts none --no-servers    fewer lines, fewer series
  dnsprobe serve --otlp-endpoint http://127.0.0.1:4318
  dnsprobe serve --config /etc/dnsprobe.toml --print-config
  curl -s 127.0.0.1:9353/api/v1/snapshot | jq .")]
pub(super) struct Options {
    #[command(flatten)]
    watch: WatchOptions,
    /// A TOML file with settings [default: $DNSPROBE_CONFIG, else none].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the settings in force, each with where it comes from, and end.
    #[arg(long)]
    print_config: bool,
    /// Time between two readings of the counters.
    #[arg(long, value_parser = super::positive_duration, default_value = "5s", value_name = "TIME")]
    interval: Duration,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9353", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Allow --listen to stand for every interface of the node (0.0.0.0, [::]).
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_name = "BOOL", action = Set)]
    listen_on_all_interfaces: bool,
    /// Owners and roles with metrics of their own; all others are summed up.
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    max_owners: usize,
    /// Only pods of these namespaces have metrics of their own; empty: all.
    #[arg(long, value_delimiter = ',', value_name = "NAMESPACE")]
    namespaces: Vec<String>,
    /// Leave out the metrics that tell an owner's servers apart.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_name = "BOOL", action = Set)]
    no_servers: bool,
    /// Names with a metric of their own: those lost most, and those that sampled
    /// processes ask most. Whoever reads the metrics reads these names.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=MOST_NAMES), value_name = "N")]
    top_names: u8,
    /// Follow the look-ups of one client process in N, for the metrics of search lists;
    /// 0: of none.
    ///
    /// Each process has its turn of 8.6 s; at most 512 transactions are looked at
    /// meanwhile. N is a power of two up to 65,536.
    #[arg(long, default_value_t = 16, value_parser = one_in, value_name = "N")]
    sample_processes: u32,
    /// What becomes of verdicts on standard output.
    #[arg(long, value_enum, default_value_t)]
    verdicts: Verdicts,
    /// Verdicts printed per second, at most; the others are counted.
    #[arg(long, default_value_t = 50, value_name = "N")]
    max_verdicts: u32,
    /// Also send to an OpenTelemetry collector: OTLP over HTTP, such as
    /// http://127.0.0.1:4318.
    ///
    /// Once per --interval the counts of /metrics (latencies as dns.lookup.duration), and
    /// lost queries as log records, with their names. What the collector does not take
    /// is counted in dnsprobe_otlp_pushes_total; up to 1,000 lost queries wait for it.
    /// There is no TLS: send to a collector on this node.
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<Endpoint>,
    /// Percent of one processor that dnsprobe may use; above it, detail is left out
    /// step by step, and put back when there is room. 0: no limit.
    ///
    /// First the lines on standard output, then, with --attach-again, what is asked for
    /// (as with --without-names) and the sample, then the metrics of single servers.
    /// Counting is never left out. What is left out is in dnsprobe_shed and on the page.
    /// The kernel programs' time is counted too where the kernel measures it
    /// (kernel.bpf_stats_enabled).
    #[arg(long, value_parser = percent, default_value = "5", value_name = "PERCENT")]
    max_cpu_percent: f64,
    /// Attach anew when a module that hooks live in (nf_conntrack, nf_nat, ip_vs) comes
    /// or goes.
    ///
    /// For that, the capabilities to attach are kept, out of effect; otherwise they are
    /// given up for good, and such a change is only told. Not while --record is given.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_name = "BOOL", action = Set)]
    attach_again: bool,
    /// Do not keep what is asked for; costs less per query.
    ///
    /// Lost queries are then reported without their name and command, and a clash
    /// without the other query. The queries of a resolver that was content with
    /// another server's answer count as lost.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_name = "BOOL", action = Set)]
    without_names: bool,
}

/// The most that --top-names takes.
const MOST_NAMES: i64 = 100;

/// What becomes of verdicts on standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Verdicts {
    /// One JSON object per line.
    #[default]
    Json,
    /// Nothing; they are published all the same.
    None,
}

pub(super) fn run(given: &Options) -> anyhow::Result<u8> {
    let settings = Settings::of_process(given.config.as_deref())?;
    if given.print_config {
        io::stdout().lock().write_all(settings.print().as_bytes())?;
        return Ok(EXIT_OK);
    }
    let options = settings.options.clone();
    check_address(options.listen, options.listen_on_all_interfaces)?;
    let published = Shared::new(options.published());
    // Before anything is attached: an address that is taken is known at once.
    let server = serve::bind(options.listen, published.clone())
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    let mut daemon = Daemon::new(settings, published, server);
    let detail = daemon.detail();
    watch::run(&options.watch, detail, Some(options.interval), &mut daemon)?;
    Ok(EXIT_OK)
}

fn percent(text: &str) -> Result<f64, String> {
    let percent: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let valid = percent.is_finite() && percent >= 0.0;
    valid.then_some(percent).ok_or_else(|| "must be 0 or more".to_owned())
}

/// A power of two for the sample, or 0.
fn one_in(text: &str) -> Result<u32, String> {
    let number: u32 = text.parse().map_err(|_| "not a number".to_owned())?;
    let valid = number == 0 || (number.is_power_of_two() && (2..=1 << MAX_BITS).contains(&number));
    valid.then_some(number).ok_or_else(|| "must be 0 or a power of two from 2 to 65536".to_owned())
}

impl Options {
    /// See [`crate::kernel::Options::sample_bits`].
    fn sample_bits(&self) -> Option<NonZeroU8> {
        let bits = self.sample_processes.checked_ilog2()?;
        NonZeroU8::new(u8::try_from(bits).ok()?)
    }

    /// Share of one processor that may be used; none: no limit.
    fn cpu_limit(&self) -> Option<f64> {
        (self.max_cpu_percent > 0.0).then_some(self.max_cpu_percent / 100.0)
    }

    /// Whether hooks may be attached again. A recording is of one plan.
    fn attaches_again(&self) -> bool {
        self.attach_again && self.watch.record.is_none()
    }

    /// What is published, and how much of it.
    fn published(&self) -> serve::Options {
        serve::Options {
            interval: self.interval,
            limits: Limits {
                owners: self.max_owners,
                namespaces: self.namespaces.iter().cloned().collect(),
            },
            servers: !self.no_servers,
            top_names: self.top_names.into(),
            sample_bits: self.sample_bits(),
        }
    }
}
