//! The HTTP server: a few paths, read only. It runs beside the watching on one thread;
//! who reads slowly, or never, holds one of few connections until its time is over.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use super::{Besides, Shared, own_cost, page};
use crate::{
    metrics::Format,
    output::json::{self, Record},
};

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 32;
/// From connecting to the end of a request's header, and then for each.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may be used.
const CONNECTION_TIME: Duration = Duration::from_secs(60);
/// How long its last response may take.
const LAST_RESPONSE: Duration = Duration::from_secs(10);
/// A request's header, bytes.
const HEADER_BYTES: usize = 16 * 1024;
/// After an error of `accept`, such as too many open files.
const PAUSE: Duration = Duration::from_millis(200);

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// A server that is bound and does not listen to anybody yet.
#[derive(Debug)]
pub struct Server {
    listener: StdListener,
    published: Shared,
}

/// Takes the address.
///
/// # Errors
/// When it is taken already, or not this node's.
pub fn bind(address: SocketAddr, published: Shared) -> io::Result<Server> {
    let listener = StdListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(Server { listener, published })
}

impl Server {
    /// Where it is bound.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the event loop ends, in which this is called.
    ///
    /// # Errors
    /// When the event loop refuses the socket.
    pub fn start(self) -> io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        tokio::spawn(accept(listener, self.published));
        Ok(())
    }
}

async fn accept(listener: TcpListener, published: Shared) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(converse(stream, published.clone(), permit));
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// One connection. Its errors are its client's.
async fn converse(stream: TcpStream, published: Shared, _permit: OwnedSemaphorePermit) {
    let service = service_fn(move |request| {
        let response = respond(&request, &published);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    if timeout(CONNECTION_TIME, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(LAST_RESPONSE, connection).await;
    }
}

fn respond(request: &Request<Incoming>, published: &Shared) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response =
            answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    get(request.uri().path(), accept.unwrap_or(""), published)
}

fn get(path: &str, accept: &str, published: &Shared) -> Response<Full<Bytes>> {
    let unavailable = |why: &str| answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n"));
    match path {
        "/metrics" => {
            let format = Format::wanted(accept);
            match published.lock().metrics(format, own_cost()) {
                Some(text) => answer(StatusCode::OK, format.content_type(), text),
                None => unavailable("the counters have not been read yet"),
            }
        }
        "/healthz" => answer(StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => match published.lock().ready() {
            Ok(()) => answer(StatusCode::OK, TEXT, "ok\n".to_owned()),
            Err(why) => unavailable(&why),
        },
        "/" => answer(StatusCode::OK, HTML, page::render(&published.lock())),
        "/api/v1/snapshot" => {
            let snapshot = published.lock().snapshot().cloned();
            match snapshot {
                Some(snapshot) => lines([Record::Snapshot(&snapshot)]),
                None => unavailable("the counters have not been read yet"),
            }
        }
        "/api/v1/services" => {
            let published = published.lock();
            let Besides { services, backends_full, .. } = published.besides();
            lines([Record::Services { services, not_counted: *backends_full }])
        }
        "/api/v1/verdicts" => lines(published.lock().verdicts().map(Record::Verdict)),
        "/api/v1/hooks" => {
            let hooks = serde_json::to_string(published.lock().hooks()).unwrap_or_default();
            answer(
                StatusCode::OK,
                JSON,
                format!("{{\"schema\":\"{}\",\"hooks\":{hooks}}}\n", json::SCHEMA),
            )
        }
        _ => answer(
            StatusCode::NOT_FOUND,
            TEXT,
            "there are /, /metrics, /healthz, /readyz, /api/v1/snapshot, /api/v1/services, \
             /api/v1/verdicts and /api/v1/hooks\n"
                .to_owned(),
        ),
    }
}

/// JSON lines, as every command prints them.
fn lines<'a>(records: impl IntoIterator<Item = Record<'a>>) -> Response<Full<Bytes>> {
    let mut body = Vec::new();
    for record in records {
        if json::write(record, &mut body).is_err() {
            return answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "no JSON\n".to_owned());
        }
    }
    answer(StatusCode::OK, JSON, body)
}

fn answer(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert(
        "content-security-policy",
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
    );
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{
        metrics::Limits,
        output::testing::{clash, snapshot},
        serve::Options,
    };

    fn published() -> Shared {
        let options = Options {
            interval: Duration::from_secs(5),
            limits: Limits::default(),
            servers: true,
            top_names: 0,
            sample_bits: None,
        };
        let shared = Shared::new(options);
        shared.lock().reading(&Arc::new(snapshot()));
        shared.lock().verdict(&clash(), true);
        shared
    }

    fn body(response: Response<Full<Bytes>>) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let bytes = runtime.block_on(response.into_body().collect()).unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn each_path_has_its_content_and_the_others_say_which_there_are() {
        let shared = published();
        for (path, content_type, part) in [
            ("/metrics", "text/plain; version=0.0.4; charset=utf-8", "dnsprobe_queries_total{"),
            ("/healthz", TEXT, "ok"),
            ("/readyz", TEXT, "ok"),
            ("/", HTML, "shop/cart-0"),
            ("/api/v1/snapshot", JSON, r#""kind":"snapshot""#),
            ("/api/v1/services", JSON, r#""kind":"services","services":[]"#),
            ("/api/v1/verdicts", JSON, r#""cause":"conntrack-clash""#),
            ("/api/v1/hooks", JSON, r#""hooks":[]"#),
        ] {
            let response = get(path, "", &shared);
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert_eq!(response.headers()[CONTENT_TYPE], content_type, "{path}");
            let text = body(response);
            assert!(text.contains(part), "{path}: {text}");
        }
        let response = get("/../etc/passwd", "", &shared);
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert!(body(response).contains("/metrics"));
    }

    #[test]
    fn before_the_first_reading_it_is_healthy_and_not_ready() {
        let options = Options {
            interval: Duration::from_secs(5),
            limits: Limits::default(),
            servers: true,
            top_names: 0,
            sample_bits: None,
        };
        let shared = Shared::new(options);
        let status = |path| get(path, "", &shared).status();
        assert_eq!(status("/healthz"), StatusCode::OK);
        for path in ["/readyz", "/metrics", "/api/v1/snapshot"] {
            assert_eq!(status(path), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        }
        assert_eq!(status("/"), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_client_that_never_reads_holds_up_nobody() {
        let server = bind("127.0.0.1:0".parse().unwrap(), published()).unwrap();
        let address = server.address().unwrap();
        server.start().unwrap();
        let mut deaf = Vec::new();
        for _ in 0..CONNECTIONS / 2 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\n").await.unwrap();
            deaf.push(stream);
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut text = String::new();
        timeout(Duration::from_secs(2), stream.read_to_string(&mut text)).await.unwrap().unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("ok\n"), "{text}");
        let mut post = TcpStream::connect(address).await.unwrap();
        post.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        timeout(Duration::from_secs(2), post.read_to_string(&mut text)).await.unwrap().unwrap();
        assert!(text.starts_with("HTTP/1.1 405 "), "{text}");
    }
}
