//! A cgroup that was made, as the kernel tells of it.

/// Room for a path with its final zero byte; longer ones are cut. Pods of nodes
/// that are containers themselves have the longest, some 300 bytes.
pub const PATH_BYTES: usize = 512;

/// A new cgroup of the unified hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct NewCgroup {
    /// Its id.
    pub id: u64,
    /// Bytes of the path in use, with the final zero byte; 0: it could not be
    /// read.
    pub len: u64,
    /// Path below the root of the hierarchy.
    pub path: [u8; PATH_BYTES],
}

const _: () = assert!(size_of::<NewCgroup>() == 16 + PATH_BYTES);

impl NewCgroup {
    /// The id and the path of a record; `None` when it is none, or its path was
    /// cut or not read: a part of a path may name another group.
    #[must_use]
    pub fn read(record: &[u8]) -> Option<(u64, &[u8])> {
        let (id, rest) = record.split_first_chunk()?;
        let (len, path) = rest.split_first_chunk()?;
        let len = usize::try_from(u64::from_ne_bytes(*len)).ok()?;
        if !(2..PATH_BYTES).contains(&len) {
            return None;
        }
        Some((u64::from_ne_bytes(*id), path.get(..len - 1)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(len: u64, path: &[u8]) -> [u8; 16 + PATH_BYTES] {
        let mut bytes = [b'x'; 16 + PATH_BYTES];
        bytes[..8].copy_from_slice(&7_u64.to_ne_bytes());
        bytes[8..16].copy_from_slice(&len.to_ne_bytes());
        bytes[16..16 + path.len()].copy_from_slice(path);
        bytes
    }

    #[test]
    fn a_path_ends_before_its_zero_byte() {
        assert_eq!(NewCgroup::read(&record(4, b"/ab\0")), Some((7, &b"/ab"[..])));
    }

    #[test]
    fn what_was_cut_or_not_read_is_no_path() {
        for len in [0, 1, PATH_BYTES as u64, u64::MAX] {
            assert_eq!(NewCgroup::read(&record(len, b"/a")), None, "{len}");
        }
        assert_eq!(NewCgroup::read(&record(9, b"/a")[..20]), None);
        assert_eq!(NewCgroup::read(&[]), None);
    }
}
