//! The whole conversation with an API server that is played here: what it says is
//! written down below, line by line as the API sends it.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use super::{
    Wanted,
    access::{Access, Token},
    follow,
    watch::Patience,
};
use crate::{
    identity::{RemoteAddress, SharedFacts},
    record::scratch,
};

/// What is answered to the next request for a path.
enum Answer {
    /// A status and a body.
    Body(u16, String),
    /// Lines of a watch, then the end.
    Events(Vec<String>),
    /// The same, and then silence on an open connection.
    EventsThenSilence(Vec<String>),
    /// These bytes and no more.
    Raw(&'static [u8]),
    /// Nothing.
    Silence,
}

/// Answers in their order, each for requests whose path begins so.
struct Script(Mutex<VecDeque<(&'static str, Answer)>>);

struct Server {
    address: SocketAddr,
    /// First lines and tokens.
    requests: Arc<Mutex<Vec<String>>>,
}

const PODS: &str = "/api/v1/pods?fieldSelector=spec.nodeName%3Da&";
const SERVICES: &str = "/api/v1/services?";
const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices?";

fn list(items: &[&str]) -> Answer {
    page(items, "")
}

fn page(items: &[&str], more: &str) -> Answer {
    let items = items.join(",");
    Answer::Body(
        200,
        format!(
            r#"{{"kind":"List","apiVersion":"v1","metadata":{{"resourceVersion":"100","continue":"{more}"}},"items":[{items}]}}"#
        ),
    )
}

fn event(kind: &str, object: &str) -> String {
    format!(r#"{{"type":"{kind}","object":{object}}}"#)
}

fn pod(name: &str, uid: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"shop","uid":"{uid}","resourceVersion":"101",
            "labels":{{"pod-template-hash":"5d78c9869d"}},
            "ownerReferences":[{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"cart-5d78c9869d","controller":true}}]}},
            "status":{{"containerStatuses":[{{"name":"app","containerID":"containerd://aa"}}]}}}}"#
    )
    .replace('\n', " ")
}

const SERVICE: &str = r#"{"metadata":{"name":"kube-dns","namespace":"kube-system","resourceVersion":"7"},"spec":{"clusterIP":"10.96.0.10","clusterIPs":["10.96.0.10"],"ports":[{"name":"dns","protocol":"UDP","port":53}]}}"#;
const OTHER: &str = r#"{"metadata":{"name":"web","namespace":"shop"},"spec":{"clusterIP":"10.96.0.20","ports":[{"port":80}]}}"#;

fn slice(service: &str, address: &str, pod: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"{service}-x","namespace":"kube-system","resourceVersion":"8","labels":{{"kubernetes.io/service-name":"{service}"}}}},"addressType":"IPv4","endpoints":[{{"addresses":["{address}"],"nodeName":"b","targetRef":{{"kind":"Pod","namespace":"kube-system","name":"{pod}"}}}}]}}"#
    )
}

impl Server {
    fn start(answers: Vec<(&'static str, Answer)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Script(Mutex::new(answers.into())));
        let told = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (script, told) = (Arc::clone(&script), Arc::clone(&told));
                thread::spawn(move || serve(stream, &script, &told));
            }
        });
        Self { address, requests }
    }

    fn access(&self, token: Token) -> Access {
        Access {
            host: self.address.ip().to_string(),
            port: self.address.port(),
            prefix: String::new(),
            tls: None,
            token,
            limit: Duration::from_millis(300),
        }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Answers one request; for what is not in the script, an empty list or a watch
/// that says nothing.
fn serve(mut stream: impl Read + Write, script: &Script, told: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(&mut stream);
    let mut first = String::new();
    if reader.read_line(&mut first).is_err() {
        return;
    }
    let mut token = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) <= 2 {
            break;
        }
        if let Some(value) = line.strip_prefix("authorization: ") {
            token = value.trim().to_owned();
        }
    }
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    told.lock().unwrap().push(format!("{path} {token}"));
    let answer = {
        let mut script = script.0.lock().unwrap();
        let next = script.iter().position(|(start, _)| path.starts_with(start));
        next.and_then(|next| script.remove(next)).map(|(_, answer)| answer)
    };
    let watched = path.contains("watch=1");
    let answer = answer.unwrap_or_else(|| if watched { Answer::Silence } else { list(&[]) });
    let chunked =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut events = |lines: &[String]| {
        stream.write_all(chunked.as_bytes()).unwrap();
        for line in lines {
            // In two parts: an event may come in any.
            let (one, other) = line.split_at(line.len() / 2);
            for part in [one, &format!("{other}\n")] {
                let _ = write!(stream, "{:x}\r\n{part}\r\n", part.len());
                let _ = stream.flush();
            }
        }
    };
    match answer {
        Answer::Body(status, body) => {
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
        Answer::Events(lines) => {
            events(&lines);
            let _ = stream.write_all(b"0\r\n\r\n");
        }
        Answer::EventsThenSilence(lines) => {
            events(&lines);
            thread::sleep(Duration::from_secs(5));
        }
        Answer::Raw(bytes) => drop(stream.write_all(bytes)),
        Answer::Silence if watched => {
            events(&[]);
            thread::sleep(Duration::from_secs(5));
        }
        Answer::Silence => thread::sleep(Duration::from_secs(5)),
    }
    let _ = stream.flush();
}

/// Follows until the facts say what is waited for.
fn follow_until(access: Access, done: impl Fn(&SharedFacts) -> bool) -> Arc<SharedFacts> {
    let shared = Arc::new(SharedFacts::default());
    let facts = Arc::clone(&shared);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let wanted = Wanted { node: "a".to_owned(), ports: vec![53] };
    let patience =
        Patience { first: Duration::from_millis(20), longest: Duration::from_millis(40) };
    runtime.block_on(async {
        let started = Instant::now();
        tokio::select! {
            () = follow::all(&access, &wanted, patience, &facts) => {}
            () = async {
                while !done(&shared) {
                    assert!(started.elapsed() < Duration::from_secs(10), "never told");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            } => {}
        }
    });
    shared
}

fn find(shared: &SharedFacts, address: &str) -> String {
    // The moment after the endpoints have settled.
    let asked = RemoteAddress { netns: 1, address: address.parse().unwrap(), at_ns: u64::MAX - 1 };
    let cluster = shared.cluster();
    cluster.find(&asked).map_or_else(|| "-".to_owned(), ToString::to_string)
}

fn pod_of(shared: &SharedFacts, uid: &str) -> String {
    let cluster = shared.cluster();
    cluster.pod(uid).map_or_else(|| "-".to_owned(), crate::identity::ClusterPod::describe)
}

#[test]
fn lists_and_watches_name_pods_services_and_endpoints() {
    let (one, two) = (pod("cart-1", "u-1"), pod("cart-2", "u-2"));
    let (before, after) =
        (slice("kube-dns", "10.244.1.2", "coredns-x"), slice("web", "10.244.1.9", "web-x"));
    let server = Server::start(vec![
        (PODS, page(&[&one], "next/1")),
        (PODS, list(&[&two])),
        (
            PODS,
            Answer::EventsThenSilence(vec![
                event("DELETED", &two),
                event("ADDED", &pod("cart-3", "u-3")),
            ]),
        ),
        (SERVICES, list(&[SERVICE, OTHER])),
        (SLICES, list(&[&before, &after])),
    ]);
    let shared = follow_until(server.access(Token::Text("secret".to_owned())), |shared| {
        pod_of(shared, "u-3") != "-" && find(shared, "10.244.1.2:53") != "-"
    });
    assert_eq!(pod_of(&shared, "u-1"), "shop/cart-1 Deployment cart aa=app");
    assert_eq!(pod_of(&shared, "u-2"), "-");
    assert_eq!(find(&shared, "10.96.0.10:53"), "service kube-system/kube-dns");
    assert_eq!(find(&shared, "10.96.0.20:80"), "-", "a port that is not watched");
    assert_eq!(find(&shared, "10.244.1.2:53"), "pod kube-system/coredns-x");
    assert_eq!(find(&shared, "10.244.1.9:53"), "-", "of a service that is not watched");
    let requests = server.requests();
    assert!(requests.iter().all(|request| request.ends_with(" Bearer secret")), "{requests:?}");
    let next = format!("{PODS}limit=500&continue=next%2F1");
    assert!(requests.iter().any(|request| request.starts_with(&next)), "{requests:?}");
    assert!(
        requests
            .iter()
            .all(|request| !request.contains("watch=1") || request.contains("resourceVersion=100"))
    );
}

#[test]
fn a_watch_goes_on_where_it_ended_and_after_410_from_a_new_list() {
    let one = pod("cart-1", "u-1");
    let gone = r#"{"kind":"Status","code":410,"reason":"Expired","message":"too old"}"#;
    let server = Server::start(vec![
        (PODS, list(&[&one])),
        (
            PODS,
            Answer::Events(vec![event("BOOKMARK", r#"{"metadata":{"resourceVersion":"150"}}"#)]),
        ),
        (PODS, Answer::Events(vec![event("ERROR", gone)])),
        (PODS, list(&[&one, &pod("cart-2", "u-2")])),
        (PODS, Answer::Body(410, "{}".to_owned())),
        (PODS, list(&[&pod("cart-3", "u-3")])),
    ]);
    let shared = follow_until(server.access(Token::None), |shared| pod_of(shared, "u-3") != "-");
    assert_eq!(pod_of(&shared, "u-1"), "-");
    let pods: Vec<String> = server.requests().into_iter().filter(|r| r.starts_with(PODS)).collect();
    assert!(pods[2].contains("resourceVersion=150"), "{pods:?}");
    assert!(!pods[3].contains("watch=1") && pods[4].contains("watch=1"), "{pods:?}");
    assert!(!pods[5].contains("watch=1"), "{pods:?}");
}

#[test]
fn an_expired_token_is_read_again_from_its_file() {
    let directory = scratch("token");
    let file = directory.join("token");
    fs::write(&file, "old\n").unwrap();
    let refused = || Answer::Body(401, r#"{"kind":"Status","code":401}"#.to_owned());
    let server = Server::start(vec![
        (PODS, list(&[&pod("cart-1", "u-1")])),
        (PODS, refused()),
        (PODS, Answer::Events(vec![event("ADDED", &pod("cart-2", "u-2"))])),
    ]);
    let replaced = file.clone();
    let shared = follow_until(server.access(Token::File(file)), |shared| {
        if pod_of(shared, "u-1") != "-" {
            // The kubelet replaces it in time.
            fs::write(&replaced, "new\n").unwrap();
        }
        pod_of(shared, "u-2") != "-"
    });
    assert_ne!(pod_of(&shared, "u-1"), "-", "what was known stays");
    let pods: Vec<String> = server.requests().into_iter().filter(|r| r.starts_with(PODS)).collect();
    assert!(pods[0].ends_with("Bearer old") && pods[2].ends_with("Bearer new"), "{pods:?}");
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn slow_broken_and_nonsensical_answers_lose_nothing_that_is_known() {
    let known = pod("cart-1", "u-1");
    let long =
        format!("{{\"type\":\"ADDED\",\"object\":\"{}\"}}", "x".repeat(super::lines::LINE_BYTES));
    let server = Server::start(vec![
        (PODS, Answer::Silence),
        (PODS, Answer::Body(503, String::new())),
        (PODS, Answer::Body(200, "<html>".to_owned())),
        (PODS, Answer::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"items\":")),
        (PODS, list(&[&known])),
        (PODS, Answer::Raw(b"SSH-2.0-OpenSSH\r\n")),
        (PODS, Answer::Events(vec!["{\"type\":\"ADDED\",\"object\":7}".to_owned()])),
        (PODS, Answer::Events(vec![long])),
        // Three failures: anew, which fails too before it works.
        (PODS, Answer::Body(200, "{}".to_owned())),
        (PODS, list(&[&known, &pod("cart-2", "u-2")])),
    ]);
    let seen = std::cell::Cell::new(false);
    let shared = follow_until(server.access(Token::None), |shared| {
        let there = pod_of(shared, "u-1") != "-";
        assert!(there || !seen.get(), "what was known is gone");
        seen.set(there);
        pod_of(shared, "u-2") != "-"
    });
    assert_ne!(pod_of(&shared, "u-1"), "-");
}

#[test]
fn endpoints_of_a_service_that_comes_later_are_listed_then() {
    let endpoints = slice("kube-dns", "10.244.1.2", "coredns-x");
    let server = Server::start(vec![
        (SERVICES, list(&[OTHER])),
        (SERVICES, Answer::EventsThenSilence(vec![event("ADDED", SERVICE)])),
        (SLICES, list(&[&endpoints])),
    ]);
    let shared =
        follow_until(server.access(Token::None), |shared| find(shared, "10.244.1.2:53") != "-");
    assert_eq!(find(&shared, "10.244.1.2:53"), "pod kube-system/coredns-x");
}

/// A server with a certificate of its own making, and that certificate.
fn encrypted(answers: Vec<(&'static str, Answer)>) -> (Server, String) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let (script, told) = (Arc::new(Script(Mutex::new(answers.into()))), Arc::clone(&requests));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (script, told) = (Arc::clone(&script), Arc::clone(&told));
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let stream = rustls::StreamOwned::new(connection, stream);
            thread::spawn(move || serve(stream, &script, &told));
        }
    });
    (Server { address, requests }, made.cert.pem())
}

fn by_kubeconfig(server: &Server, authority: &str) -> Access {
    let directory = scratch("kube-tls");
    let file = directory.join("config");
    fs::write(directory.join("ca.crt"), authority).unwrap();
    let text = format!(
        "current-context: c\ncontexts:\n- name: c\n  context: {{cluster: k, user: u}}\n\
         clusters:\n- name: k\n  cluster: {{server: 'https://{}', certificate-authority: ca.crt}}\n\
         users:\n- name: u\n  user: {{token: t}}\n",
        server.address
    );
    fs::write(&file, text).unwrap();
    let access = Access::from_kubeconfig(&file).unwrap();
    fs::remove_dir_all(directory).unwrap();
    access
}

#[test]
fn a_server_is_trusted_by_the_authority_of_the_kubeconfig_and_no_other() {
    let (server, authority) = encrypted(vec![(PODS, list(&[&pod("cart-1", "u-1")]))]);
    let (_, other) = encrypted(Vec::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let wrong = by_kubeconfig(&server, &other);
    let refused = runtime.block_on(wrong.get("/api/v1/pods"));
    assert!(matches!(refused, Err(super::client::ClientError::Connect(_))), "{refused:?}");
    assert!(server.requests().is_empty(), "no token goes to a server that is not trusted");
    let shared =
        follow_until(by_kubeconfig(&server, &authority), |shared| pod_of(shared, "u-1") != "-");
    assert_eq!(pod_of(&shared, "u-1"), "shop/cart-1 Deployment cart aa=app");
}
