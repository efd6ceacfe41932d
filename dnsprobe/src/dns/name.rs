//! Domain names: untrusted bytes on the wire, presentation format in print.

use std::{fmt, str::FromStr};

use hickory_proto::rr;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An absolute domain name. Compared without regard to ASCII case.
///
/// Its printed form is the presentation format of RFC 1035 section 5.1 and
/// never holds anything but printable ASCII without blanks: every other byte
/// is printed as `\DDD`, so a name cannot move a cursor or break a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(rr::Name);

impl Name {
    pub(super) fn new(name: rr::Name) -> Self {
        Self(name)
    }

    /// Its labels, from the left; none for the root.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        self.0.iter()
    }

    /// How many labels it has.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.labels().len()
    }

    /// Its first labels, as a name of their own.
    #[must_use]
    pub fn leading(&self, labels: usize) -> Self {
        let mut name = rr::Name::from_labels(self.labels().take(labels)).unwrap_or_default();
        name.set_fqdn(true);
        Self(name)
    }

    /// What is left of it without its first labels.
    #[must_use]
    pub fn without_leading(&self, labels: usize) -> Self {
        Self(self.0.trim_to(self.depth().saturating_sub(labels)))
    }

    /// What stands in front of `suffix`; `None` unless it is under it.
    #[must_use]
    pub fn in_front_of(&self, suffix: &Self) -> Option<Self> {
        self.is_under(suffix).then(|| self.leading(self.depth() - suffix.depth()))
    }

    /// How many labels two names have in common from the left, in any case.
    #[must_use]
    pub fn common_leading(&self, other: &Self) -> usize {
        self.labels()
            .zip(other.labels())
            .take_while(|(one, other)| one.eq_ignore_ascii_case(other))
            .count()
    }

    pub(super) fn wire(&self) -> &rr::Name {
        &self.0
    }

    /// This name with `suffix` behind it, as a search list does it.
    ///
    /// # Errors
    /// [`NameError::TooLong`].
    pub fn with_suffix(&self, suffix: &Self) -> Result<Self, NameError> {
        let labels = self.0.iter().chain(suffix.0.iter());
        let mut name = rr::Name::from_labels(labels).map_err(|_| NameError::TooLong)?;
        name.set_fqdn(true);
        Ok(Self(name))
    }

    /// Whether this name is `suffix` or lies below it. Whole labels are
    /// compared: `notcluster.local.` is not under `cluster.local.`.
    #[must_use]
    pub fn is_under(&self, suffix: &Self) -> bool {
        suffix.0.zone_of(&self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;

        let mut text = String::with_capacity(self.0.len());
        for label in self.0.iter() {
            for &byte in label {
                match byte {
                    b'.' | b'\\' | b'"' => {
                        text.push('\\');
                        text.push(char::from(byte));
                    }
                    b'!'..=b'~' => text.push(char::from(byte)),
                    _ => write!(text, "\\{byte:03}")?,
                }
            }
            text.push('.');
        }
        f.pad(if text.is_empty() { "." } else { &text })
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A text is not a domain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Two dots in a row, or a dot in front.
    #[error("a label is empty")]
    EmptyLabel,
    /// A label has more than 63 bytes or the name more than 255.
    #[error("a label is longer than 63 bytes or the name longer than 255")]
    TooLong,
    /// A backslash is not followed by a character or by three digits up to 255.
    #[error("a backslash must be followed by a character or by three digits up to 255")]
    BadEscape,
}

impl FromStr for Name {
    type Err = NameError;

    /// Reads presentation format; the dot at the end may be left out.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut labels = Vec::new();
        let mut label = Vec::new();
        let mut bytes =
            text.strip_suffix('.').filter(|rest| !ends_in_escape(rest)).unwrap_or(text).bytes();
        if bytes.len() == 0 {
            return Ok(Self(rr::Name::root()));
        }
        while let Some(byte) = bytes.next() {
            match byte {
                b'.' if label.is_empty() => return Err(NameError::EmptyLabel),
                b'.' => labels.push(std::mem::take(&mut label)),
                b'\\' => label.push(unescape(&mut bytes)?),
                _ => label.push(byte),
            }
        }
        if label.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        labels.push(label);
        let mut name = rr::Name::from_labels(labels.iter().map(Vec::as_slice))
            .map_err(|_| NameError::TooLong)?;
        name.set_fqdn(true);
        Ok(Self(name))
    }
}

/// Whether a dot behind `text` would be escaped: an odd number of backslashes.
fn ends_in_escape(text: &str) -> bool {
    text.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

/// The byte meant by what follows a backslash.
fn unescape(bytes: &mut std::str::Bytes<'_>) -> Result<u8, NameError> {
    let first = bytes.next().ok_or(NameError::BadEscape)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit).ok_or(NameError::BadEscape)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| NameError::BadEscape)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn suffixes_match_whole_labels_in_any_case() {
        let suffix = name("Cluster.Local");
        assert!(name("kubernetes.default.svc.cluster.LOCAL.").is_under(&suffix));
        assert!(name("cluster.local").is_under(&suffix));
        assert!(!name("notcluster.local").is_under(&suffix));
        assert!(!name("local").is_under(&suffix));
        assert!(name("anything").is_under(&name(".")));
    }

    #[test]
    fn names_are_taken_apart_at_their_labels() {
        let full = name("www.example.com.svc.cluster.local.");
        assert_eq!(full.leading(3), name("www.example.com."));
        assert_eq!(full.without_leading(3), name("svc.cluster.local."));
        assert_eq!(full.without_leading(9), name("."));
        assert_eq!(full.in_front_of(&name("Cluster.Local")), Some(name("www.example.com.svc")));
        assert_eq!(full.in_front_of(&name("example.com")), None);
        assert_eq!(full.common_leading(&name("WWW.Example.org.")), 2);
        assert_eq!(name(".").depth(), 0);
    }

    #[test]
    fn a_suffix_is_put_behind_unless_it_does_not_fit() {
        assert_eq!(name("cart").with_suffix(&name("shop.svc")), Ok(name("cart.shop.svc")));
        assert_eq!(name("cart").with_suffix(&name(".")), Ok(name("cart")));
        let long = name(&vec!["abcdefghi"; 15].join("."));
        assert_eq!(long.with_suffix(&long), Err(NameError::TooLong));
    }

    #[test]
    fn hostile_bytes_are_printed_as_numbers() {
        let raw = rr::Name::from_labels([b"\x1b[31m\n".as_slice(), b"a.b\\c\"d e\xff"]).unwrap();
        assert_eq!(Name::new(raw).to_string(), r#"\027[31m\010.a\.b\\c\"d\032e\255."#);
    }

    #[test]
    fn what_is_not_a_name_is_refused_with_the_reason() {
        assert_eq!("a..b".parse::<Name>(), Err(NameError::EmptyLabel));
        assert_eq!(".a".parse::<Name>(), Err(NameError::EmptyLabel));
        assert_eq!(r"a\".parse::<Name>(), Err(NameError::BadEscape));
        assert_eq!(r"a\25".parse::<Name>(), Err(NameError::BadEscape));
        assert_eq!(r"a\256".parse::<Name>(), Err(NameError::BadEscape));
        assert_eq!("a".repeat(64).parse::<Name>(), Err(NameError::TooLong));
        assert_eq!(vec!["abcdefg"; 40].join(".").parse::<Name>(), Err(NameError::TooLong));
    }

    proptest! {
        #[test]
        fn the_printed_form_is_safe_and_reads_back(
            labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..8)
        ) {
            let raw = rr::Name::from_labels(labels.iter().map(Vec::as_slice)).unwrap();
            let printed = Name::new(raw.clone()).to_string();
            prop_assert!(printed.bytes().all(|byte| byte.is_ascii_graphic()));
            let read: Name = printed.parse().unwrap();
            prop_assert_eq!(read.0.iter().collect::<Vec<_>>(), raw.iter().collect::<Vec<_>>());
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = text.parse::<Name>();
        }
    }
}
