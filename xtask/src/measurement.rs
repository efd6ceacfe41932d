//! What a measurement leaves in `docs/`: data, and a page that is made of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::lab_guest::{LabGuest, Lines};
use crate::source::Source;
use crate::workspace::Workspace;

/// A measurement by the name that its two files have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measurement(pub(crate) &'static str);

impl Measurement {
    /// The checkout that is measured. The measurement's own files do not count as
    /// changes.
    pub(crate) fn source(self, workspace: &Workspace) -> Result<Source> {
        Source::of(workspace, &format!("docs/{}.*", self.0))
    }

    /// Whether a whole run was ever written down.
    pub(crate) fn is_committed(self, workspace: &Workspace) -> bool {
        workspace.root().join(self.data()).exists()
    }

    /// The committed data.
    pub(crate) fn committed<T: DeserializeOwned>(self, workspace: &Workspace) -> Result<T> {
        let file = self.data();
        let text = fs::read_to_string(workspace.root().join(&file))
            .with_context(|| format!("cannot read {file}"))?;
        serde_json::from_str(&text).with_context(|| file)
    }

    /// Writes both files: into `docs/`, or of a run that is not a whole one below
    /// `target/`. Says where they are.
    pub(crate) fn write<T: Serialize>(
        self,
        workspace: &Workspace,
        is_whole: bool,
        report: &T,
        page: &str,
    ) -> Result<String> {
        let Self(name) = self;
        let directory = match is_whole {
            true => workspace.root().join("docs"),
            false => workspace.target().join(name),
        };
        fs::create_dir_all(&directory)?;
        let file = |kind: &str| directory.join(format!("{name}.{kind}"));
        let (page_file, data_file) = (file("md"), file("json"));
        write(&page_file, page)?;
        write(&data_file, &(serde_json::to_string_pretty(report)? + "\n"))?;
        let shown = |file: &PathBuf| workspace.relative(file).display().to_string();
        Ok(format!("written: {} and {}", shown(&page_file), shown(&data_file)))
    }

    fn data(self) -> String {
        format!("docs/{}.json", self.0)
    }
}

/// Runs the lab in a guest and reads the one file that it leaves.
pub(crate) fn lab_result<T: DeserializeOwned>(
    workspace: &Workspace,
    guest: &LabGuest,
    file: &str,
    started: Instant,
) -> Result<T> {
    let result = guest.out.join(file);
    if result.exists() {
        fs::remove_file(&result)?;
    }
    let ended = guest.run(workspace, Lines::err(started), &Arc::new(Mutex::new(Vec::new())))?;
    ended.explain(workspace, started.elapsed());
    let text = fs::read_to_string(&result).context("the guest left no result")?;
    serde_json::from_str(&text).with_context(|| file.to_owned())
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
