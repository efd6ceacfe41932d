//! The page `docs/metrics.md`.

use std::fmt::Write as _;

use super::family::{Family, Kind};
use crate::stats::BOUNDS_SECONDS;

/// Every metric, from the table that they are written from.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# Metrics\n\nMade by `cargo xtask docs`. `dnsprobe serve` shows them at `/metrics`, in \
         Prometheus' text format or, to who asks for it, as OpenMetrics or as protobuf with \
         native histograms.\n\n\
         | metric | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for family in Family::ALL {
        let (suffix, kind) = match family.kind() {
            Kind::Counter => ("_total", "counter"),
            Kind::Gauge => ("", "gauge"),
            Kind::Info => ("", "gauge, always 1"),
            Kind::Histogram => ("", "histogram"),
        };
        let labels: Vec<String> =
            family.labels().iter().map(|label| format!("`{}`", label.as_str())).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
        let _ = writeln!(
            text,
            "| `{}{suffix}` | {kind} | {labels} | {} |",
            family.name(),
            family.help()
        );
    }
    let bounds: Vec<String> = BOUNDS_SECONDS.iter().map(ToString::to_string).collect();
    let _ = write!(
        text,
        "\nBuckets end at {} seconds; one more has no end. The kernel's own buckets are at most \
         3.1 % wide: a value that close below a bound may be counted above it, never the other way \
         round.\n\n\
         A Prometheus that asks for protobuf (2.40 and newer with \
         `--enable-feature=native-histograms`) gets both histograms also as native ones: eight \
         buckets to each power of two, each 9.1 % wide, instead of the buckets above.\n\n\
         ## Labels\n\n\
         - `owner_kind`: `pod`, `container` (one outside any pod; `unit` is its name), `host` (a process outside both), `unattributed`, or `other`: \
         the sum of all owners beyond `--max-owners` and of pods outside `--namespaces`. Those keep \
         being summed up until they are gone, whatever the settings become, so that no counter goes \
         back and nothing counts twice. A pod that loses its series to a new `--namespaces` shows \
         them once more; only what it asks after that is added to `other`.\n\
         - `namespace`, `pod`: of a pod. While its name is unknown, `pod` is its UID.\n\
         - `unit`: of a host process its systemd unit or command; of what is unattributed the \
         reason.\n\
         - `role`: `client` asks, `server` answers.\n\
         - `server`: the address and port that was asked. At most 16 per owner, the others \
         are `other`; `--no-servers` leaves these metrics out.\n\
         - `kind`: what a server's address is: `pod`, `container`, `service`, \
         `node-local-cache`, `node` or `upstream`; `namespace` and `name`: of that, empty where \
         it has none. A server of which nothing is proven has no such series. Of \
         `dnsprobe_top_lost_names` and `dnsprobe_top_sampled_names` the name that was asked for; \
         `other`, without a dot at its end, \
         is all other names and queries whose name was not kept.\n\
         - `backend`: the address that a query to `server` left for instead, under whatever \
         translates it (iptables, nftables, IPVS). At most 256 pairs of both; what goes beyond them \
         is `other` in both, and one that was idle for an hour makes room when 192 are known: it \
         counts from zero when it comes back, as all do when hooks are planned anew. \
         `dnsprobe_server_info` names backends too.\n\
         - `table`: of the kernel programs: `in-flight` (queries; some are refused before it is \
         full), `aggregates` (pairs of an owner and a server), `backends`.\n\
         - `cause`: see [causes.md](causes.md). `hook`: see [hooks.md](hooks.md). `pattern`: see \
         [findings.md](findings.md); here the load is all client queries of the node, and a backend \
         went away when IPVS last listed it with a weight.\n\n\
         Names that were asked for are labels only with `--top-names`: at most 100 of lost queries \
         and as many of sampled ones, each counted from when it was met among 1,024.\n\n\
         ## Samples\n\n\
         How many names a look-up tries is told by names, which are not followed for every query. \
         All transactions of one client process in `--sample-processes` are, for 8.6 s, then those \
         of another, so that each has its turn; at most 512 transactions per turn, on the whole \
         node. Names per look-up, the cost of a search list, are\n\n    \
         sum by (pod) (rate(dnsprobe_sampled_lookup_names_total[1h]))\n      \
         / sum by (pod) (rate(dnsprobe_sampled_lookups_total[1h]))\n\n\
         and a look-up that the end of a turn cuts in two counts as two. Only owners with series \
         of their own have these.\n\n\
         ## Sums\n\n\
         For each owner and role\n\n    \
         dnsprobe_queries_total = answers + lost + not followed + in flight\n\n\
         holds in every scrape. Counters start at zero with dnsprobe; those of connection \
         tracking, backlog and UDP are the kernel's own.\n",
        bounds.join(", ")
    );
    text
}
