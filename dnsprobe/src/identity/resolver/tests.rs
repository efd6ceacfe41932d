use std::{fs, os::unix::fs::MetadataExt};

use super::*;
use crate::identity::testing::{FakeProc, TempDir};
use crate::identity::{PodDetails, RuntimeDirs, WorkloadSource};

const HOST_NETNS: u32 = 4026531840;
const POD_NETNS: u32 = 4026532000;
const UID: &str = "0f3a1b2c-1111-2222-3333-444455556666";

struct Node {
    cgroups: TempDir,
    logs: TempDir,
    runtime: TempDir,
    proc: FakeProc,
    identity: Identity,
    start: Instant,
}

impl Node {
    fn new() -> Self {
        let (cgroups, logs, runtime) = (TempDir::new(), TempDir::new(), TempDir::new());
        let proc = FakeProc::new();
        proc.add(1, HOST_NETNS, b"init\n", "0::/init.scope\n");
        let identity = Identity::new(IdentityOptions {
            log_dir: logs.path().to_owned(),
            runtime_dirs: RuntimeDirs::below(runtime.path()),
            cgroup_root: Some(cgroups.path().to_owned()),
            proc_root: proc.path().to_owned(),
        });
        Self { cgroups, logs, runtime, proc, identity, start: Instant::now() }
    }

    fn cgroup(&self, path: &str) -> u64 {
        let path = self.cgroups.path().join(path);
        fs::create_dir_all(&path).unwrap();
        fs::metadata(path).unwrap().ino()
    }

    fn log(&self, name: &str) {
        fs::create_dir(self.logs.path().join(name)).unwrap();
    }

    /// The label after some seconds.
    fn label(&mut self, seconds: u64, cgroup: u64, netns: u32, tgid: u32) -> String {
        let key = OwnerKey { cgroup, netns, tgid, command: [0; 16] };
        self.identity.owner_at(key, self.start + Duration::from_secs(seconds)).to_string()
    }
}

#[test]
fn pods_are_found_with_all_their_processes() {
    let mut node = Node::new();
    node.log(&format!("shop_cart-0_{UID}"));
    let cgroup = |uid: &str| format!("0::/kubepods/burstable/pod{uid}\n");
    node.proc.add(70, POD_NETNS, b"app\n", &cgroup(UID));
    node.proc.add(69, POD_NETNS, b"pause\n", &cgroup(UID));
    node.proc.add(71, POD_NETNS + 1, b"app\n", &cgroup("u-2"));
    for (pid, mounts) in [(69, 1), (70, 2), (71, 3)] {
        let link = node.proc.path().join(format!("{pid}/ns/mnt"));
        std::os::unix::fs::symlink(format!("mnt:[{mounts}]"), link).unwrap();
    }
    let pods = node.identity.pods();
    let told: Vec<_> =
        pods.iter().map(|pod| (pod.owner.to_string(), pod.processes.clone())).collect();
    assert_eq!(told, [("pod/u-2".to_owned(), vec![71]), ("shop/cart-0".to_owned(), vec![69, 70])]);
}

#[test]
fn a_pod_keeps_its_name_after_it_was_deleted() {
    let mut node = Node::new();
    let id = node.cgroup(&format!("kubepods/burstable/pod{UID}"));
    node.log(&format!("shop_cart-0_{UID}"));
    assert_eq!(node.label(0, id, POD_NETNS, 0), "shop/cart-0");
    fs::remove_dir_all(node.cgroups.path().join("kubepods")).unwrap();
    fs::remove_dir_all(node.logs.path()).unwrap();
    assert_eq!(node.label(3600, id, POD_NETNS, 0), "shop/cart-0");
}

#[test]
fn a_pod_without_a_log_directory_goes_by_its_uid_until_it_has_one() {
    let mut node = Node::new();
    let id = node.cgroup(&format!("kubepods/pod{UID}"));
    assert_eq!(node.label(0, id, POD_NETNS, 0), format!("pod/{UID}"));
    node.log(&format!("shop_cart-0_{UID}"));
    assert_eq!(node.label(0, id, POD_NETNS, 0), format!("pod/{UID}"));
    assert_eq!(node.label(2, id, POD_NETNS, 0), "shop/cart-0");
}

#[test]
fn a_deleted_pod_that_was_never_named_keeps_its_uid() {
    let mut node = Node::new();
    let id = node.cgroup(&format!("kubepods/pod{UID}"));
    assert_eq!(node.label(0, id, 0, 0), format!("pod/{UID}"));
    fs::remove_dir_all(node.cgroups.path().join("kubepods")).unwrap();
    let other = node.cgroup("other");
    node.label(2, other, 0, 0);
    assert_eq!(node.label(9, id, 0, 0), format!("pod/{UID}"));
}

#[test]
fn a_host_process_goes_by_its_unit_or_else_its_escaped_command() {
    let mut node = Node::new();
    let unit = node.cgroup("system.slice/systemd-resolved.service");
    let bare = node.cgroup("own/group");
    node.proc.add(50, HOST_NETNS, b"x\x1b]0;\n", "0::/own/group\n");
    assert_eq!(node.label(0, unit, HOST_NETNS, 0), "host/systemd-resolved.service");
    assert_eq!(node.label(0, bare, HOST_NETNS, 50), r"host/x\027]0;");
}

#[test]
fn a_cgroup_that_is_gone_is_attributed_by_its_namespace_or_to_nobody() {
    let mut node = Node::new();
    assert_eq!(node.label(0, 9_999_999_999, POD_NETNS, 0), "unattributed");
    let id = node.cgroup(&format!("kubepods/pod{UID}"));
    node.log(&format!("shop_cart-0_{UID}"));
    node.proc.add(60, POD_NETNS, b"app\n", "");
    assert_eq!(node.label(2, id, POD_NETNS, 60), "shop/cart-0");
    assert_eq!(node.label(4, 9_999_999_999, POD_NETNS, 0), "shop/cart-0");
    assert_eq!(node.label(4, 9_999_999_998, HOST_NETNS, 0), "unattributed");
    // Nobody is left in it, so its number may be another's by now.
    node.proc.remove(60);
    assert_eq!(node.label(9, 9_999_999_997, POD_NETNS, 0), "unattributed");
}

#[test]
fn processes_in_no_group_go_by_the_command_the_kernel_recorded() {
    let mut node = Node::new();
    let root = fs::metadata(node.cgroups.path()).unwrap().ino();
    let mut owner = |command: &[u8], tgid| {
        let mut key = OwnerKey { cgroup: root, netns: HOST_NETNS, tgid, command: [0; 16] };
        key.command[..command.len()].copy_from_slice(command);
        node.identity.owner(key).to_string()
    };
    assert_eq!(owner(b"dig", 90), "host/dig");
    assert_eq!(owner(b"a\x1b[2J", 90), r"host/a\027[2J");
    assert_eq!(owner(b"", 1), "host/init");
    assert_eq!(owner(b"", 90), "unattributed");
}

#[test]
fn on_a_hybrid_host_the_process_and_its_namespace_tell() {
    let mut node = Node::new();
    node.log(&format!("shop_cart-0_{UID}"));
    let v1 = format!("4:memory:/kubepods/besteffort/pod{UID}/x\n1:name=systemd:/\n0::/\n");
    node.proc.add(70, POD_NETNS, b"app\n", &v1);
    assert_eq!(node.label(0, 0, POD_NETNS, 70), "shop/cart-0");
    // Remembered for packets whose process is not known, or gone.
    assert_eq!(node.label(0, 0, POD_NETNS, 0), "shop/cart-0");
    node.proc.remove(70);
    assert_eq!(node.label(9, 0, POD_NETNS, 70), "shop/cart-0");
}

#[test]
fn on_a_hybrid_host_a_neighbour_names_the_pod_of_a_process_that_is_gone() {
    let mut node = Node::new();
    node.log(&format!("shop_cart-0_{UID}"));
    node.proc.add(71, POD_NETNS, b"pause\n", &format!("4:memory:/kubepods/pod{UID}/x\n"));
    assert_eq!(node.label(0, 0, POD_NETNS, 70), "shop/cart-0");
    // A host process names nobody but itself.
    node.proc.add(72, POD_NETNS + 1, b"sleep\n", "0::/\n");
    assert_eq!(node.label(9, 0, POD_NETNS + 1, 73), "unattributed");
}

#[test]
fn a_process_that_left_the_namespace_proves_nothing() {
    let mut node = Node::new();
    node.proc.add(80, HOST_NETNS, b"app\n", "0::/\n");
    assert_eq!(node.label(0, 0, POD_NETNS, 80), "unattributed");
}

#[test]
fn a_host_network_pod_on_a_hybrid_host_is_not_guessed() {
    let mut node = Node::new();
    node.proc.add(90, HOST_NETNS, b"app\n", &format!("4:memory:/kubepods/pod{UID}\n"));
    assert_eq!(node.label(0, 0, HOST_NETNS, 90), "unattributed");
}

#[test]
fn without_cgroup_and_namespace_nobody_is_named() {
    let mut node = Node::new();
    let owner = node.identity.owner(OwnerKey::default());
    assert!(matches!(*owner, Owner::Unattributed { reason: UnattributedReason::NoCgroup }));
}

#[test]
fn a_name_in_a_namespace_that_was_unknown_at_first_is_learned_later() {
    let mut node = Node::new();
    let v1 = format!("4:memory:/kubepods/pod{UID}\n");
    node.proc.add(70, POD_NETNS, b"app\n", &v1);
    assert_eq!(node.label(0, 0, POD_NETNS, 70), format!("pod/{UID}"));
    node.log(&format!("shop_cart-0_{UID}"));
    assert_eq!(node.label(2, 0, POD_NETNS, 70), "shop/cart-0");
}

const ID: &str = "aaaaaaaabbbbbbbbccccccccddddddddeeeeeeeeffffffff0000000011111111";

impl Node {
    /// A container's configuration as containerd writes it.
    fn containerd(&self, id: &str, annotations: &str) -> std::path::PathBuf {
        let tasks = "run/containerd/io.containerd.runtime.v2.task/k8s.io";
        let directory = self.runtime.path().join(tasks).join(id);
        fs::create_dir_all(&directory).unwrap();
        let text = format!(r#"{{"annotations":{{{annotations}}}}}"#);
        fs::write(directory.join("config.json"), text).unwrap();
        directory
    }

    fn owner(&mut self, seconds: u64, cgroup: u64) -> Arc<Owner> {
        let key = OwnerKey { cgroup, ..OwnerKey::default() };
        self.identity.owner_at(key, self.start + Duration::from_secs(seconds))
    }
}

const ANNOTATIONS: &str = r#""io.kubernetes.cri.container-name":"app",
    "io.kubernetes.cri.sandbox-name":"cart-0","io.kubernetes.cri.sandbox-namespace":"shop",
    "io.kubernetes.cri.sandbox-uid":"0f3a1b2c-1111-2222-3333-444455556666""#;

#[test]
fn the_runtimes_files_name_the_container_and_without_logs_also_the_pod() {
    let mut node = Node::new();
    node.containerd(ID, ANNOTATIONS);
    let id = node.cgroup(&format!("kubepods/burstable/pod{UID}/{ID}"));
    let owner = node.owner(0, id);
    assert_eq!(owner.to_string(), "shop/cart-0");
    assert_eq!(owner.container_name(), Some("app"));
    let workload = owner.workload().unwrap();
    assert_eq!((workload.name.as_str(), workload.source), ("cart", WorkloadSource::PodName));
}

#[test]
fn files_that_name_another_pod_than_the_cgroup_are_not_believed() {
    let mut node = Node::new();
    node.containerd(ID, ANNOTATIONS);
    let id = node.cgroup(&format!("kubepods/burstable/pod99999999-1111/{ID}"));
    let owner = node.owner(0, id);
    assert_eq!(owner.to_string(), "pod/99999999-1111");
    assert_eq!(owner.container_name(), None);
}

#[test]
fn a_pod_that_is_gone_before_anybody_asks_is_known_from_its_cgroups_making() {
    let mut node = Node::new();
    let directory = node.containerd(ID, ANNOTATIONS);
    node.log(&format!("shop_cart-0_{UID}"));
    node.identity.learn(9_999_999, &format!("/kubepods/burstable/pod{UID}/{ID}"));
    fs::remove_dir_all(directory).unwrap();
    fs::remove_dir_all(node.logs.path().join(format!("shop_cart-0_{UID}"))).unwrap();
    let owner = node.owner(0, 9_999_999);
    assert_eq!(owner.to_string(), "shop/cart-0");
    assert_eq!(owner.container_name(), Some("app"));
}

#[test]
fn a_flood_of_new_cgroups_forgets_none_that_still_exists() {
    let mut node = Node::new();
    node.log(&format!("shop_cart-0_{UID}"));
    let steady = node.cgroup(&format!("kubepods/burstable/pod{UID}"));
    assert_eq!(node.owner(0, steady).to_string(), "shop/cart-0");
    for number in 0..20_000_u64 {
        let id = 1_000_000 + number;
        node.identity.learn(id, &format!("/kubepods/burstable/podflood-{number}/{ID}"));
        node.owner(1, id);
    }
    assert_eq!(node.owner(2, steady).to_string(), "shop/cart-0");
    assert!(node.identity.known.len() <= CGROUPS);
}

#[test]
fn a_container_outside_pods_has_the_name_its_runtime_knows() {
    let mut node = Node::new();
    let id = node.cgroup(&format!("system.slice/docker-{ID}.scope"));
    assert_eq!(node.owner(0, id).to_string(), "container/aaaaaaaabbbb");
    let directory = node.runtime.path().join(format!("var/lib/docker/containers/{ID}"));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("config.v2.json"), r#"{"Name":"/web"}"#).unwrap();
    assert_eq!(node.owner(5, id).to_string(), "container/web");
}

#[test]
fn what_is_known_is_asked_for_again_ever_less_often() {
    let pod = |container_name: Option<&str>| Owner::Pod {
        namespace: Some("a".into()),
        pod: Some("b".into()),
        container: Some(ID.into()),
        uid: UID.into(),
        details: PodDetails {
            container_name: container_name.map(str::to_owned),
            ..PodDetails::default()
        },
    };
    assert_eq!(retry_after(&pod(Some("app")), 1), None);
    let times: Vec<_> = (1..=7).map(|tries| retry_after(&pod(None), tries)).collect();
    let seconds = |s| Some(Duration::from_secs(s));
    assert_eq!(times, [seconds(1), seconds(2), seconds(4), seconds(8), seconds(16), None, None]);
    let nobody = Owner::Unattributed { reason: UnattributedReason::CgroupGone };
    assert_eq!(retry_after(&nobody, 1000), Some(RETRY_AFTER));
}

#[test]
fn a_pods_only_container_is_named_though_its_directory_is_gone_when_it_is_asked_for() {
    let mut node = Node::new();
    node.log(&format!("shop_cart-0_{UID}"));
    fs::create_dir(node.logs.path().join(format!("shop_cart-0_{UID}/app"))).unwrap();
    node.identity.learn(9_999_999, &format!("/kubepods/burstable/pod{UID}/{ID}"));
    fs::remove_dir_all(node.logs.path().join(format!("shop_cart-0_{UID}"))).unwrap();
    assert_eq!(node.owner(0, 9_999_999).container_name(), Some("app"));
}
