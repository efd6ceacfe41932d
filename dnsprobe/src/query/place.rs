//! Where queries are sent from: a network namespace, entered by one thread.

use std::{
    fs::File,
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    thread,
};

use rustix::{
    io::Errno,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

/// A network namespace to ask from.
#[derive(Debug)]
pub struct Place {
    /// `None`: dnsprobe's own.
    namespace: Option<(PathBuf, File)>,
}

/// A namespace cannot be entered.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// It cannot be opened.
    #[error("cannot open the network namespace {path}: {error}")]
    Open {
        /// The file that stands for it.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The kernel refuses.
    #[error("cannot enter the network namespace {path}: {error}")]
    Enter {
        /// The file that stands for it.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A runtime or thread could not be made.
    #[error("cannot start the thread that asks: {0}")]
    Thread(io::Error),
}

impl PlaceError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Open { error, .. } | Self::Enter { error, .. }
                if error.kind() == io::ErrorKind::PermissionDenied =>
            {
                Some("run as root, or with CAP_SYS_ADMIN (to enter) and CAP_SYS_PTRACE (to open)")
            }
            Self::Open { error, .. } if error.kind() == io::ErrorKind::NotFound => {
                Some("the process may have ended; `ls /run/netns` lists named namespaces")
            }
            Self::Enter { error, .. } if error.kind() == io::ErrorKind::InvalidInput => {
                Some("give a network namespace, such as /run/netns/NAME or /proc/PID/ns/net")
            }
            _ => None,
        }
    }
}

impl Place {
    /// dnsprobe's own namespace.
    #[must_use]
    pub const fn here() -> Self {
        Self { namespace: None }
    }

    /// The namespace that a file stands for. It is opened now, so that it is
    /// the same later.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self, PlaceError> {
        match File::open(path) {
            Ok(file) => Ok(Self { namespace: Some((path.to_owned(), file)) }),
            Err(error) => Err(PlaceError::Open { path: path.to_owned(), error }),
        }
    }

    /// Runs asynchronous work on a thread of its own inside the namespace. The
    /// rest of the process stays where it is.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn run<T: Send, F: Future<Output = T>>(
        &self,
        work: impl FnOnce() -> F + Send,
    ) -> Result<T, PlaceError> {
        thread::scope(|scope| {
            let inside = thread::Builder::new().name("inside".to_owned());
            let thread = inside.spawn_scoped(scope, || {
                self.enter()?;
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(PlaceError::Thread)?;
                Ok(runtime.block_on(work()))
            });
            match thread.map_err(PlaceError::Thread)?.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Moves the calling thread.
    fn enter(&self) -> Result<(), PlaceError> {
        let Some((path, file)) = &self.namespace else { return Ok(()) };
        let entered = move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network));
        entered
            .map_err(|errno: Errno| PlaceError::Enter { path: path.clone(), error: errno.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_runs_here_on_another_thread() {
        let here = thread::current().id();
        let there = Place::here().run(|| async { thread::current().id() }).unwrap();
        assert_ne!(here, there);
    }

    #[test]
    fn what_is_no_namespace_is_refused_with_a_hint() {
        let missing = Place::open(Path::new("/nonexistent/ns")).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/ns") && missing.hint().is_some());
        let file = Place::open(Path::new("/dev/null")).unwrap();
        let refused = file.run(|| async {}).unwrap_err();
        assert!(refused.to_string().starts_with("cannot enter") && refused.hint().is_some());
    }
}
