//! Packets thrown away between devices and the network stack because a
//! processor could not keep up: `/proc/net/softnet_stat`.

use std::fs;

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

pub(super) fn read() -> Softnet {
    parse(&fs::read_to_string("/proc/net/softnet_stat").unwrap_or_default())
}

/// `softnet_seq_show` (net/core/net-procfs.c): a line per processor of
/// hexadecimal numbers: processed, dropped, squeezed, others.
fn parse(text: &str) -> Softnet {
    let rows: Vec<Vec<u64>> = text
        .lines()
        .map(|line| {
            let words = line.split_ascii_whitespace();
            words.map_while(|word| u64::from_str_radix(word, 16).ok()).collect()
        })
        .collect();
    let sum = |column: usize| -> Option<u64> {
        (!rows.is_empty()).then(|| rows.iter().map(|row| row.get(column).copied()).sum())?
    };
    Softnet { dropped: sum(1), time_squeeze: sum(2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_summed_and_rubbish_is_unknown() {
        let text = "000020f5 00000002 00000001 00000000\n00017445 00000010 00000002 00000000\n";
        assert_eq!(parse(text), Softnet { dropped: Some(18), time_squeeze: Some(3) });
        assert_eq!(parse(""), Softnet::default());
        assert_eq!(parse("zz\n"), Softnet::default());
    }
}
