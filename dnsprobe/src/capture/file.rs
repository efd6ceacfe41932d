//! The files: made only where the user says, never in place of another's, rotated as
//! tcpdump does, and readable at any moment up to the last packet written.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{
    Decision, Interface, Release, comment,
    pcapng::{self, PacketBlock, Statistics},
    rebuild::rebuild,
};
use crate::time::Timestamp;

/// Interfaces that are told apart in one file; pods come and go.
const INTERFACES: usize = 4_096;

/// What is written together.
const CHUNK: usize = 1 << 16;

/// When a file is full, and how many there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// A file that is larger than this is followed by another, bytes.
    pub bytes: Option<u64>,
    /// So many files, then from the first one again.
    pub files: Option<u32>,
}

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It could not be made.
    #[error("cannot make {}", path.display())]
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It could not be written on.
    #[error("cannot write {}; what was written before ({packets} packets) can be read", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Packets in all files.
        packets: u64,
        /// Why.
        source: io::Error,
    },
}

impl WriteError {
    /// What to do about it, where there is something to do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Create { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                Some("capture overwrites no file that it has not made; remove it or name another")
            }
            _ => None,
        }
    }
}

/// The files of a capture.
pub struct Files {
    base: PathBuf,
    rotation: Rotation,
    /// What every file says of where it was made.
    about: About,
    path: PathBuf,
    file: File,
    /// Whole blocks that are still to be written.
    buffer: Vec<u8>,
    /// Bytes of whole blocks in the file.
    written: u64,
    /// How many files were made before this one.
    number: u64,
    interfaces: HashMap<Option<Interface>, u32>,
    packets_here: u64,
    packets: u64,
    /// Of these, those that are in the files.
    flushed: u64,
    /// First and last moment in this file, Unix nanoseconds.
    first_ns: u64,
    last_ns: u64,
}

/// What every file says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// Name and release of the operating system.
    pub os: String,
    /// Comments on the whole of it.
    pub comments: Vec<String>,
    /// Bytes kept of each packet.
    pub snap_bytes: u32,
}

impl Files {
    /// Makes the first file.
    ///
    /// # Errors
    /// When it cannot be made, or is there already.
    pub fn create(base: &Path, rotation: Rotation, about: About) -> Result<Self, WriteError> {
        let path = name(base, rotation, 0);
        let file = create(&path, true)?;
        let mut files = Self {
            base: base.to_owned(),
            rotation,
            about,
            path,
            file,
            buffer: Vec::new(),
            written: 0,
            number: 0,
            interfaces: HashMap::new(),
            packets_here: 0,
            packets: 0,
            flushed: 0,
            first_ns: 0,
            last_ns: 0,
        };
        files.begin();
        files.flush()?;
        Ok(files)
    }

    /// Packets written so far.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Bytes of the file that is written now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// How many files were made.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.number + 1
    }

    /// The file that is written now.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a packet; `lost`: packets that were not captured so far.
    ///
    /// # Errors
    /// When it cannot be written. The file ends with the last whole packet then.
    pub fn packet(&mut self, release: &Release, lost: u64) -> Result<(), WriteError> {
        if self.rotation.bytes.is_some_and(|limit| self.bytes() > limit) {
            self.next(lost)?;
        }
        let Release { seen, own, others } = release;
        let interface = self.interface(seen.packet.interface.as_ref());
        let others: Vec<&Decision> = others.iter().map(AsRef::as_ref).collect();
        let rebuilt = rebuild(&seen.packet);
        let comments = comment::comments(seen, &rebuilt, own.as_deref(), &others);
        let unix_ns = seen.time.unix_ns();
        let block = PacketBlock {
            interface,
            unix_ns,
            bytes: &rebuilt.bytes,
            len: rebuilt.len,
            way: comment::way(seen),
            comments: &comments,
        };
        pcapng::packet(&mut self.buffer, &block);
        if self.packets_here == 0 {
            self.first_ns = unix_ns;
        }
        self.last_ns = self.last_ns.max(unix_ns);
        self.packets_here += 1;
        self.packets += 1;
        if self.buffer.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    /// Writes what is due.
    ///
    /// # Errors
    /// As [`Self::packet`].
    pub fn flush(&mut self) -> Result<(), WriteError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        match self.file.write_all(&self.buffer) {
            Ok(()) => {
                self.written += self.buffer.len() as u64;
                self.buffer.clear();
                self.flushed = self.packets;
                Ok(())
            }
            Err(source) => {
                // Half a block would make a reader complain.
                if !is_stdout(&self.path) {
                    let _ = self.file.set_len(self.written);
                }
                let (path, packets) = (self.path.clone(), self.flushed);
                Err(WriteError::Write { path, packets, source })
            }
        }
    }

    /// Ends the last file: `lost` packets were not captured, up to `until`.
    ///
    /// # Errors
    /// As [`Self::packet`].
    pub fn finish(&mut self, lost: u64, until: Timestamp) -> Result<(), WriteError> {
        self.last_ns = self.last_ns.max(until.unix_ns());
        self.end(lost)
    }

    fn begin(&mut self) {
        let application = concat!("dnsprobe ", env!("CARGO_PKG_VERSION"));
        pcapng::section(&mut self.buffer, &self.about.os, application, &self.about.comments);
    }

    fn next(&mut self, lost: u64) -> Result<(), WriteError> {
        self.end(lost)?;
        let number = self.number + 1;
        let path = name(&self.base, self.rotation, number);
        // From the second round on the files are this capture's own.
        let is_new = self.rotation.files.is_none_or(|files| number < u64::from(files));
        self.file = create(&path, is_new)?;
        self.path = path;
        self.number = number;
        self.written = 0;
        self.interfaces.clear();
        self.packets_here = 0;
        self.begin();
        Ok(())
    }

    /// The counts, at the end of a file. They are of the capture as a whole, so any
    /// interface will do.
    fn end(&mut self, lost: u64) -> Result<(), WriteError> {
        let interface = match self.interfaces.values().min() {
            Some(interface) => *interface,
            None => self.interface(None),
        };
        let comment = format!(
            "packets of all interfaces: {} in this file, {lost} not captured for want of room",
            self.packets_here
        );
        pcapng::statistics(
            &mut self.buffer,
            &Statistics {
                interface,
                start_ns: if self.packets_here == 0 { self.last_ns } else { self.first_ns },
                end_ns: self.last_ns,
                lost,
                written: self.packets_here,
                comments: &[comment],
            },
        );
        self.flush()
    }

    /// The number of an interface in this file, which is described when it is new.
    fn interface(&mut self, interface: Option<&Interface>) -> u32 {
        let mut key = interface.cloned();
        if self.interfaces.len() >= INTERFACES && !self.interfaces.contains_key(&key) {
            key = None;
        }
        if let Some(number) = self.interfaces.get(&key) {
            return *number;
        }
        let number = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        let (name, description) = match &key {
            Some(it) => (
                format!("{}@{}", it.name, it.netns),
                format!("interface {} ({}) of network namespace {}", it.name, it.index, it.netns),
            ),
            None => ("other".to_owned(), "no interface, or one of too many".to_owned()),
        };
        pcapng::interface(&mut self.buffer, &name, &description, self.about.snap_bytes);
        self.interfaces.insert(key, number);
        number
    }
}

/// The name of a file as tcpdump gives it: the first one's is the base, the others'
/// have a number behind that; where there is a round of files all have one, with
/// zeros in front.
fn name(base: &Path, rotation: Rotation, number: u64) -> PathBuf {
    let mut name = base.as_os_str().to_owned();
    match rotation.files {
        Some(files) => {
            let width = files.saturating_sub(1).to_string().len();
            name.push(format!("{:0width$}", number % u64::from(files.max(1))));
        }
        None if number > 0 => name.push(number.to_string()),
        None => {}
    }
    name.into()
}

/// Whether what is written goes to standard output, as with tcpdump.
fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

fn create(path: &Path, is_new: bool) -> Result<File, WriteError> {
    let failed = |source| WriteError::Create { path: path.to_owned(), source };
    if is_stdout(path) {
        return io::stdout().as_fd().try_clone_to_owned().map(File::from).map_err(failed);
    }
    let mut options = OpenOptions::new();
    // Names that were asked for are in it.
    options.write(true).mode(0o600);
    if is_new {
        options.create_new(true);
    } else {
        options.create(true).truncate(true);
    }
    options.open(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_tcpdump_names_them() {
        let name = |files, number| {
            let rotation = Rotation { bytes: Some(1), files };
            name(Path::new("d/x.pcapng"), rotation, number).display().to_string()
        };
        assert_eq!(name(None, 0), "d/x.pcapng");
        assert_eq!(name(None, 12), "d/x.pcapng12");
        assert_eq!(name(Some(3), 0), "d/x.pcapng0");
        assert_eq!(name(Some(3), 4), "d/x.pcapng1");
        assert_eq!(name(Some(10), 9), "d/x.pcapng9");
        assert_eq!(name(Some(11), 9), "d/x.pcapng09");
        assert_eq!(name(Some(11), 11), "d/x.pcapng00");
    }

    #[test]
    fn a_full_disk_is_an_error_that_says_what_is_kept() {
        let path = std::env::temp_dir().join(format!("dnsprobe-full-{}", std::process::id()));
        let about = About { os: String::new(), comments: Vec::new(), snap_bytes: 64 };
        let mut files = Files::create(&path, Rotation::default(), about).unwrap();
        let whole = files.bytes();
        files.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = files.finish(0, Timestamp::from_unix_ns(1)).unwrap_err();
        assert!(error.to_string().contains("(0 packets) can be read"), "{error}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), whole);
        std::fs::remove_file(&path).unwrap();
    }
}
