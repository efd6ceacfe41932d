//! Objects that are printed, against `docs/dnsprobe.schema.json`.

use serde_json::{Value, json};

/// What an object has that the schema of its kind does not allow, or lacks.
pub(super) fn problems(object: &Value) -> Vec<String> {
    let schema = include_str!("../../../docs/dnsprobe.schema.json");
    let schema: Value = serde_json::from_str(schema).expect("the schema is JSON");
    let kind = object["kind"].as_str().expect("an object has a kind").replace('-', "_");
    // Of that kind alone: "not one of them" would say nothing.
    let of_kind = json!({
        "$schema": schema["$schema"],
        "$ref": format!("#/$defs/{kind}"),
        "$defs": schema["$defs"],
    });
    let kinds = schema["oneOf"].as_array().expect("the schema lists its kinds");
    assert!(kinds.iter().any(|listed| listed["$ref"] == of_kind["$ref"]), "{kind} is no kind");
    let validator = jsonschema::validator_for(&of_kind).expect("the schema is one");
    let errors = validator.iter_errors(object);
    errors.map(|error| format!("{kind}{}: {error}", error.instance_path())).collect()
}
