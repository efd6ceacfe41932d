//! How long dnsprobe takes to attach everything, and to be gone again.

use serde::{Deserialize, Serialize};

use super::figures::median;
use super::line::{Line, Start};

/// Of several starts the median, milliseconds. The guest's clock goes on while
/// it waits for a file of this machine, so one slow start says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct StartUp {
    pub(super) starts: usize,
    /// Kernel programs it loads.
    pub(super) programs: usize,
    /// From before exec to all hooks attached.
    pub(super) attached_ms: f64,
    /// From SIGTERM to the end of the process.
    pub(super) ended_ms: f64,
    /// From SIGTERM until the kernel had none of its programs any more.
    pub(super) freed_ms: f64,
}

/// Of all starts that were measured, if any.
pub(super) fn read(lines: &[Line]) -> Option<StartUp> {
    let starts: Vec<&Start> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Start(start) => Some(start),
            _ => None,
        })
        .collect();
    let typical = |part: fn(&Start) -> u64| {
        let milliseconds: Vec<f64> = starts.iter().map(|start| part(start) as f64 / 1e6).collect();
        median(&milliseconds)
    };
    Some(StartUp {
        starts: starts.len(),
        programs: starts.first()?.programs,
        attached_ms: typical(|start| start.attached_ns)?,
        ended_ms: typical(|start| start.ended_ns)?,
        freed_ms: typical(|start| start.freed_ns)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_typical_start_counts() {
        let start = |attached_ns| {
            Line::Start(Start { programs: 20, attached_ns, ended_ns: 1, freed_ns: 2 })
        };
        let read =
            read(&[start(3_000_000), start(90_000_000), start(5_000_000), Line::End]).unwrap();
        assert_eq!((read.starts, read.programs), (3, 20));
        assert!((read.attached_ms - 5.0).abs() < 1e-9);
        assert_eq!(super::read(&[Line::End]), None);
    }
}
