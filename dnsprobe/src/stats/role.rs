//! Roles by name.

use dnsprobe_common::flow::Role;
use serde::Serializer;

/// The stable name of a role.
#[must_use]
pub const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Server => "server",
    }
}

/// Serialises a role by its name, for `#[serde(serialize_with = ..)]`: the
/// type itself is shared with the kernel programs and knows no serde.
///
/// # Errors
/// Those of the serializer.
pub fn serialize_role<S: Serializer>(role: &Role, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(role_name(*role))
}
