//! Where a collector listens.

use std::{fmt, str::FromStr};

use hyper::Uri;

/// Where collectors listen for OTLP over HTTP.
const PORT: u16 = 4_318;

/// A collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or address, as the address bar has it: IPv6 in brackets.
    authority: String,
    pub(super) host: String,
    pub(super) port: u16,
    /// What goes before `/v1/metrics`; empty or begins with a slash.
    path: String,
}

/// Why something is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It cannot be read.
    #[error("not an address like http://127.0.0.1:4318")]
    NoUri,
    /// Nothing else is spoken.
    #[error("only http:// is spoken: send to a collector on this node, which encrypts")]
    Scheme,
}

impl Endpoint {
    /// The path of a signal's requests.
    pub(super) fn path(&self, signal: &str) -> String {
        format!("{}/v1/{signal}", self.path)
    }

    /// For the header `Host`.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let uri: Uri = text.parse().map_err(|_| EndpointError::NoUri)?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(EndpointError::NoUri)?;
        match uri.scheme_str() {
            Some("http") => {}
            Some(_) => return Err(EndpointError::Scheme),
            None => return Err(EndpointError::NoUri),
        }
        if uri.query().is_some() {
            return Err(EndpointError::NoUri);
        }
        let port = uri.port_u16().unwrap_or(PORT);
        Ok(Self {
            authority: format!("{host}:{port}"),
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "http://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_that_of_collectors_and_a_path_goes_first() {
        let plain: Endpoint = "http://127.0.0.1".parse().unwrap();
        assert_eq!((plain.host.as_str(), plain.port), ("127.0.0.1", 4_318));
        assert_eq!(plain.path("metrics"), "/v1/metrics");
        let other: Endpoint = "http://[::1]:80/otlp/".parse().unwrap();
        assert_eq!((other.host.as_str(), other.port), ("::1", 80));
        assert_eq!(other.path("logs"), "/otlp/v1/logs");
        assert_eq!(other.to_string(), "http://[::1]:80/otlp");
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        let error = |text: &str| text.parse::<Endpoint>().unwrap_err();
        assert_eq!(error("https://collector:4318"), EndpointError::Scheme);
        for text in ["", "collector", "/v1", "http://", "http://a b", "http://a?b=c"] {
            assert_eq!(error(text), EndpointError::NoUri, "{text}");
        }
    }
}
