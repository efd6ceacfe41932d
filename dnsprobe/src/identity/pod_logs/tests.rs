use super::*;
use crate::identity::testing::TempDir;

const ID: &str = "aaaaaaaabbbbbbbbccccccccddddddddeeeeeeeeffffffff0000000011111111";

#[test]
fn a_directory_name_is_split_into_namespace_pod_and_uid() {
    let (uid, name) = parse("kube-system_coredns-5d78c-x.1_0f3a1b2c-1111-2222").unwrap();
    assert_eq!(uid, "0f3a1b2c-1111-2222");
    assert_eq!(name, PodName { namespace: "kube-system".into(), pod: "coredns-5d78c-x.1".into() });
}

#[test]
fn what_is_not_a_pod_directory_is_ignored() {
    for name in ["", "a_b", "a_b_", "_b_c", "a\x1b[2J_b_c", "a_b\n_c", "A_b_c", "a_b_c d"] {
        assert_eq!(parse(name), None, "{name:?}");
    }
}

#[test]
fn a_new_pod_is_found_at_once_and_keeps_its_name_when_deleted() {
    let temp = TempDir::new();
    let mut logs = PodLogs::new(temp.path().to_owned());
    let start = Instant::now();
    assert_eq!(logs.name("u1", start), None);
    let directory = temp.path().join("shop_cart-0_u1");
    fs::create_dir(&directory).unwrap();
    // The kernel told; nothing is due to be read yet.
    assert_eq!(logs.name("u1", start + READ_INTERVAL / 2).unwrap().pod, "cart-0");
    fs::remove_dir(&directory).unwrap();
    assert!(logs.name("u2", start + 2 * READ_INTERVAL).is_none());
    assert!(logs.name("u1", start + 3 * READ_INTERVAL).is_some());
}

#[test]
fn a_pod_that_came_and_went_before_anybody_asked_has_its_name() {
    let temp = TempDir::new();
    let mut logs = PodLogs::new(temp.path().to_owned());
    for pod in 0..200 {
        let directory = temp.path().join(format!("shop_short-{pod}_u{pod}"));
        fs::create_dir(&directory).unwrap();
        fs::remove_dir(&directory).unwrap();
    }
    let now = Instant::now();
    for pod in 0..200 {
        assert_eq!(logs.name(&format!("u{pod}"), now).unwrap().pod, format!("short-{pod}"));
    }
}

#[test]
fn without_a_watch_the_directory_is_read_once_per_interval() {
    let temp = TempDir::new();
    let later = temp.path().join("pods");
    let mut logs = PodLogs::new(later.clone());
    let start = Instant::now();
    assert_eq!(logs.name("u1", start), None);
    fs::create_dir_all(later.join("shop_cart-0_u1")).unwrap();
    assert_eq!(logs.name("u1", start + READ_INTERVAL / 2), None);
    assert_eq!(logs.name("u1", start + READ_INTERVAL).unwrap().pod, "cart-0");
}

#[test]
fn a_containers_name_is_in_the_links() {
    let (id, name) = parse_link(&format!("cart-0_shop_side-car-{ID}.log")).unwrap();
    assert_eq!((id, name.as_str()), (ContainerId::parse(ID).unwrap(), "side-car"));
    for link in [
        format!("a_b_c-{ID}"),
        "a_b_c-12.log".into(),
        format!("a_b_\x1b-{ID}.log"),
        format!("-{ID}.log"),
    ] {
        assert_eq!(parse_link(&link), None, "{link}");
    }
    let temp = TempDir::new();
    fs::create_dir_all(temp.path().join("containers")).unwrap();
    fs::write(temp.path().join(format!("containers/cart-0_shop_app-{ID}.log")), "").unwrap();
    let mut logs = PodLogs::new(temp.path().join("pods"));
    assert_eq!(logs.container_name("u1", ID, Instant::now()).as_deref(), Some("app"));
    assert_eq!(logs.container_name("u1", "short", Instant::now()), None);
}

#[test]
fn a_new_link_names_its_container_at_once() {
    let temp = TempDir::new();
    let links = temp.path().join("containers");
    fs::create_dir_all(&links).unwrap();
    let mut logs = PodLogs::new(temp.path().join("pods"));
    let now = Instant::now();
    assert_eq!(logs.container_name("u1", ID, now), None);
    let link = links.join(format!("cart-0_shop_app-{ID}.log"));
    fs::write(&link, "").unwrap();
    fs::remove_file(&link).unwrap();
    // The kernel told; nothing is due to be read yet.
    assert_eq!(logs.container_name("u1", ID, now).as_deref(), Some("app"));
}

#[test]
fn a_pod_with_one_container_needs_no_link() {
    let temp = TempDir::new();
    fs::create_dir_all(temp.path().join("shop_cart-0_u1/app")).unwrap();
    let mut logs = PodLogs::new(temp.path().to_owned());
    let now = Instant::now();
    assert_eq!(logs.container_name("u1", ID, now), None);
    logs.name("u1", now);
    assert_eq!(logs.container_name("u1", ID, now).as_deref(), Some("app"));
    fs::create_dir(temp.path().join("shop_cart-0_u1/sidecar")).unwrap();
    // It was the only one when it was asked for, so it still has that name.
    assert_eq!(logs.container_name("u1", ID, now).as_deref(), Some("app"));
    assert_eq!(logs.container_name("u1", &"ab".repeat(32), now), None);
}
