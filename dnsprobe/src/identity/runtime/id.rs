//! A container's id.

/// 64 hexadecimal digits in half the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::identity) struct ContainerId([u8; 32]);

impl ContainerId {
    /// `None` when the text is no id.
    pub(in crate::identity) fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut id = [0; 32];
        for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0) as u8;
            *byte = digit(pair[0]) << 4 | digit(pair[1]);
        }
        Some(Self(id))
    }
}

#[cfg(test)]
mod tests {
    use super::ContainerId;

    #[test]
    fn ids_differ_in_every_digit() {
        let id = "0123456789abcdef".repeat(4);
        let parsed = ContainerId::parse(&id).unwrap();
        assert_eq!(parsed.0[..3], [0x01, 0x23, 0x45]);
        for at in 0..64 {
            let mut other = id.clone();
            let digit = if other.as_bytes()[at] == b'f' { "0" } else { "f" };
            other.replace_range(at..=at, digit);
            assert_ne!(ContainerId::parse(&other), Some(parsed), "{at}");
        }
        assert_eq!(ContainerId::parse(&id[1..]), None);
        assert_eq!(ContainerId::parse(&"x".repeat(64)), None);
    }
}
