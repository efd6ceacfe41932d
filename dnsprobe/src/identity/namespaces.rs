//! Network namespace to owner, for sockets whose cgroup tells nothing.

use std::sync::Arc;

use super::{Owner, UnattributedReason, bounded::Bounded, process::Processes};

/// Namespaces remembered; the oldest is forgotten first.
const NAMESPACES: usize = 4_096;
/// Living users remembered per namespace; enough to notice sharing.
const USERS: usize = 64;

/// Who uses which network namespace, as far as processes have shown.
///
/// A namespace has an owner only while all its known users that still live
/// agree; when the last of them ends, the owner stays until somebody else
/// shows up, because inode numbers are used again.
#[derive(Debug)]
pub(super) struct Namespaces {
    known: Bounded<u32, Namespace>,
    /// The host's own namespace. Pods in it are never its owner.
    host: Option<u32>,
}

#[derive(Debug)]
struct Namespace {
    owner: Arc<Owner>,
    users: Vec<u32>,
}

impl Namespaces {
    pub(super) fn new(host: Option<u32>) -> Self {
        Self { known: Bounded::new(NAMESPACES), host }
    }

    /// The owner of a namespace, if its users agree on one, or the
    /// unattributed class if they do not.
    pub(super) fn owner(&self, netns: u32) -> Option<Arc<Owner>> {
        self.known.get(&netns).map(|namespace| Arc::clone(&namespace.owner))
    }

    /// The same, if one of those users is in the namespace still: else its number
    /// may stand for another by now.
    pub(super) fn living_owner(&self, netns: u32, processes: &Processes) -> Option<Arc<Owner>> {
        let namespace = self.known.get(&netns)?;
        let lives = |user: &u32| processes.netns(*user) == Some(netns);
        namespace.users.iter().any(lives).then(|| Arc::clone(&namespace.owner))
    }

    /// Whether this user of the namespace has been looked at.
    pub(super) fn knows(&self, netns: u32, tgid: u32) -> bool {
        self.known.get(&netns).is_some_and(|namespace| namespace.users.contains(&tgid))
    }

    /// Whether this is, or may be, the host's own namespace.
    pub(super) fn is_host(&self, netns: u32) -> bool {
        self.host.is_none_or(|host| host == netns)
    }

    /// Takes note that a process of `owner` uses the namespace.
    pub(super) fn observe(
        &mut self,
        netns: u32,
        tgid: u32,
        owner: &Arc<Owner>,
        processes: &Processes,
    ) {
        let owner = match **owner {
            Owner::Pod { .. } | Owner::Container { .. } if self.is_host(netns) => shared(),
            _ => Arc::clone(owner),
        };
        let Some(namespace) = self.known.get_mut(&netns) else {
            self.known.insert(netns, Namespace { owner, users: vec![tgid] });
            return;
        };
        namespace.users.retain(|&user| user != tgid && processes.netns(user) == Some(netns));
        let alone = namespace.users.is_empty();
        namespace.owner = common(&namespace.owner, owner, alone);
        if namespace.users.len() >= USERS {
            namespace.users.remove(0);
        }
        namespace.users.push(tgid);
    }
}

/// The owner that a known and a new user agree on; `alone`: the known users are
/// gone. Host processes go by the name seen first for good, so that what the
/// kernel counts together keeps one owner.
fn common(known: &Arc<Owner>, new: Arc<Owner>, alone: bool) -> Arc<Owner> {
    match (&**known, &*new) {
        (Owner::Host { .. }, Owner::Host { .. }) => Arc::clone(known),
        (a, b) if alone || a == b => new,
        _ => shared(),
    }
}

fn shared() -> Arc<Owner> {
    Arc::new(Owner::Unattributed { reason: UnattributedReason::SharedNamespace })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{PodDetails, testing::FakeProc};

    const HOST: u32 = 1;
    const POD: u32 = 2;

    fn pod(uid: &str) -> Arc<Owner> {
        Arc::new(Owner::Pod {
            namespace: None,
            pod: None,
            container: None,
            uid: uid.to_owned(),
            details: PodDetails::default(),
        })
    }

    fn host(name: &str) -> Arc<Owner> {
        Arc::new(Owner::Host { name: name.to_owned() })
    }

    struct Fixture {
        proc: FakeProc,
        processes: Processes,
        namespaces: Namespaces,
    }

    impl Fixture {
        fn new() -> Self {
            let proc = FakeProc::new();
            let processes = Processes::new(proc.path().to_owned());
            Self { proc, processes, namespaces: Namespaces::new(Some(HOST)) }
        }

        fn observe(&mut self, netns: u32, tgid: u32, owner: &Arc<Owner>) -> Arc<Owner> {
            self.proc.add(tgid, netns, b"x", "");
            self.namespaces.observe(netns, tgid, owner, &self.processes);
            self.namespaces.owner(netns).unwrap()
        }
    }

    #[test]
    fn users_that_agree_own_the_namespace() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.observe(POD, 10, &pod("a")), pod("a"));
        assert_eq!(fixture.observe(POD, 11, &pod("a")), pod("a"));
        assert!(fixture.namespaces.knows(POD, 10));
        assert!(!fixture.namespaces.knows(POD, 12));
    }

    #[test]
    fn users_that_disagree_leave_it_unattributed() {
        let mut fixture = Fixture::new();
        fixture.observe(POD, 10, &pod("a"));
        assert_eq!(fixture.observe(POD, 11, &pod("b")), shared());
        assert_eq!(fixture.observe(POD, 12, &pod("a")), shared());
    }

    #[test]
    fn a_namespace_number_used_again_belongs_to_its_new_user() {
        let mut fixture = Fixture::new();
        fixture.observe(POD, 10, &pod("a"));
        fixture.proc.remove(10);
        assert_eq!(fixture.namespaces.owner(POD), Some(pod("a")));
        assert_eq!(fixture.observe(POD, 11, &pod("b")), pod("b"));
    }

    #[test]
    fn a_pod_in_the_hosts_namespace_does_not_own_it() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.observe(HOST, 10, &host("dig")), host("dig"));
        assert_eq!(fixture.observe(HOST, 11, &host("curl")), host("dig"));
        fixture.proc.remove(10);
        fixture.proc.remove(11);
        assert_eq!(fixture.observe(HOST, 13, &host("curl")), host("dig"));
        assert_eq!(fixture.observe(HOST, 12, &pod("a")), shared());
    }
}
