//! How a recording keeps the types that are shared with the kernel programs
//! and so know no serde: by their numbers.

/// Which end of a transaction.
pub(super) mod role {
    use dnsprobe_common::flow::Role;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in crate::engine) fn serialize<S: Serializer>(
        role: &Role,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*role as u8)
    }

    pub(in crate::engine) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Role, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Ok(Role::Client),
            1 => Ok(Role::Server),
            other => Err(de::Error::custom(format!("no role has number {other}"))),
        }
    }
}

/// What carries a query.
pub(super) mod transport {
    use dnsprobe_common::flow::Transport;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in crate::engine) fn serialize<S: Serializer>(
        transport: &Transport,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*transport as u8)
    }

    pub(in crate::engine) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Transport, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Ok(Transport::Udp),
            1 => Ok(Transport::Tcp),
            other => Err(de::Error::custom(format!("no transport has number {other}"))),
        }
    }
}
