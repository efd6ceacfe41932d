//! Attributes, and what is said once per request.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
};

/// A text attribute.
pub(super) fn attribute(key: &str, value: impl Into<String>) -> KeyValue {
    with(key, Value::StringValue(value.into()))
}

/// A number attribute.
pub(super) fn number(key: &str, value: i64) -> KeyValue {
    with(key, Value::IntValue(value))
}

fn with(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any(value)), ..KeyValue::default() }
}

/// A value.
pub(super) fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

/// What sends: this node's dnsprobe.
pub(super) fn resource(node: Option<&str>) -> Resource {
    let mut attributes = vec![
        attribute("service.name", env!("CARGO_PKG_NAME")),
        attribute("service.version", env!("CARGO_PKG_VERSION")),
    ];
    if let Some(node) = node {
        attributes.push(attribute("service.instance.id", node));
        attributes.push(attribute("k8s.node.name", node));
    }
    Resource { attributes, ..Resource::default() }
}

/// What measures.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}
