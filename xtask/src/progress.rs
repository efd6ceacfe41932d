//! Numbered steps with elapsed time, so that a person always sees what runs.

use std::time::{Duration, Instant};

use anyhow::Result;

/// A sequence of steps whose number is known beforehand.
#[derive(Debug)]
pub(crate) struct Steps {
    total: usize,
    begun: usize,
}

/// A step that runs.
#[derive(Debug)]
pub(crate) struct Step {
    head: String,
    started: Instant,
}

impl Steps {
    pub(crate) fn new(total: usize) -> Self {
        Self { total, begun: 0 }
    }

    /// Announces the next step.
    pub(crate) fn begin(&mut self, name: &str) -> Step {
        self.begun += 1;
        let head = format!("[{}/{}] {name}", self.begun, self.total);
        println!("{head} ...");
        Step { head, started: Instant::now() }
    }

    /// Announces a step, runs it and says how long it took.
    pub(crate) fn run<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        let begun = self.begin(name);
        let result = step();
        begun.end(if result.is_ok() { "done" } else { "failed" });
        result
    }
}

impl Step {
    pub(crate) fn end(self, how: &str) {
        println!("{}: {how}, {}", self.head, seconds(self.started.elapsed()));
    }
}

pub(crate) fn seconds(elapsed: Duration) -> String {
    format!("{:.1} s", elapsed.as_secs_f64())
}
