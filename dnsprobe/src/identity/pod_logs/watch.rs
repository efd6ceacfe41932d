//! What is new in a directory, told by the kernel: a pod that is gone when somebody
//! asks for its name has left it here.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fmt,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// The kernel keeps 16,384 events; more are lost, and the directory itself has
/// to be read, as it is for every name that is not known.
const BUFFER: usize = 4096;

/// An inotify watch.
pub(super) struct Watch {
    descriptor: OwnedFd,
    read: VecDeque<OsString>,
}

impl Watch {
    /// `None` when the directory does not exist or cannot be watched.
    pub(super) fn of(directory: &Path) -> Option<Self> {
        let descriptor = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        let what = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        inotify::add_watch(&descriptor, directory, what).ok()?;
        Some(Self { descriptor, read: VecDeque::new() })
    }

    /// The name of the next new entry; `None` when there is none now.
    pub(super) fn next(&mut self) -> Option<OsString> {
        if self.read.is_empty() {
            self.fill();
        }
        self.read.pop_front()
    }

    fn fill(&mut self) {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = inotify::Reader::new(&self.descriptor, &mut buffer);
        // One buffer is one system call; an error is "nothing now".
        while let Ok(event) = reader.next() {
            if let Some(name) = event.file_name() {
                self.read.push_back(OsStr::from_bytes(name.to_bytes()).to_owned());
            }
            if reader.is_buffer_empty() {
                break;
            }
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
