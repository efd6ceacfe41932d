//! Response codes by name (IANA, the four bits of the DNS header).

use std::borrow::Cow;

/// Names of the header's response codes, by number.
const NAMES: [&str; 11] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET",
    "NXRRSET", "NOTAUTH", "NOTZONE",
];

/// The name of a response code; `RCODEn` for one without a name.
#[must_use]
pub fn rcode_name(rcode: u8) -> Cow<'static, str> {
    NAMES
        .get(usize::from(rcode))
        .map_or_else(|| Cow::Owned(format!("RCODE{rcode}")), |name| Cow::Borrowed(*name))
}

/// The response code that a text names, in any case: `NXDOMAIN`, `RCODE11` or
/// a plain number. `None` when it names none that a DNS header can carry.
#[must_use]
pub fn parse_rcode(text: &str) -> Option<u8> {
    let upper = text.to_ascii_uppercase();
    if let Some(rcode) = NAMES.iter().position(|name| *name == upper) {
        return u8::try_from(rcode).ok();
    }
    let digits = upper.strip_prefix("RCODE").unwrap_or(&upper);
    digits.parse().ok().filter(|&rcode| usize::from(rcode) < dnsprobe_common::dns::RCODES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_header_code_has_a_name_that_reads_back() {
        assert_eq!(rcode_name(0), "NOERROR");
        assert_eq!(rcode_name(3), "NXDOMAIN");
        assert_eq!(rcode_name(11), "RCODE11");
        for rcode in 0..16 {
            assert_eq!(parse_rcode(&rcode_name(rcode).to_lowercase()), Some(rcode));
        }
    }

    #[test]
    fn a_text_that_names_no_code_is_refused() {
        assert_eq!(parse_rcode("2"), Some(2));
        for text in ["", "NXDOMAINS", "16", "RCODE16", "-1", "RCODE"] {
            assert_eq!(parse_rcode(text), None, "{text}");
        }
    }
}
