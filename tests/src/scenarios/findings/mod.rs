//! One scenario per finding of `dnsprobe diagnose` that is not a cause of lost
//! queries. Each is compared finding by finding and pod by pod: what is expected
//! and nothing else.

pub(super) mod autopath_suspect;
pub(super) mod failed_answers;
pub(super) mod healthy;
pub(super) mod internal_name_missing;
pub(super) mod nodelocal_bypassed;
pub(super) mod nxdomain;
pub(super) mod parallel_nameservers;
pub(super) mod patterns;
pub(super) mod search_expansion;
pub(super) mod server_restarting;
pub(super) mod slow;
pub(super) mod tcp_unanswered;
pub(super) mod truncated_no_tcp;
pub(super) mod uneven_backends;
pub(super) mod upstream;

use std::path::Path;

use anyhow::Result;

use super::stage::Stage;
use super::{Kernels, Outcome, Scenario};
use crate::diagnosed::Diagnosis;
use crate::lab::diagnose::Examination;
use crate::lab::process::Process;
use crate::lab::server;
use crate::lab::spec::Spec;

const fn scenario(
    name: &'static str,
    about: &'static str,
    run: fn(&Stage<'_>) -> Result<Outcome>,
) -> Scenario {
    Scenario { name, about, kernels: Kernels::All, exact_clock: false, run }
}

impl Stage<'_> {
    /// `dnsprobe diagnose` that watches.
    fn diagnose(&self) -> Result<Examination> {
        let program: &Path = &self.programs.dnsprobe;
        Examination::start(program, self.node.directories(), self.keep.clone())
    }

    /// A server in a pod that also knows the name outside, and which names do
    /// not exist beside it.
    fn knows_outside(&self, spec: &Spec) -> Result<Process> {
        let options = server::Options { outside: true, ..server::Options::default() };
        server::start(self.pod(spec)?, &options)
    }
}

/// The findings that were expected, as (code, pod), against those found;
/// `check` looks closer at the diagnosis.
fn compare(
    watch: Examination,
    expected: &[(&str, &Spec)],
    check: impl FnOnce(&Diagnosis) -> Vec<String>,
) -> Result<Outcome> {
    let (diagnosis, problems) = watch.finish()?;
    let expected: Vec<String> =
        expected.iter().map(|(code, spec)| format!("{code} of {}", spec.label())).collect();
    Ok(Outcome::default()
        .findings(&expected, &diagnosis.found())
        .also(problems)
        .also(check(&diagnosis)))
}

/// What is wrong unless every finding has this pattern.
fn pattern(diagnosis: &Diagnosis, code: &str, pattern: &str) -> Vec<String> {
    let other = diagnosis.of(code).filter(|finding| finding.pattern != pattern);
    other.map(|finding| format!("{code} is {}, not {pattern}", finding.pattern)).collect()
}

/// What is wrong unless a finding counts so many occurrences.
fn count(diagnosis: &Diagnosis, code: &str, count: u64) -> Vec<String> {
    let other = diagnosis.of(code).filter(|finding| finding.count != count);
    other.map(|finding| format!("{code} counts {}, not {count}", finding.count)).collect()
}

/// What is wrong unless a finding has a part, so many times.
fn item(diagnosis: &Diagnosis, code: &str, what: &str, count: u64) -> Vec<String> {
    let has = diagnosis
        .of(code)
        .flat_map(|finding| &finding.items)
        .any(|item| item.what == what && item.count == count);
    let items: Vec<_> = diagnosis.of(code).flat_map(|finding| &finding.items).collect();
    (!has).then(|| format!("{code} has no {what:?} ({count}) but {items:?}")).into_iter().collect()
}
