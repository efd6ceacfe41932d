//! Unary calls of gRPC over a Unix socket: HTTP/2 by hyper, messages by prost. Each
//! step has a limit of time and size.

use std::{io, path::Path};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request, StatusCode,
    body::Incoming,
    client::conn::http2::{SendRequest, handshake},
    header,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::UnixStream;

/// The most that is taken of one answer; containerd itself sends no more than half.
const ANSWER_BYTES: usize = 32 << 20;
/// In front of each message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Text of the runtime in an error.
const TEXT_BYTES: usize = 300;

/// Why there is no answer that is of use.
#[derive(Debug, thiserror::Error)]
pub enum CriError {
    /// Nobody is behind the socket, or we may not use it.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The conversation broke off.
    #[error("HTTP/2: {0}")]
    Http(#[from] hyper::Error),
    /// A request could not be put together.
    #[error("the request cannot be made")]
    Request,
    /// It is no gRPC server.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// It refused: gRPC's code and what it said, escaped.
    #[error("it refused with code {code}: {text}")]
    Refused {
        /// gRPC's status code.
        code: u32,
        /// Its words.
        text: String,
    },
    /// It did not come to an end.
    #[error("it took longer than {} s", super::LIMIT.as_secs())]
    TimedOut,
    /// It says more than a node can hold.
    #[error("its answer is larger than {} MiB", ANSWER_BYTES >> 20)]
    TooLarge,
    /// It is not what CRI says it should be.
    #[error("its answer is not what CRI says")]
    Garbage,
}

/// A connection to a runtime.
pub(super) struct Runtime(SendRequest<Full<Bytes>>);

impl Runtime {
    pub(super) async fn connect(socket: &Path) -> Result<Self, CriError> {
        let stream = UnixStream::connect(socket).await.map_err(CriError::Connect)?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        // Ends with the sender.
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Calls a method of `runtime.v1.RuntimeService`.
    pub(super) async fn call<A: Message + Default>(
        &mut self,
        method: &str,
        question: &impl Message,
    ) -> Result<A, CriError> {
        let request = Request::post(format!("http://localhost/runtime.v1.RuntimeService/{method}"))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .header(header::USER_AGENT, concat!("dnsprobe/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(prefixed(question)))
            .map_err(|_| CriError::Request)?;
        self.0.ready().await?;
        let response = self.0.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(CriError::Status(response.status()));
        }
        // A call that fails at once has its status here.
        refusal(response.headers())?;
        let (bytes, trailers) = whole(response.into_body()).await?;
        refusal(trailers.as_ref().ok_or(CriError::Garbage)?)?;
        message(&bytes)
    }
}

async fn whole(mut body: Incoming) -> Result<(Bytes, Option<HeaderMap>), CriError> {
    let mut bytes = BytesMut::new();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) if bytes.len() + data.len() > ANSWER_BYTES => return Err(CriError::TooLarge),
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((bytes.freeze(), trailers))
}

fn prefixed(message: &impl Message) -> Bytes {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), &bytes].concat().into()
}

fn message<A: Message + Default>(bytes: &[u8]) -> Result<A, CriError> {
    let (prefix, body) = bytes.split_at_checked(PREFIX).ok_or(CriError::Garbage)?;
    // Compressed answers were not asked for, and an unary call has one message.
    let length = body.len().try_into().unwrap_or(u32::MAX).to_be_bytes();
    if prefix[0] != 0 || prefix[1..] != length {
        return Err(CriError::Garbage);
    }
    A::decode(body).map_err(|_| CriError::Garbage)
}

/// The status that headers or trailers hold, if it is none of success.
fn refusal(headers: &HeaderMap) -> Result<(), CriError> {
    let Some(status) = headers.get("grpc-status") else { return Ok(()) };
    let code: u32 =
        status.to_str().ok().and_then(|code| code.parse().ok()).ok_or(CriError::Garbage)?;
    if code == 0 {
        return Ok(());
    }
    let text = headers.get("grpc-message").map(|text| text.as_bytes()).unwrap_or_default();
    let text = crate::identity::escape(&text[..text.len().min(TEXT_BYTES)]);
    Err(CriError::Refused { code, text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cri::message::{VersionRequest, VersionResponse};

    #[test]
    fn a_message_is_what_its_prefix_says() {
        let said = VersionRequest { version: "v1".to_owned() };
        let bytes = prefixed(&said);
        assert_eq!(message::<VersionRequest>(&bytes).unwrap(), said);
        for broken in [&b""[..], b"\0\0\0", &bytes[..bytes.len() - 1], &[&bytes[..], b"x"].concat()]
        {
            assert!(message::<VersionRequest>(broken).is_err(), "{broken:?}");
        }
        assert!(message::<VersionRequest>(b"\x01\0\0\0\0").is_err(), "compressed");
        // Length 9 in a message of two bytes.
        assert!(message::<VersionResponse>(b"\0\0\0\0\x02\x12\x09").is_err());
    }

    #[test]
    fn a_status_other_than_zero_is_told() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect()
        };
        assert!(refusal(&headers(&[])).is_ok());
        assert!(refusal(&headers(&[("grpc-status", "0")])).is_ok());
        assert!(matches!(refusal(&headers(&[("grpc-status", "x")])), Err(CriError::Garbage)));
        let refused = headers(&[("grpc-status", "12"), ("grpc-message", "unknown service")]);
        let refused = refusal(&refused).unwrap_err().to_string();
        assert_eq!(refused, "it refused with code 12: unknown service");
    }
}
