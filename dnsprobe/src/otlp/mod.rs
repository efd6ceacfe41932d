//! OpenTelemetry's protocol (OTLP 1, over HTTP as binary protobuf): the same counts as in
//! [`crate::metrics`], and lost queries as log records, sent to a collector.

mod endpoint;
mod logs;
mod metrics;
mod push;
mod value;

pub use endpoint::{Endpoint, EndpointError};
pub use logs::logs;
pub use metrics::metrics;
pub use push::push;
