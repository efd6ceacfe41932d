//! A stream of bytes in lines, as a watch sends its events.

/// Longer than any event: an object has at most 1.5 MiB in etcd.
pub(super) const LINE_BYTES: usize = 4 << 20;

/// Bytes that have come and make no whole line yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
}

/// A line that does not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Lines {
    /// Takes in bytes and hands over each line that they end.
    pub(super) fn add(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), TooLong> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            bytes = &rest[1..];
            if self.bytes.len() + line.len() > LINE_BYTES {
                return Err(TooLong);
            }
            if self.bytes.is_empty() {
                each(line);
            } else {
                self.bytes.extend_from_slice(line);
                each(&std::mem::take(&mut self.bytes));
            }
        }
        if self.bytes.len() + bytes.len() > LINE_BYTES {
            return Err(TooLong);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_that_does_not_end_is_not_kept() {
        let mut lines = Lines::default();
        let half = vec![b'x'; LINE_BYTES / 2 + 1];
        assert_eq!(lines.add(&half, |_| ()), Ok(()));
        assert_eq!(lines.add(&half, |_| ()), Err(TooLong));
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_are_cut(
            text in "[ab\n]{0,60}",
            cuts in proptest::collection::vec(0_usize..8, 0..30),
        ) {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            let mut rest = text.as_bytes();
            for cut in cuts {
                let (part, more) = rest.split_at(cut.min(rest.len()));
                rest = more;
                lines.add(part, |line| found.push(line.to_vec())).unwrap();
            }
            lines.add(rest, |line| found.push(line.to_vec())).unwrap();
            let mut expected: Vec<_> = text.split('\n').map(|line| line.as_bytes().to_vec()).collect();
            expected.pop();
            prop_assert_eq!(found, expected);
        }
    }
}
