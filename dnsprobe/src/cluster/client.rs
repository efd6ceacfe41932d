//! HTTP/1.1 to the API server: one connection per request, each step with a
//! limit of time and size.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, StatusCode, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::access::Access;

/// The most that is taken of one answer that is no watch.
const BODY_BYTES: usize = 32 << 20;

/// Why there is no answer that is of use.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    #[error("cannot read the token: {0}")]
    Token(std::io::Error),
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be made")]
    Request,
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it took too long to answer")]
    TimedOut,
    #[error("its answer is larger than {} MiB", BODY_BYTES >> 20)]
    TooLarge,
    #[error("its answer is not what the API says: {0}")]
    Garbage(serde_json::Error),
    #[error("its answer is no list")]
    NoList,
    #[error("an event is larger than {} MiB", super::lines::LINE_BYTES >> 20)]
    EventTooLarge,
    /// What was known is too old to go on from: HTTP 410, or an event that says so.
    #[error("what was known is too old to go on from")]
    Gone,
    #[error("it reported an error: {0}")]
    Reported(String),
    #[error("it sent nothing for {} s", super::watch::SILENCE.as_secs())]
    Silent,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Access {
    /// Asks for a path and returns the answer's body as it comes in.
    pub(super) async fn get(&self, path: &str) -> Result<Incoming, ClientError> {
        timeout(self.limit, self.ask(path)).await.map_err(|_| ClientError::TimedOut)?
    }

    /// Asks for a path and returns the whole body.
    pub(super) async fn get_all(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        let mut body = self.get(path).await?;
        let mut bytes = Vec::new();
        while let Some(frame) =
            timeout(self.limit, body.frame()).await.map_err(|_| ClientError::TimedOut)?
        {
            let Ok(data) = frame?.into_data() else { continue };
            if bytes.len() + data.len() > BODY_BYTES {
                return Err(ClientError::TooLarge);
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    }

    async fn ask(&self, path: &str) -> Result<Incoming, ClientError> {
        let token = self.token().map_err(ClientError::Token)?;
        let io = TokioIo::new(self.connect().await.map_err(ClientError::Connect)?);
        let (mut sender, connection) = http1::handshake(io).await?;
        // Ends with the body, or when nobody reads it any more.
        tokio::spawn(connection);
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let mut request = Request::get(format!("{}{path}", self.prefix))
            .header(header::HOST, format!("{host}:{}", self.port))
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("dnsprobe/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|_| ClientError::Request)?;
        let response = sender.send_request(request).await?;
        match response.status() {
            StatusCode::OK => Ok(response.into_body()),
            StatusCode::GONE => Err(ClientError::Gone),
            status => Err(ClientError::Status(status)),
        }
    }

    async fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some((config, name)) => {
                let connector = TlsConnector::from(std::sync::Arc::clone(config));
                Box::new(connector.connect(name.clone(), stream).await?)
            }
        })
    }
}
