//! Sends what is published to a collector, once per interval. What a collector does not
//! take never holds up anything here.

use std::{
    collections::VecDeque,
    io,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::{
    net::TcpStream,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{Endpoint, logs, metrics};
use crate::{engine::Verdict, metrics::Owners, serve::Shared, time::Timestamp};

/// How long a request may take, from connecting to the answer's header.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error("cannot connect: {0}")]
    Connect(#[from] io::Error),
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be made: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it took longer than {} s", PATIENCE.as_secs())]
    TimedOut,
}

/// Sends for ever. Failures are counted, and said once until it succeeds again.
pub async fn push(endpoint: Endpoint, every: Duration, published: Shared) {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut owners = Owners::default();
    let mut is_well = true;
    loop {
        tick.tick().await;
        let (reading, verdicts) = published.lock().to_push();
        let Some((snapshot, limits)) = reading else { continue };
        let body = metrics(&snapshot, &limits, &mut owners).encode_to_vec();
        let node = snapshot.node.as_deref();
        let result = match send(&endpoint, "metrics", body).await {
            Ok(()) => send_verdicts(&endpoint, &verdicts, node).await,
            Err(error) => Err(error),
        };
        let was_well = std::mem::replace(&mut is_well, result.is_ok());
        match result {
            Ok(()) if !was_well => eprintln!("dnsprobe: {endpoint} takes what is sent again"),
            Err(error) if was_well => {
                eprintln!("dnsprobe: {endpoint} does not take what is sent: {error}");
            }
            _ => {}
        }
        let left = if is_well { VecDeque::new() } else { verdicts };
        published.lock().pushed(is_well, left);
    }
}

async fn send_verdicts(
    endpoint: &Endpoint,
    verdicts: &VecDeque<Verdict>,
    node: Option<&str>,
) -> Result<(), PushError> {
    if verdicts.is_empty() {
        return Ok(());
    }
    let request = logs(verdicts.iter(), node, Timestamp(SystemTime::now()));
    send(endpoint, "logs", request.encode_to_vec()).await
}

async fn send(endpoint: &Endpoint, signal: &str, body: Vec<u8>) -> Result<(), PushError> {
    let request = Request::post(endpoint.path(signal))
        .header(header::HOST, endpoint.authority())
        .header(header::CONTENT_TYPE, "application/x-protobuf")
        .header(header::USER_AGENT, concat!("dnsprobe/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(body)))?;
    let status = timeout(PATIENCE, ask(endpoint, request)).await;
    let status = status.map_err(|_| PushError::TimedOut)??;
    if status.is_success() { Ok(()) } else { Err(PushError::Status(status)) }
}

/// One connection for each request: a collector that was restarted is no special case.
async fn ask(endpoint: &Endpoint, request: Request<Full<Bytes>>) -> Result<StatusCode, PushError> {
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    connection.abort();
    Ok(answer?.status())
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Instant};

    use opentelemetry_proto::tonic::collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::{
        metrics::Limits,
        output::testing::{clash, snapshot},
        serve::Options,
    };

    fn published() -> Shared {
        let interval = Duration::from_millis(20);
        let shared = Shared::new(Options {
            interval,
            limits: Limits::default(),
            servers: true,
            top_names: 0,
            sample_bits: None,
        });
        shared.lock().keep_for_pushing();
        shared.lock().reading(&Arc::new(snapshot()));
        shared.lock().verdict(&clash(), true);
        shared
    }

    /// A collector's answer to one request: its path and its body.
    async fn take(listener: &TcpListener, status: &str) -> (String, Vec<u8>) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut taken = Vec::new();
        loop {
            let mut buffer = [0; 4_096];
            let length = stream.read(&mut buffer).await.unwrap();
            taken.extend_from_slice(&buffer[..length]);
            let Some(end) = taken.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8(taken[..end].to_vec()).unwrap().to_lowercase();
            assert!(head.contains("content-type: application/x-protobuf"), "{head}");
            let (_, rest) = head.split_once("content-length: ").unwrap();
            let expected: usize = rest.lines().next().unwrap().parse().unwrap();
            if taken.len() < end + 4 + expected {
                continue;
            }
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            let path = head.split(' ').nth(1).unwrap().to_owned();
            return (path, taken.split_off(end + 4));
        }
    }

    async fn with_collector<T>(
        published: &Shared,
        collector: impl AsyncFnOnce(TcpListener) -> T,
    ) -> T {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let pushing = push(endpoint, Duration::from_millis(20), published.clone());
        tokio::select! {
            taken = collector(listener) => taken,
            () = pushing => unreachable!(),
        }
    }

    #[tokio::test]
    async fn a_collector_gets_the_reading_and_each_verdict_once() {
        let shared = published();
        with_collector(&shared, async |listener| {
            let (path, body) = take(&listener, "200 OK").await;
            assert_eq!(path, "/v1/metrics");
            let metrics = ExportMetricsServiceRequest::decode(&*body).unwrap();
            assert_eq!(metrics.resource_metrics.len(), 1);
            let (path, body) = take(&listener, "200 OK").await;
            assert_eq!(path, "/v1/logs");
            let logs = ExportLogsServiceRequest::decode(&*body).unwrap();
            assert_eq!(logs.resource_logs[0].scope_logs[0].log_records.len(), 1);
            for _ in 0..2 {
                assert_eq!(take(&listener, "200 OK").await.0, "/v1/metrics");
            }
        })
        .await;
        assert!(shared.lock().pushes().sent >= 2);
        assert_eq!(shared.lock().pushes().failed, 0);
    }

    #[tokio::test]
    async fn what_a_collector_refuses_is_counted_and_verdicts_are_sent_later() {
        let shared = published();
        with_collector(&shared, async |listener| {
            assert_eq!(take(&listener, "503 Unavailable").await.0, "/v1/metrics");
            assert_eq!(take(&listener, "200 OK").await.0, "/v1/metrics");
            let (path, body) = take(&listener, "200 OK").await;
            assert_eq!(path, "/v1/logs");
            let logs = ExportLogsServiceRequest::decode(&*body).unwrap();
            assert_eq!(logs.resource_logs[0].scope_logs[0].log_records.len(), 1);
        })
        .await;
        assert_eq!(shared.lock().pushes().failed, 1);
    }

    #[tokio::test]
    async fn nobody_there_is_counted_and_holds_up_nothing() {
        let shared = published();
        let begun = Instant::now();
        let endpoint = "http://127.0.0.1:1".parse().unwrap();
        let pushing = push(endpoint, Duration::from_millis(20), shared.clone());
        let _ = timeout(Duration::from_millis(300), pushing).await;
        assert!(shared.lock().pushes().failed > 1);
        assert!(begun.elapsed() < PATIENCE);
    }
}
