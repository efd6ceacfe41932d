//! The twelve bytes of a DNS header (RFC 1035 section 4.1.1) and the space
//! kept for the question behind them.

/// Length of a DNS header in bytes.
pub const HEADER_LEN: usize = 12;

/// Bytes kept of a message's question section: the longest name (255) plus
/// type and class.
pub const QUESTION_LEN: usize = 260;

/// Flag QR in the second 16-bit word of the header: set in answers.
pub const FLAG_QR: u16 = 0x8000;

/// Flag TC in the second word: the answer was cut short to fit a datagram.
pub const FLAG_TC: u16 = 0x0200;

/// The response code's bits of the second word.
const RCODE_MASK: u16 = 0x000f;

/// Number of response codes a header can carry (without EDNS extension bits).
pub const RCODES: usize = 16;

/// The response code of a header's flag word, 0 to 15.
#[inline(always)]
#[must_use]
pub fn rcode(flags: u16) -> usize {
    (flags & RCODE_MASK) as usize
}

/// Whether a flag word belongs to an answer.
#[inline(always)]
#[must_use]
pub fn is_answer(flags: u16) -> bool {
    flags & FLAG_QR != 0
}

/// Whether a flag word says that the answer was cut short.
#[inline(always)]
#[must_use]
pub fn is_truncated(flags: u16) -> bool {
    flags & FLAG_TC != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rcode_is_the_low_nibble() {
        assert_eq!(rcode(0x8183), 3);
        assert_eq!(rcode(0xfff0), 0);
    }

    #[test]
    fn qr_tells_answers_from_queries() {
        assert!(is_answer(0x8180));
        assert!(!is_answer(0x0100));
    }

    #[test]
    fn a_truncated_answer_says_so() {
        assert!(is_truncated(0x8380));
        assert!(!is_truncated(0x8180));
    }

    #[test]
    fn a_response_code_is_always_one_of_those_counted() {
        assert!((0..=u16::MAX).all(|flags| rcode(flags) < RCODES));
    }
}
