//! The conversation with a runtime that is played here. A real one is asked in the
//! lab (scenario `cri-pods`).

use std::{
    convert::Infallible,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, Response, body::Incoming, server::conn::http2, service};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::{io::AsyncWriteExt, net::UnixListener};

use super::{
    message::{Container, ContainerMetadata, PodSandbox, PodSandboxMetadata},
    *,
};
use crate::{
    identity::{Identify, Identity, IdentityOptions, Owner, OwnerKey, PodDetails},
    record::scratch,
};

const APP: &str = "aaaaaaaabbbbbbbbccccccccddddddddeeeeeeeeffffffff0000000011111111";

/// How the runtime behaves.
#[derive(Clone, Copy)]
enum Manner {
    /// As it should.
    Well,
    /// It has another version of CRI only.
    Unimplemented,
    /// It ends its answers before their status.
    NoStatus,
    /// It speaks something else.
    Raw(&'static [u8]),
}

/// A runtime, and how many lists of pods it was asked for.
struct Played {
    directory: PathBuf,
    lists: Arc<AtomicUsize>,
    pods: Arc<Mutex<Vec<PodSandbox>>>,
}

impl Played {
    fn start(manner: Manner) -> Self {
        let directory = scratch("cri");
        let (lists, pods) = (Arc::default(), Arc::new(Mutex::new(vec![sandbox("u-1", "cart-0")])));
        let played = Self { directory, lists, pods };
        let (socket, lists, pods) =
            (played.socket(), Arc::clone(&played.lists), Arc::clone(&played.pods));
        let event_loop = event_loop().unwrap();
        let listener = {
            let _inside = event_loop.enter();
            UnixListener::bind(socket).unwrap()
        };
        thread::spawn(move || {
            event_loop.block_on(async {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    if let Manner::Raw(bytes) = manner {
                        stream.write_all(bytes).await.unwrap();
                        continue;
                    }
                    let answer = |request: Request<Incoming>| {
                        let response = respond(manner, request.uri().path(), &lists, &pods);
                        async { Ok::<_, Infallible>(response) }
                    };
                    // A client that hangs up is no failure of the test.
                    let _ = http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service::service_fn(answer))
                        .await;
                }
            });
        });
        played
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("cri.sock")
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.directory).unwrap();
    }
}

fn sandbox(uid: &str, name: &str) -> PodSandbox {
    let metadata =
        PodSandboxMetadata { name: name.into(), uid: uid.into(), namespace: "shop".into() };
    PodSandbox { id: format!("sandbox of {uid}"), metadata: Some(metadata), ..Default::default() }
}

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

fn respond(
    manner: Manner,
    path: &str,
    lists: &AtomicUsize,
    pods: &Mutex<Vec<PodSandbox>>,
) -> Response<Body> {
    let message = match path {
        "/runtime.v1.RuntimeService/Version" => {
            VersionResponse { runtime_name: "played".into(), runtime_version: "1\x1b[2J".into() }
                .encode_to_vec()
        }
        "/runtime.v1.RuntimeService/ListPodSandbox" => {
            lists.fetch_add(1, Ordering::Relaxed);
            ListPodSandboxResponse { items: pods.lock().unwrap().clone() }.encode_to_vec()
        }
        "/runtime.v1.RuntimeService/ListContainers" => {
            let metadata = Some(ContainerMetadata { name: "app".into() });
            let of = |sandbox: &str| Container {
                id: APP.into(),
                pod_sandbox_id: sandbox.into(),
                metadata: metadata.clone(),
            };
            let containers = vec![of("sandbox of nobody"), of("sandbox of u-1")];
            ListContainersResponse { containers }.encode_to_vec()
        }
        path => panic!("{path} is not to be called"),
    };
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let bytes = Bytes::from([&[0][..], &length, &message].concat());
    let mut trailers = HeaderMap::new();
    let response = Response::builder().header("content-type", "application/grpc");
    match manner {
        Manner::Unimplemented => response
            .header("grpc-status", "12")
            .header("grpc-message", "unknown service runtime.v1.RuntimeService")
            .body(Full::default().boxed())
            .unwrap(),
        Manner::NoStatus => response.body(Full::new(bytes).boxed()).unwrap(),
        Manner::Well | Manner::Raw(_) => {
            trailers.insert("grpc-status", "0".parse().unwrap());
            let end = async { Some(Ok(trailers)) };
            response.body(Full::new(bytes).with_trailers(end).boxed()).unwrap()
        }
    }
}

/// Who the process of a group is, with no files that name it.
fn identity(directory: &Path, facts: &Arc<SharedFacts>) -> Identity {
    let mut identity = Identity::new(IdentityOptions {
        log_dir: directory.to_owned(),
        cgroup_root: Some(directory.to_owned()),
        proc_root: directory.to_owned(),
        runtime_dirs: RuntimeDirs::below(directory),
    });
    identity.use_facts(Arc::clone(facts));
    identity
}

/// Pod and container.
fn owner(identity: &mut Identity, cgroup: u64) -> String {
    let owner = identity.owner(OwnerKey { cgroup, ..OwnerKey::default() });
    match &*owner {
        Owner::Pod { details: PodDetails { container_name: Some(name), .. }, .. } => {
            format!("{owner} {name}")
        }
        _ => owner.to_string(),
    }
}

fn until(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "did not happen");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_runtime_names_its_pods_and_containers() {
    let played = Played::start(Manner::Well);
    let listing = list(&played.socket()).unwrap();
    assert_eq!(listing.runtime, r"played 1\027[2J");
    assert_eq!((listing.pods.pods(), listing.pods.containers()), (1, 1));
    let facts = Arc::new(SharedFacts::default());
    facts.publish_listed(listing.pods);
    let mut identity = identity(&played.directory, &facts);
    identity.learn(7, &format!("/kubepods/podu-1/{APP}"));
    identity.learn(8, "/kubepods/podu-2");
    assert_eq!(owner(&mut identity, 7), "shop/cart-0 app");
    assert_eq!(owner(&mut identity, 8), "pod/u-2");
}

#[test]
fn it_is_asked_again_when_a_name_is_missing_and_else_not() {
    let played = Played::start(Manner::Well);
    let facts = Arc::new(SharedFacts::default());
    start(played.socket(), Arc::clone(&facts)).unwrap();
    let mut identity = identity(&played.directory, &facts);
    let lists = || played.lists.load(Ordering::Relaxed);
    until(|| lists() == 1);
    thread::sleep(2 * AT_LEAST);
    assert_eq!(lists(), 1, "everything is named");
    played.pods.lock().unwrap().push(sandbox("u-2", "cart-1"));
    identity.learn(9, "/kubepods/podu-2");
    until(|| owner(&mut identity, 9) == "shop/cart-1");
    assert_eq!(lists(), 2);
    facts.end();
}

#[test]
fn a_runtime_that_does_not_answer_as_it_should_names_nobody() {
    let error = |manner| {
        let played = Played::start(manner);
        list(&played.socket()).unwrap_err().to_string()
    };
    let refused = "it refused with code 12: unknown service runtime.v1.RuntimeService";
    assert_eq!(error(Manner::Unimplemented), refused);
    assert_eq!(error(Manner::NoStatus), "its answer is not what CRI says");
    for bytes in [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\0\0\0\0\0\0\0"] {
        assert!(error(Manner::Raw(bytes)).starts_with("HTTP/2: "), "{bytes:?}");
    }
    let nobody = list(Path::new("/nonexistent/cri.sock")).unwrap_err().to_string();
    assert!(nobody.starts_with("cannot connect: "), "{nobody}");
}

#[test]
fn the_first_socket_that_is_there_is_taken() {
    let root = scratch("cri");
    let dirs = RuntimeDirs::below(&root);
    assert_eq!(find(&dirs), None);
    let crio = dirs.run.join("crio/crio.sock");
    std::fs::create_dir_all(crio.parent().unwrap()).unwrap();
    std::fs::write(&crio, "no socket").unwrap();
    assert_eq!(find(&dirs), None);
    std::fs::remove_file(&crio).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(&crio).unwrap();
    assert_eq!(find(&dirs), Some(crio));
    std::fs::remove_dir_all(root).unwrap();
}
