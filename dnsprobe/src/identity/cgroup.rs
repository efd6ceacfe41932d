//! cgroup v2 id to path: one system call where the kernel allows it, else a
//! bounded walk of the hierarchy.

use std::{
    collections::HashMap,
    fmt,
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::fs::{DirEntryExt, MetadataExt},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::bounded::Bounded;

/// At most one walk in this time, however many ids are unknown.
const WALK_INTERVAL: Duration = Duration::from_secs(1);
/// Directories looked at in one walk; a full node has some thousands.
const WALK_DIRECTORIES: usize = 20_000;
/// Groups remembered that the kernel told of as they were made; the oldest is
/// forgotten first. Only those that are gone when they are asked for need it, so
/// this covers some seconds of a flood.
const LEARNED: usize = 8_192;
/// `CGROUP2_SUPER_MAGIC`, include/uapi/linux/magic.h.
const CGROUP2_MAGIC: u64 = 0x6367_7270;
/// Type of a kernfs file handle (`FILEID_KERNFS`), Linux 5.5 and newer.
const HANDLE_KERNFS: i32 = 0xfe;

/// How cgroup ids are looked up on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CgroupAccess {
    /// By file handle, in constant time.
    Handle {
        /// The cgroup2 mount.
        root: PathBuf,
    },
    /// By walking the hierarchy and comparing inode numbers.
    Walk {
        /// The cgroup2 mount.
        root: PathBuf,
        /// Why handles cannot be used.
        reason: String,
    },
    /// Not at all: sockets are attributed by network namespace only.
    None {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for CgroupAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handle { root } => write!(f, "by file handle on {}", root.display()),
            Self::Walk { root, reason } => {
                write!(f, "by walking {} (no file handles: {reason})", root.display())
            }
            Self::None { reason } => write!(f, "by network namespace only ({reason})"),
        }
    }
}

/// The cgroup2 hierarchy.
#[derive(Debug)]
pub(super) struct Cgroups {
    access: CgroupAccess,
    root: Option<Root>,
    /// Whether this is the only hierarchy, so that who is in its root is in no
    /// group at all.
    unified: bool,
    /// Path by id, as the kernel told when the group was made. Ids are never
    /// used twice.
    learned: Bounded<u64, Box<str>>,
    /// Result of the last walk.
    walked: HashMap<u64, String>,
    walked_at: Option<Instant>,
}

#[derive(Debug)]
struct Root {
    directory: File,
    /// Its path as the kernel prints it.
    path: PathBuf,
    id: u64,
}

impl Cgroups {
    /// Opens the hierarchy at `root`, or where `proc_root` says that it is
    /// mounted.
    pub(super) fn open(root: Option<PathBuf>, proc_root: &Path) -> Self {
        let opened = root
            .map_or_else(|| find_mount(proc_root), Ok)
            .and_then(|path| Root::open(&path).map_err(|e| format!("{}: {e}", path.display())));
        let (access, root) = match opened {
            Ok(root) => {
                let path = root.path.clone();
                let access = match root.open_id(root.id) {
                    Ok(_) => CgroupAccess::Handle { root: path },
                    Err(e) => CgroupAccess::Walk { root: path, reason: e.to_string() },
                };
                (access, Some(root))
            }
            Err(reason) => (CgroupAccess::None { reason }, None),
        };
        let unified = fs::read_to_string(proc_root.join("1/cgroup")).is_ok_and(|t| is_unified(&t));
        Self {
            access,
            root,
            unified,
            learned: Bounded::new(LEARNED),
            walked: HashMap::new(),
            walked_at: None,
        }
    }

    /// Takes note of a group that the kernel has just made.
    pub(super) fn learn(&mut self, id: u64, path: &str) {
        if id != 0 {
            self.learned.insert(id, path.into());
        }
    }

    /// Id of the root, where that means "outside any pod"; else 0.
    pub(super) fn root_outside_pods(&self) -> u64 {
        self.root.as_ref().filter(|_| self.unified).map_or(0, |root| root.id)
    }

    /// Whether an id proves that a process is in no pod.
    pub(super) fn is_outside_pods(&self, id: u64) -> bool {
        id != 0 && id == self.root_outside_pods()
    }

    pub(super) fn access(&self) -> &CgroupAccess {
        &self.access
    }

    /// Whether an id tells nothing: it is unknown, or cannot be looked up, or
    /// is the root's, where everything is on hosts that place processes by
    /// cgroup v1.
    pub(super) fn tells_nothing(&self, id: u64) -> bool {
        id == 0 || self.root.as_ref().is_none_or(|root| root.id == id)
    }

    /// The path of a cgroup below the root, beginning with a slash. `None`
    /// when it does not exist (any more).
    pub(super) fn path(&mut self, id: u64, now: Instant) -> Option<String> {
        if let Some(path) = self.learned.get(&id) {
            return Some(String::from(&**path));
        }
        let root = self.root.as_ref()?;
        if matches!(self.access, CgroupAccess::Handle { .. }) {
            return root.path_of(id);
        }
        let due = self.walked_at.is_none_or(|at| now.duration_since(at) >= WALK_INTERVAL);
        if due && !self.walked.contains_key(&id) {
            self.walked = walk(&root.path);
            self.walked_at = Some(now);
        }
        self.walked.get(&id).cloned()
    }
}

impl Root {
    fn open(path: &Path) -> io::Result<Self> {
        let directory = File::open(path)?;
        let id = directory.metadata()?.ino();
        let path = path_of_file(&directory)?;
        Ok(Self { directory, path, id })
    }

    /// Opens a cgroup's directory by its id.
    fn open_id(&self, id: u64) -> io::Result<File> {
        /// `struct file_handle` with the eight bytes a kernfs handle has.
        #[repr(C)]
        struct Handle {
            bytes: u32,
            kind: i32,
            id: u64,
        }
        let mut handle = Handle { bytes: 8, kind: HANDLE_KERNFS, id };
        // SAFETY: `handle` lives through the call, is laid out as
        // `struct file_handle` and announces exactly the bytes it has; the
        // kernel only reads it.
        let fd = unsafe {
            libc::open_by_handle_at(
                self.directory.as_raw_fd(),
                (&raw mut handle).cast(),
                libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call returned this descriptor and nothing else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) }.into())
    }

    fn path_of(&self, id: u64) -> Option<String> {
        let directory = self.open_id(id).ok()?;
        if directory.metadata().ok()?.ino() != id {
            return None;
        }
        let path = path_of_file(&directory).ok()?;
        let below = path.strip_prefix(&self.path).ok()?.to_string_lossy().into_owned();
        // A cgroup deleted this moment still tells its name.
        Some(format!("/{}", below.strip_suffix(" (deleted)").unwrap_or(&below)))
    }
}

fn path_of_file(file: &File) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Every cgroup below `root` by inode number, which is its id; outer ones
/// first, as far as the limit reaches.
fn walk(root: &Path) -> HashMap<u64, String> {
    let mut found = HashMap::new();
    let mut level = vec![String::new()];
    while !level.is_empty() {
        let mut next = Vec::new();
        for parent in level {
            let Ok(entries) = fs::read_dir(root.join(parent.trim_start_matches('/'))) else {
                continue; // deleted meanwhile
            };
            for entry in entries.flatten() {
                if found.len() >= WALK_DIRECTORIES {
                    return found;
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    let path = format!("{parent}/{}", entry.file_name().to_string_lossy());
                    found.insert(entry.ino(), path.clone());
                    next.push(path);
                }
            }
        }
        level = next;
    }
    found
}

/// Whether a process's cgroup text names the unified hierarchy only.
fn is_unified(text: &str) -> bool {
    !text.is_empty() && text.lines().all(|line| line.starts_with("0::"))
}

/// Where below a node's `/sys/fs/cgroup`, wherever that is mounted, its cgroup2
/// hierarchy is; the directory itself when nothing tells.
#[must_use]
pub fn unified_below(directory: &Path) -> PathBuf {
    let is_unified = |path: &Path| {
        rustix::fs::statfs(path).is_ok_and(|found| found.f_type as u64 == CGROUP2_MAGIC)
    };
    let hybrid = directory.join("unified");
    if !is_unified(directory) && is_unified(&hybrid) { hybrid } else { directory.to_owned() }
}

/// Where the cgroup2 hierarchy is mounted: `/sys/fs/cgroup` on unified hosts,
/// `/sys/fs/cgroup/unified` on hybrid ones.
fn find_mount(proc_root: &Path) -> Result<PathBuf, String> {
    let file = proc_root.join("self/mountinfo");
    let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    mount_point(&text).ok_or_else(|| "no cgroup2 file system is mounted".to_owned())
}

/// The cgroup2 mount in a mountinfo text; one of the whole hierarchy before
/// one of a part of it.
fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let is_cgroup2 = file_system.split(' ').next() == Some("cgroup2");
        is_cgroup2.then(|| (root != "/", PathBuf::from(point.replace("\\040", " "))))
    });
    mounts.min_by_key(|(is_part, _)| *is_part).map(|(_, point)| point)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::testing::TempDir;

    #[test]
    fn the_mount_is_found_on_unified_and_hybrid_hosts() {
        let unified = "24 1 0:22 / /proc rw - proc proc rw\n\
            30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(mount_point(unified), Some("/sys/fs/cgroup".into()));
        let hybrid = "29 23 0:25 / /sys/fs/cgroup ro shared:9 - tmpfs tmpfs ro\n\
            30 29 0:26 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw\n\
            31 29 0:27 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,name=systemd\n";
        assert_eq!(mount_point(hybrid), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount_point("29 23 0:25 / / ro - tmpfs tmpfs ro\n"), None);
        let part = "30 29 0:26 /a /mnt/a\\040b rw - cgroup2 none rw\n";
        assert_eq!(mount_point(part), Some("/mnt/a b".into()));
        let whole = format!("{part}31 29 0:26 / /whole rw - cgroup2 none rw\n");
        assert_eq!(mount_point(&whole), Some("/whole".into()));
    }

    #[test]
    fn a_walk_finds_ids_by_inode_and_happens_once_per_interval() {
        let temp = TempDir::new();
        let inner = temp.path().join("kubepods/pod1");
        fs::create_dir_all(&inner).unwrap();
        let id = fs::metadata(&inner).unwrap().ino();
        let mut cgroups = Cgroups::open(Some(temp.path().to_owned()), Path::new("/proc"));
        assert!(matches!(cgroups.access(), CgroupAccess::Walk { .. }), "{}", cgroups.access());
        let start = Instant::now();
        assert_eq!(cgroups.path(id, start).as_deref(), Some("/kubepods/pod1"));

        let late = temp.path().join("late");
        fs::create_dir(&late).unwrap();
        let late_id = fs::metadata(&late).unwrap().ino();
        assert_eq!(cgroups.path(late_id, start + WALK_INTERVAL / 2), None);
        assert_eq!(cgroups.path(late_id, start + WALK_INTERVAL).as_deref(), Some("/late"));
        assert!(cgroups.tells_nothing(fs::metadata(temp.path()).unwrap().ino()));
        assert!(cgroups.tells_nothing(0));
        assert!(!cgroups.tells_nothing(id));
    }

    #[test]
    fn a_group_that_the_kernel_told_of_is_known_after_it_is_gone() {
        let temp = TempDir::new();
        let mut cgroups = Cgroups::open(Some(temp.path().to_owned()), Path::new("/proc"));
        cgroups.learn(9_999_999, "/kubepods/pod1");
        assert_eq!(cgroups.path(9_999_999, Instant::now()).as_deref(), Some("/kubepods/pod1"));
        for id in 0..2 * LEARNED as u64 {
            cgroups.learn(10_000_000 + id, "/flood");
        }
        assert_eq!(cgroups.path(9_999_999, Instant::now()), None);
        cgroups.learn(0, "/nothing");
        assert_eq!(cgroups.path(0, Instant::now()), None);
    }

    #[test]
    fn the_unified_hierarchy_is_found_below_a_hosts_mount() {
        let temp = TempDir::new();
        fs::create_dir(temp.path().join("unified")).unwrap();
        assert_eq!(unified_below(temp.path()), temp.path());
        if let Ok(mounted) = find_mount(Path::new("/proc")) {
            assert_eq!(unified_below(&mounted), mounted);
            if mounted.ends_with("unified") {
                assert_eq!(unified_below(mounted.parent().unwrap()), mounted);
            }
        }
    }

    #[test]
    fn without_a_hierarchy_the_reason_is_told() {
        let mut cgroups = Cgroups::open(Some("/does/not/exist".into()), Path::new("/proc"));
        assert_eq!(cgroups.path(7, Instant::now()), None);
        assert!(cgroups.tells_nothing(7));
        let access = cgroups.access().to_string();
        assert!(
            access.starts_with("by network namespace only (/does/not/exist: No such"),
            "{access}"
        );
    }

    #[test]
    fn the_hierarchy_of_this_machine_is_found_if_it_has_one() {
        let mut cgroups = Cgroups::open(None, Path::new("/proc"));
        let mounted = fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - cgroup2 ");
        assert_eq!(mounted, cgroups.root.is_some(), "{}", cgroups.access());
        let Some(root) = cgroups.root.as_ref().map(|root| root.path.clone()) else { return };
        for entry in fs::read_dir(root).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                let path = cgroups.path(entry.ino(), Instant::now());
                let name = entry.file_name();
                assert_eq!(path.as_deref(), Some(format!("/{}", name.to_string_lossy()).as_str()));
            }
        }
    }
}
