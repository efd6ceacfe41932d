//! What a cgroup's path tells: which pod and container, or which host unit.
//! Pure text; every layout of kubelet and the container runtimes is a test.

use super::escape;

/// Where a process or socket is placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// In a pod.
    Pod {
        /// UID with dashes.
        uid: String,
        /// Container id; `None` in the pod's own cgroup or a helper's.
        container: Option<String>,
    },
    /// In a container that is in no pod.
    Container {
        /// Its id.
        id: String,
    },
    /// In a systemd unit of the host, escaped.
    Unit(String),
    /// In a cgroup that names nobody.
    Nameless,
}

impl Placement {
    /// Reads a path below the root of a cgroup hierarchy.
    ///
    /// The outermost pod wins, and in it the outermost container: names further
    /// in may be chosen by the pod itself and prove nothing. Pods inside a plain
    /// container are those of a node that is a container (kind, minikube); so a
    /// plain container that may make cgroups could pose as a pod.
    pub(super) fn of(path: &str) -> Self {
        // Some runtimes put `slice:runtime:container` into one component when
        // they were configured for the other cgroup driver.
        let mut parts = path.split(['/', ':']);
        let mut below_kubepods = false;
        while let Some(part) = parts.next() {
            if let Some(uid) = pod_uid(part, below_kubepods) {
                let container = parts.find_map(container_id);
                return Self::Pod { uid, container };
            }
            below_kubepods |= is_kubepods(part);
        }
        if let Some(id) = path.split(['/', ':']).find_map(container_id) {
            return Self::Container { id };
        }
        unit(path).map_or(Self::Nameless, |name| Self::Unit(escape(name.as_bytes())))
    }
}

/// Whether a component is kubelet's root for pods, under either driver and
/// whatever kubelet's own cgroup root puts in front of it.
fn is_kubepods(part: &str) -> bool {
    let name = part.strip_suffix(".slice").unwrap_or(part);
    name == "kubepods" || name.ends_with("-kubepods")
}

/// The UID in a pod's component: `pod<uid>` below kubepods (cgroupfs driver)
/// or `kubepods[-class]-pod<uid>.slice` (systemd driver).
fn pod_uid(part: &str, below_kubepods: bool) -> Option<String> {
    let uid = match part.strip_suffix(".slice") {
        Some(slice) => {
            let (parent, uid) = slice.split_once("-pod")?;
            let parent = parent
                .strip_suffix("-besteffort")
                .or_else(|| parent.strip_suffix("-burstable"))
                .unwrap_or(parent);
            is_kubepods(parent).then_some(uid)?
        }
        None if below_kubepods => part.strip_prefix("pod")?,
        None => return None,
    };
    normal_uid(uid)
}

/// A UID as kubelet's directories spell it: systemd's driver writes `_` for
/// each `-`. `None` when it cannot be one.
pub(super) fn normal_uid(uid: &str) -> Option<String> {
    let plausible = (1..=64).contains(&uid.len())
        && uid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    plausible.then(|| uid.replace('_', "-"))
}

/// The id in a container's component: 64 hex digits behind the runtime's
/// prefix, if any. The monitor of cri-o and Podman lives beside the container
/// it watches and carries its id, but is not it.
fn container_id(part: &str) -> Option<String> {
    let name = part.strip_suffix(".scope").unwrap_or(part);
    let (runtime, id) = name.rsplit_once('-').unwrap_or(("", name));
    let is_id = id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
    (is_id && !runtime.ends_with("conmon")).then(|| id.to_owned())
}

/// The innermost systemd unit in a path; a slice only when there is nothing
/// more exact, because it groups units.
fn unit(path: &str) -> Option<&str> {
    const EXACT: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];
    let ends_with_unit = |part: &&str| EXACT.iter().any(|kind| part.ends_with(kind));
    let mut parts = path.rsplit('/');
    parts.clone().find(ends_with_unit).or_else(|| parts.find(|part| part.ends_with(".slice")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0f3a1b2c-1111-2222-3333-444455556666";
    const ID: &str = "aaaaaaaabbbbbbbbccccccccddddddddeeeeeeeeffffffff0000000011111111";

    fn pod(path: &str) -> (String, Option<String>) {
        match Placement::of(path) {
            Placement::Pod { uid, container } => (uid, container),
            other => panic!("{path}: {other:?}"),
        }
    }

    fn unit_of(path: &str) -> String {
        match Placement::of(path) {
            Placement::Unit(name) => name,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn every_layout_names_its_pod_and_container() {
        let systemd_uid = UID.replace('-', "_");
        let both = (UID.to_owned(), Some(ID.to_owned()));
        for class in ["", "-burstable", "-besteffort"] {
            let parent = if class.is_empty() {
                "/kubepods.slice".to_owned()
            } else {
                format!("/kubepods.slice/kubepods{class}.slice")
            };
            for container in ["cri-containerd-ID.scope", "crio-ID.scope", "docker-ID.scope", "ID"] {
                let container = container.replace("ID", ID);
                let path = format!("{parent}/kubepods{class}-pod{systemd_uid}.slice/{container}");
                assert_eq!(pod(&path), both, "{path}");
            }
        }
        for path in [
            format!("/kubepods/pod{UID}/{ID}"),
            format!("/kubepods/burstable/pod{UID}/{ID}"),
            format!("/kubepods/besteffort/pod{UID}/{ID}"),
            format!("/kubelet/kubepods/besteffort/pod{UID}/{ID}"),
            format!("/../../kubepods/besteffort/pod{UID}/{ID}"),
            format!("/kubepods/besteffort/pod{UID}/crio-{ID}"),
            format!(
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/\
                 kubelet-kubepods-burstable-pod{systemd_uid}.slice/cri-containerd-{ID}.scope"
            ),
            format!(
                "/system.slice/containerd.service/\
                 kubepods-burstable-pod{systemd_uid}.slice:cri-containerd:{ID}"
            ),
            format!("/kubepods/pod{UID}/{ID}/init.scope"),
            format!("/kubepods.slice/kubepods-pod{systemd_uid}.slice/crio-{ID}.scope/container"),
        ] {
            assert_eq!(pod(&path), both, "{path}");
        }
    }

    #[test]
    fn a_static_pod_is_named_by_its_hash() {
        let hash = "4b52d75cab61380f07c0c5a69fb371d4";
        let path =
            format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{hash}.slice");
        assert_eq!(pod(&path), (hash.to_owned(), None));
    }

    #[test]
    fn the_monitor_of_a_container_is_in_the_pod_but_not_the_container() {
        let path = format!("/kubepods/pod{UID}/crio-conmon-{ID}");
        assert_eq!(pod(&path), (UID.to_owned(), None));
    }

    #[test]
    fn a_pod_cannot_pose_as_another_by_naming_its_own_cgroups() {
        let other = "99999999-1111-2222-3333-444455556666";
        let path = format!("/kubepods/pod{UID}/{ID}/kubepods/pod{other}/{ID}");
        assert_eq!(pod(&path).0, UID);
    }

    #[test]
    fn outside_kubepods_nothing_is_a_pod() {
        for path in [format!("/pod{UID}"), format!("/mykubepods/pod{UID}"), "/".to_owned()] {
            assert_eq!(Placement::of(&path), Placement::Nameless, "{path}");
        }
        assert_eq!(unit_of(&format!("/user.slice/x-pod{UID}.slice")), format!("x-pod{UID}.slice"));
    }

    /// Paths as they were found on nodes of these kinds.
    #[test]
    fn nodes_inside_containers_and_distributions_of_their_own_have_the_same_pods() {
        let both = (UID.to_owned(), Some(ID.to_owned()));
        let systemd_uid = UID.replace('-', "_");
        let node = "1234567890abcdef".repeat(4);
        for path in [
            // kind, seen from the machine that runs the node's container.
            format!(
                "/system.slice/docker-{node}.scope/kubelet.slice/kubelet-kubepods.slice/\
                 kubelet-kubepods-besteffort.slice/\
                 kubelet-kubepods-besteffort-pod{systemd_uid}.slice/cri-containerd-{ID}.scope"
            ),
            format!("/docker/{node}/kubelet/kubepods/besteffort/pod{UID}/{ID}"),
            // kind with Podman.
            format!(
                "/machine.slice/libpod-{node}.scope/container/kubelet.slice/\
                 kubelet-kubepods.slice/kubelet-kubepods-pod{systemd_uid}.slice/\
                 cri-containerd-{ID}.scope"
            ),
            // minikube with the docker driver.
            format!("/docker/{node}/kubepods/burstable/pod{UID}/{ID}"),
            // k3s, and k3s without root.
            format!("/kubepods/besteffort/pod{UID}/{ID}"),
            format!(
                "/user.slice/user-1000.slice/user@1000.service/user.slice/k3s-rootless.scope/\
                 kubepods/burstable/pod{UID}/{ID}"
            ),
            // systemd or Docker inside a container of the pod.
            format!(
                "/kubepods.slice/kubepods-pod{systemd_uid}.slice/cri-containerd-{ID}.scope/\
                 system.slice/nginx.service"
            ),
            format!("/kubepods/burstable/pod{UID}/{ID}/docker/{node}"),
            // Seen from a cgroup namespace beside it.
            format!("/../../pod{UID}/../kubepods/pod{UID}/{ID}"),
        ] {
            assert_eq!(pod(&path), both, "{path}");
        }
    }

    #[test]
    fn a_container_outside_pods_is_no_host_process() {
        for path in [
            format!("/docker/{ID}"),
            format!("/system.slice/docker-{ID}.scope"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
            format!(
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/\
                 container"
            ),
            format!("/libpod_parent/libpod-{ID}"),
            format!("/system.slice/crio-{ID}.scope"),
            format!("/system.slice/nerdctl-{ID}.scope"),
            format!("/k8s.io/{ID}"),
            format!("/default/{ID}"),
            format!("/system.slice:docker:{ID}"),
        ] {
            assert_eq!(Placement::of(&path), Placement::Container { id: ID.to_owned() }, "{path}");
        }
        let monitor = format!("/machine.slice/libpod-conmon-{ID}.scope");
        assert_eq!(unit_of(&monitor), format!("libpod-conmon-{ID}.scope"));
    }

    #[test]
    fn a_host_process_is_named_by_its_innermost_unit() {
        assert_eq!(unit_of("/system.slice/systemd-resolved.service"), "systemd-resolved.service");
        assert_eq!(unit_of("/user.slice/user-0.slice/session-3.scope"), "session-3.scope");
        assert_eq!(unit_of("/user.slice/user-0.slice/user@0.service/app.slice"), "user@0.service");
        assert_eq!(unit_of("/system.slice"), "system.slice");
        assert_eq!(Placement::of("/my/own"), Placement::Nameless);
    }

    #[test]
    fn a_hostile_unit_name_is_escaped() {
        assert_eq!(unit_of("/\x1b[2J\n.service"), r"\027[2J\010.service");
    }
}
