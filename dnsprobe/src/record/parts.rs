//! The files of a recording: `FILE` is the newest part, `FILE.1` the one
//! before, and so on, as logrotate names them.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// When a part ends and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a part, about: a part ends with the block that reaches it.
    pub part_bytes: u64,
    /// Parts kept; the oldest is removed.
    pub parts: u32,
    /// How long a part lasts at most.
    pub part_time: Option<Duration>,
}

/// A recording cannot be begun.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Nothing is overwritten.
    #[error("{0} exists and is not overwritten; choose another name")]
    Exists(PathBuf),
    /// The file cannot be made.
    #[error("cannot create {path}")]
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Compression or the writing thread cannot be set up.
    #[error("cannot start to record")]
    Start(#[source] io::Error),
}

/// The name of an older part; 0 is the newest.
pub(super) fn part_path(file: &Path, age: u32) -> PathBuf {
    if age == 0 {
        return file.to_owned();
    }
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{age}"));
    PathBuf::from(name)
}

/// Makes the first part.
pub(super) fn create_first(file: &Path) -> Result<File, RecordError> {
    for path in [file.to_owned(), part_path(file, 1)] {
        // A device, such as a pipe or /dev/null, may be written to.
        if fs::metadata(&path).is_ok_and(|data| data.is_file() || data.is_dir()) {
            return Err(RecordError::Exists(path));
        }
    }
    create(file).map_err(|source| RecordError::Create { path: file.to_owned(), source })
}

/// Only its owner may read it: names asked for are nobody else's business.
fn create(file: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)
}

/// Ends a part: every file becomes one older, and the newest is made anew.
pub(super) fn rotate(file: &Path, parts: u32) -> io::Result<File> {
    let oldest = parts.saturating_sub(1);
    match fs::remove_file(part_path(file, oldest)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for age in (0..oldest).rev() {
        match fs::rename(part_path(file, age), part_path(file, age + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    create(file)
}

/// The parts that may belong to a recording, oldest first.
pub(super) fn existing(file: &Path) -> Vec<PathBuf> {
    let mut parts = vec![file.to_owned()];
    parts.extend((1..).map(|age| part_path(file, age)).take_while(|path| path.is_file()));
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_get_older_and_the_oldest_goes() {
        let directory = crate::record::tests::scratch("parts");
        let file = directory.join("a.rec");
        create_first(&file).unwrap();
        assert!(matches!(create_first(&file), Err(RecordError::Exists(_))));
        for round in 0..4 {
            fs::write(&file, format!("{round}")).unwrap();
            rotate(&file, 3).unwrap();
        }
        let texts: Vec<_> =
            existing(&file).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        assert_eq!(texts, ["2", "3", ""]);
        fs::write(&file, "x").unwrap();
        rotate(&directory.join("b.rec"), 1).unwrap();
        assert_eq!(existing(&directory.join("b.rec")).len(), 1);
        fs::remove_dir_all(directory).unwrap();
    }
}
