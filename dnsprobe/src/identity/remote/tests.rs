//! What facts prove of an address, and what they do not.

use std::{fs, net::IpAddr, sync::Arc};

use super::{holders::holders, *};
use crate::identity::{
    Identify, Identity, IdentityOptions, RuntimeDirs,
    testing::{FakeProc, TempDir},
};

const HOST: u32 = 1;
const POD_A: u32 = 10;
const POD_B: u32 = 20;
const SECOND: u64 = 1_000_000_000;
const UID: &str = "0f3a1b2c-1111-2222-3333-444455556666";

fn local(address: &str, device: u32, dummy: bool) -> LocalAddress {
    LocalAddress { address: address.parse().unwrap(), device, dummy }
}

fn service(address: &str, name: Option<&str>, source: RemoteSource) -> ServiceFact {
    let name = name.map(|name| ("kube-system".to_owned(), name.to_owned()));
    ServiceFact { address: address.parse().unwrap(), name, source }
}

fn holder(netns: u32, addresses: &[&str]) -> Holder {
    Holder {
        netns,
        pid: netns,
        since_ns: 5 * SECOND,
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        who: Who::Pod(format!("u-{netns}")),
    }
}

fn facts() -> RemoteFacts {
    RemoteFacts::new(
        Some(HOST),
        &[
            local("192.0.2.1", 2, false),
            local("169.254.7.7", 2, false),
            local("169.254.20.10", 3, true),
            local("10.96.0.10", 3, true),
            local("10.96.0.11", 4, true),
            local("172.17.0.1", 5, false),
        ],
        vec![
            service("10.96.0.10:53", Some("kube-dns"), RemoteSource::Iptables),
            service("10.96.0.11:53", None, RemoteSource::Ipvs),
            service("10.96.0.12:53", None, RemoteSource::Ipvs),
            service("10.96.0.12:53", Some("second"), RemoteSource::Nftables),
            service("10.96.0.13:53", Some("a"), RemoteSource::Iptables),
            service("10.96.0.13:53", Some("b"), RemoteSource::Nftables),
        ],
        vec!["9.9.9.9".parse::<IpAddr>().unwrap()],
        vec![
            holder(POD_A, &["10.244.0.2", "172.17.0.1", "10.1.1.1"]),
            holder(POD_B, &["10.244.0.3", "10.1.1.1"]),
        ],
    )
}

fn label(facts: &RemoteFacts, netns: u32, address: &str) -> String {
    let address = address.parse().unwrap();
    match facts.find(&RemoteAddress { netns, address, at_ns: RemoteAddress::NOW }) {
        Some(Found::Known(remote)) => remote.to_string(),
        Some(Found::HeldBy(holder)) => format!("held by {}", holder.netns),
        None => "nobody".to_owned(),
    }
}

#[test]
fn each_address_is_what_the_facts_prove_and_else_nobody() {
    let facts = facts();
    for (from, address, expected) in [
        (POD_B, "169.254.20.10:53", "node-local cache"),
        // The cache has taken the service's address too.
        (POD_B, "10.96.0.10:53", "node-local cache"),
        (POD_B, "169.254.7.7:53", "this node"),
        (POD_B, "10.96.0.11:53", "service"),
        (POD_B, "10.96.0.11:54", "this node"),
        (POD_B, "10.96.0.12:53", "service kube-system/second"),
        (POD_B, "10.96.0.12:54", "nobody"),
        (POD_B, "10.96.0.13:53", "service"),
        (HOST, "192.0.2.1:53", "this node"),
        (POD_B, "10.244.0.2:53", "held by 10"),
        (0, "10.244.0.2:53", "held by 10"),
        (POD_B, "9.9.9.9:53", "upstream"),
        (POD_B, "8.8.8.8:53", "nobody"),
        // Everybody has a loopback address of its own.
        (POD_A, "127.0.0.1:53", "held by 10"),
        (HOST, "127.0.0.53:53", "this node"),
        (0, "127.0.0.1:53", "nobody"),
        (99, "127.0.0.1:53", "nobody"),
        // Docker's bridge is on the node, and in a pod with a Docker of its own.
        (POD_A, "172.17.0.1:53", "held by 10"),
        (POD_B, "172.17.0.1:53", "this node"),
        // Two have it, each for itself.
        (POD_A, "10.1.1.1:53", "held by 10"),
        (HOST, "10.1.1.1:53", "nobody"),
    ] {
        assert_eq!(label(&facts, from, address), expected, "{address} from {from}");
    }
}

#[test]
fn without_the_nodes_own_network_nothing_of_the_node_is_known() {
    let facts =
        RemoteFacts::new(None, &[], Vec::new(), Vec::new(), vec![holder(POD_A, &["10.244.0.2"])]);
    assert_eq!(label(&facts, HOST, "127.0.0.1:53"), "nobody");
    assert_eq!(label(&facts, POD_B, "10.244.0.2:53"), "held by 10");
}

#[test]
fn a_remote_end_reads_back_from_what_it_is_written_as() {
    let remote = Remote {
        kind: RemoteKind::NodeLocalCache,
        namespace: None,
        name: Some("x".to_owned()),
        source: RemoteSource::LocalDevice,
    };
    let text = serde_json::to_string(&remote).unwrap();
    assert_eq!(
        text,
        r#"{"kind":"node-local-cache","namespace":null,"name":"x","source":"local-device","label":"node-local cache x"}"#
    );
    assert_eq!(serde_json::from_str::<Remote>(&text).unwrap(), remote);
    for kind in RemoteKind::ALL {
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("{:?}", kind.as_str()));
    }
}

struct Node {
    proc: FakeProc,
    files: TempDir,
}

impl Node {
    fn new() -> Self {
        let node = Self { proc: FakeProc::new(), files: TempDir::new() };
        node.proc.add(1, HOST, b"init\n", "0::/init.scope\n");
        node
    }

    fn options(&self) -> IdentityOptions {
        IdentityOptions {
            log_dir: self.files.path().to_owned(),
            cgroup_root: Some(self.files.path().to_owned()),
            proc_root: self.proc.path().to_owned(),
            runtime_dirs: RuntimeDirs::below(self.files.path()),
        }
    }

    /// A process of a pod that started so long after the machine.
    fn add(&self, pid: u32, netns: u32, uid: &str, started_ticks: u64) {
        self.proc.add(
            pid,
            netns,
            b"app\n",
            &format!("0::/kubepods/pod{uid}/{}\n", "ab".repeat(32)),
        );
        let zeros = "0 ".repeat(18);
        let stat = format!("{pid} (a) b) S {zeros}{started_ticks} 0 0\n");
        fs::write(self.proc.path().join(format!("{pid}/stat")), stat).unwrap();
    }
}

#[test]
fn namespaces_belong_to_the_one_pod_in_them_since_its_oldest_process() {
    let node = Node::new();
    node.add(7, POD_A, "u-1", 900);
    node.add(8, POD_A, "u-1", 100);
    node.add(9, POD_B, "u-2", 100);
    node.add(10, POD_B, "u-3", 100);
    node.add(11, HOST, "u-4", 100);
    let found =
        holders(&node.options(), |pid| vec![IpAddr::from([10, 0, 0, u8::try_from(pid).unwrap()])]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].netns, found[0].pid), (POD_A, 8));
    assert_eq!(found[0].addresses, ["10.0.0.8".parse::<IpAddr>().unwrap()]);
    assert!(
        found[0].since_ns > SECOND && found[0].held_at(4 * SECOND) && !found[0].held_at(2 * SECOND)
    );
}

#[test]
fn a_pod_is_named_while_it_lives_and_for_what_was_sent_before() {
    let node = Node::new();
    fs::create_dir_all(node.files.path().join(format!("shop_cart-0_{UID}"))).unwrap();
    node.add(8, POD_A, UID, 0);
    let address: IpAddr = "10.244.0.2".parse().unwrap();
    let shared = Arc::new(SharedFacts::default());
    let holders = holders(&node.options(), |_| vec![address]);
    shared.publish(RemoteFacts::new(Some(HOST), &[], Vec::new(), Vec::new(), holders));
    let mut identity = Identity::new(node.options());
    let asked = |at_ns| RemoteAddress { netns: HOST, address: (address, 53).into(), at_ns };
    assert_eq!(identity.remote(asked(RemoteAddress::NOW)), None, "without facts");
    identity.use_facts(Arc::clone(&shared));
    // Before it had its address another may have had it.
    assert_eq!(identity.remote(asked(SECOND)), None);
    let now = identity.remote(asked(RemoteAddress::NOW)).unwrap();
    assert_eq!(now.to_string(), "pod shop/cart-0");
    // It ends: what was sent while it was seen keeps its name, what came later
    // may have gone to the next pod with this address.
    node.proc.remove(8);
    assert!(identity.remote(asked(3 * SECOND)).is_some());
    assert_eq!(identity.remote(asked(RemoteAddress::NOW)), None);
}

#[test]
fn a_new_pod_makes_an_unknown_address_worth_a_reading() {
    let node = Node::new();
    let shared = Arc::new(SharedFacts::default());
    let mut identity = Identity::new(node.options());
    identity.use_facts(Arc::clone(&shared));
    let asked = RemoteAddress {
        netns: HOST,
        address: "10.244.0.9:53".parse().unwrap(),
        at_ns: RemoteAddress::NOW,
    };
    let instantly = std::time::Duration::ZERO;
    assert_eq!(identity.remote(asked), None);
    assert_eq!(shared.wait(instantly), Some(false), "nothing has changed");
    identity.learn(77, &format!("/kubepods/pod{UID}"));
    assert_eq!(identity.remote(asked), None);
    assert_eq!(shared.wait(instantly), Some(true));
    assert_eq!(identity.remote(asked), None);
    assert_eq!(shared.wait(instantly), Some(false), "asked for once");
    shared.end();
    assert_eq!(shared.wait(instantly), None);
    assert!(!shared.pause(instantly));
}
