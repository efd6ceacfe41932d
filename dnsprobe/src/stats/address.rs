//! Servers' addresses as text.

use std::net::SocketAddr;

use serde::{Serialize, Serializer};

/// Serialises an address as serde does, for `#[serde(serialize_with = ..)]`: with an
/// IPv4 address, which most are, without the formatting of the standard library, which
/// takes ten times as long.
///
/// # Errors
/// Those of the serializer.
pub(super) fn serialize_address<S: Serializer>(
    address: &SocketAddr,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let SocketAddr::V4(address) = address else { return address.serialize(serializer) };
    let mut text = String::with_capacity("255.255.255.255:65535".len());
    for (octet, end) in address.ip().octets().into_iter().zip(['.', '.', '.', ':']) {
        push_decimal(&mut text, octet.into());
        text.push(end);
    }
    push_decimal(&mut text, address.port());
    serializer.serialize_str(&text)
}

fn push_decimal(text: &mut String, number: u16) {
    if number >= 10 {
        push_decimal(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Serialize)]
    struct Server(#[serde(serialize_with = "serialize_address")] SocketAddr);

    proptest! {
        #[test]
        fn the_text_is_serdes(v4 in any::<(u32, u16)>(), v6 in any::<(u128, u16)>()) {
            for address in [
                SocketAddr::from((v4.0.to_be_bytes(), v4.1)),
                SocketAddr::from((v6.0.to_be_bytes(), v6.1)),
            ] {
                prop_assert_eq!(
                    serde_json::to_string(&Server(address)).unwrap(),
                    serde_json::to_string(&address).unwrap()
                );
            }
        }
    }
}
