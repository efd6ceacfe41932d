//! One guest per kernel, two at a time, and its results. A guest that dies is
//! started once more for the scenarios that it still owes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::report::{Cell, Kernel, Scenario};
use super::result::ScenarioResult;
use crate::lab_guest::{LabGuest, Lines, two_at_a_time};
use crate::setup::GuestKernel;
use crate::source::Source;
use crate::vm::{self, End};
use crate::workspace::Workspace;

const LIMIT: Duration = Duration::from_secs(60 * 60);
const ATTEMPTS: u32 = 2;
/// Says of which checkout the results beside it are.
const SOURCE: &str = "source.json";

/// What to run on a kernel.
pub(super) struct Column {
    pub(super) series: String,
    /// Of scenarios.
    pub(super) names: Vec<String>,
}

/// All cells, by scenario and then kernel. `names`: all rows of the table.
pub(super) fn all(
    workspace: &Workspace,
    columns: &[Column],
    names: &[String],
    source: &Source,
    resume: bool,
    started: Instant,
) -> Result<(Vec<Kernel>, Vec<Scenario>, Vec<Cell>)> {
    let mut kernels = Vec::new();
    for column in columns {
        kernels.push((column, vm::find_kernel(workspace, &column.series)?));
    }
    let lines = Lines::err(started);
    let results = two_at_a_time(kernels.len(), |index| {
        let (column, kernel) = &kernels[index];
        let mut job = Job::new(workspace, column, kernel, source.clone());
        if resume {
            job.resume();
        }
        let reason = job.run(workspace, lines);
        (job.results, reason, job.source)
    });
    let kernels: Vec<Kernel> = kernels
        .into_iter()
        .zip(&results)
        .map(|((column, kernel), (_, _, source))| Kernel {
            series: column.series.clone(),
            release: kernel.release,
            source: source.clone(),
        })
        .collect();
    let mut scenarios = Vec::new();
    let mut cells = Vec::new();
    for name in names {
        let about = results.iter().find_map(|(results, ..)| Some(results.get(name)?.about.clone()));
        scenarios.push(Scenario { name: name.clone(), about: about.unwrap_or_default() });
        let ran = kernels.iter().zip(columns).zip(&results);
        for ((kernel, _), (results, reason, _)) in
            ran.filter(|((_, column), _)| column.names.contains(name))
        {
            cells.push(match results.get(name) {
                Some(result) => Cell::new(name, &kernel.series, result),
                None => Cell::without_result(name, &kernel.series, reason),
            });
        }
    }
    Ok((kernels, scenarios, cells))
}

/// The scenarios on one kernel.
struct Job<'a> {
    series: &'a str,
    kernel: &'a GuestKernel,
    names: &'a [String],
    /// Of the results.
    source: Source,
    out: PathBuf,
    results: BTreeMap<String, ScenarioResult>,
}

impl<'a> Job<'a> {
    fn new(
        workspace: &Workspace,
        column: &'a Column,
        kernel: &'a GuestKernel,
        source: Source,
    ) -> Self {
        let Column { series, names } = column;
        let out = workspace.target().join("accuracy").join(series);
        Self { series, kernel, names, source, out, results: BTreeMap::new() }
    }

    /// Takes over what an earlier run left: all of it, as that run's, where nothing
    /// is missing; else only what is of the same commit.
    fn resume(&mut self) {
        let text = fs::read_to_string(self.out.join(SOURCE)).unwrap_or_default();
        let Ok(source) = serde_json::from_str::<Source>(&text) else { return };
        self.collect(&self.left());
        if self.left().is_empty() {
            self.source = source;
        } else if source.commit != self.source.commit || source.modified {
            self.results.clear();
        }
    }

    /// Reads the results of these scenarios, where there are any.
    fn collect(&mut self, names: &[String]) {
        for name in names {
            let file = self.out.join(format!("{name}.result.json"));
            if let Ok(Some(result)) = read(&file) {
                self.results.insert(name.clone(), result);
            }
        }
    }

    /// Runs until every scenario has a result, or a guest failed too often; why
    /// the scenarios without a result have none.
    fn run(&mut self, workspace: &Workspace, lines: Lines) -> String {
        let mut reason = String::new();
        for attempt in 1..=ATTEMPTS {
            let left = self.left();
            if left.is_empty() {
                break;
            }
            if attempt > 1 {
                let what = format!("{reason}; once more for {} scenarios", left.len());
                lines.say(self.series, &what);
            }
            reason = match self.attempt(workspace, lines, &left) {
                Ok(reason) => reason,
                Err(error) => format!("{error:#}"),
            };
        }
        reason
    }

    fn left(&self) -> Vec<String> {
        self.names.iter().filter(|name| !self.results.contains_key(*name)).cloned().collect()
    }

    fn attempt(&mut self, workspace: &Workspace, lines: Lines, left: &[String]) -> Result<String> {
        if self.out.exists() && self.results.is_empty() {
            fs::remove_dir_all(&self.out)
                .with_context(|| format!("cannot remove {}", self.out.display()))?;
        }
        let mut arguments: Vec<String> =
            ["run", "--exact-clock", "--out", "/out"].map(str::to_owned).to_vec();
        for name in left {
            arguments.extend(["--scenario".to_owned(), name.clone()]);
        }
        let guest = LabGuest {
            label: self.series.to_owned(),
            kernel: self.kernel.clone(),
            exact_clock: true,
            limit: LIMIT,
            arguments,
            out: self.out.clone(),
        };
        let started = Instant::now();
        let printed = Arc::new(Mutex::new(Vec::new()));
        let ended = guest.run(workspace, lines, &printed)?;
        ended.explain(workspace, started.elapsed());
        fs::write(self.out.join(SOURCE), serde_json::to_string(&self.source)?)?;
        self.collect(left);
        Ok(match ended.end {
            End::Exited(code) => format!("the lab ended with code {code} and left no result"),
            End::TimedOut => "the guest was killed at the time limit".to_owned(),
            End::NeverStarted => "the guest did not boot".to_owned(),
            End::Died => "the guest died".to_owned(),
        })
    }
}

/// A result; `None` if the guest died before or while it wrote it.
fn read(file: &Path) -> Result<Option<ScenarioResult>> {
    match fs::metadata(file) {
        Ok(data) if data.len() > 0 => ScenarioResult::read(file).map(Some),
        _ => Ok(None),
    }
}
