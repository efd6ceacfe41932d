//! Lines on standard output that never hold anybody up: written by a thread of
//! their own. What it cannot write in time, or at all, is counted.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

/// Lines that wait at most.
const WAITING: usize = 1_024;
/// Stack of the thread, bytes.
const STACK: usize = 64 * 1024;
/// How long the last lines have when the program ends.
const FLUSH: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Lines {
    sender: Option<SyncSender<Vec<u8>>>,
    lost: Arc<AtomicU64>,
    done: Receiver<()>,
}

impl Lines {
    /// Begins to write to `out`.
    pub(super) fn to(mut out: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, lines) = sync_channel::<Vec<u8>>(WAITING);
        let (finished, done) = sync_channel(1);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        thread::Builder::new().name("lines".to_owned()).stack_size(STACK).spawn(move || {
            for line in lines {
                if out.write_all(&line).and_then(|()| out.flush()).is_err() {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
            let _ = finished.send(());
        })?;
        Ok(Self { sender: Some(sender), lost, done })
    }

    /// Has a line written; whether there was room for it.
    pub(super) fn write(&self, line: Vec<u8>) -> bool {
        self.sender.as_ref().is_some_and(|sender| sender.try_send(line).is_ok())
    }

    /// Lines that there was room for and that could not be written after all.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.sender = None;
        let _ = self.done.recv_timeout(FLUSH);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Blocks until told.
    struct Stuck(Arc<Mutex<()>>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            drop(self.0.lock());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_counted() {
        let lines = Lines::to(Full).unwrap();
        let lost = Arc::clone(&lines.lost);
        assert!(lines.write(b"a\n".to_vec()));
        drop(lines);
        assert_eq!(lost.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_reader_that_does_not_read_holds_nobody_up() {
        let gate = Arc::new(Mutex::new(()));
        let closed = gate.lock().unwrap();
        let lines = Lines::to(Stuck(Arc::clone(&gate))).unwrap();
        let refused = (0..WAITING + 10).filter(|_| !lines.write(b"a\n".to_vec())).count();
        // One may be in the writer's hands.
        assert!((9..=10).contains(&refused), "{refused}");
        drop(closed);
    }
}
