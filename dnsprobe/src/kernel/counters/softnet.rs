//! Packets thrown away between devices and the network stack because a
//! processor could not keep up: `/proc/net/softnet_stat`.

use std::{collections::BTreeMap, fs};

use serde::Serialize;

use super::since32;

/// Sums over all processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Softnet {
    /// Packets dropped because a processor's backlog was full
    /// (`net.core.netdev_max_backlog`).
    pub dropped: Option<u64>,
    /// Times that a processor had to stop with packets left
    /// (`net.core.netdev_budget`).
    pub time_squeeze: Option<u64>,
}

impl Softnet {
    /// What happened since an earlier reading.
    #[must_use]
    pub fn delta(&self, earlier: &Self) -> Self {
        Self {
            dropped: since32(self.dropped, earlier.dropped),
            time_squeeze: since32(self.time_squeeze, earlier.time_squeeze),
        }
    }
}

/// The last that each processor told. One that is switched off has no line, and its
/// counts are still there when it comes back (net/core/net-procfs.c,
/// `softnet_get_online`): what it had keeps counting.
#[derive(Clone, Debug, Default)]
pub struct Processors(BTreeMap<u64, Vec<u64>>);

impl Processors {
    fn take_in(&mut self, text: &str) -> Softnet {
        self.0.extend(rows(text));
        sums(self.0.values())
    }
}

pub(super) fn read(processors: &mut Processors) -> Softnet {
    processors.take_in(&fs::read_to_string("/proc/net/softnet_stat").unwrap_or_default())
}

/// `softnet_seq_show` (net/core/net-procfs.c): a line per processor of
/// hexadecimal numbers: processed, dropped, squeezed, nine others, and since 5.10 the
/// number of the processor.
fn rows(text: &str) -> impl Iterator<Item = (u64, Vec<u64>)> {
    const PROCESSOR: usize = 12;
    (0..).zip(text.lines()).map(|(line, text)| {
        let words = text.split_ascii_whitespace();
        let row: Vec<u64> = words.map_while(|word| u64::from_str_radix(word, 16).ok()).collect();
        (row.get(PROCESSOR).copied().unwrap_or(line), row)
    })
}

fn sums<'a>(rows: impl Iterator<Item = &'a Vec<u64>> + Clone) -> Softnet {
    let sum = |column: usize| -> Option<u64> {
        rows.clone().next()?;
        rows.clone().map(|row| row.get(column).copied()).sum()
    };
    Softnet { dropped: sum(1), time_squeeze: sum(2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Softnet {
        Processors::default().take_in(text)
    }

    #[test]
    fn processors_are_summed_and_rubbish_is_unknown() {
        let text = "000020f5 00000002 00000001 00000000\n00017445 00000010 00000002 00000000\n";
        assert_eq!(parse(text), Softnet { dropped: Some(18), time_squeeze: Some(3) });
        assert_eq!(parse(""), Softnet::default());
        assert_eq!(parse("zz\n"), Softnet::default());
    }

    #[test]
    fn a_processor_that_is_switched_off_takes_nothing_back() {
        let line = |processor: u64, dropped: u64| {
            format!("9 {dropped:08x} 00000001 0 0 0 0 0 0 0 0 0 {processor:08x} 0 0\n")
        };
        let mut processors = Processors::default();
        let mut dropped = |text: &str| processors.take_in(text).dropped;
        assert_eq!(dropped(&(line(0, 5) + &line(1, 7))), Some(12));
        assert_eq!(dropped(&line(0, 6)), Some(13));
        assert_eq!(dropped(&line(1, 8)), Some(14), "the first is off now");
        assert_eq!(dropped(&(line(0, 6) + &line(1, 9))), Some(15));
    }
}
