//! Log-linear latency buckets: every power of two of nanoseconds is cut into
//! 32 equal parts, so a bucket is at most 3.1 % wide and its midpoint at most
//! 1.6 % from any value in it, from 8.2 µs to 68.7 s.

/// Parts per power of two, as a power of two.
pub const PART_BITS: u32 = 5;
/// The lowest power of two that is resolved: 2^13 ns = 8.192 µs.
pub const MIN_BITS: u32 = 13;
/// One past the highest power of two resolved: 2^36 ns = 68.7 s.
pub const MAX_BITS: u32 = 36;

/// Buckets in all: one below the range, the range, one above it.
pub const BUCKETS: usize = (((MAX_BITS - MIN_BITS) << PART_BITS) + 2) as usize;

/// Index of the bucket that holds `ns`. Always below [`BUCKETS`].
#[inline(always)]
#[must_use]
pub fn bucket(ns: u64) -> usize {
    if ns < 1 << MIN_BITS {
        return 0;
    }
    if ns >= 1 << MAX_BITS {
        return BUCKETS - 1;
    }
    let log2 = log2(ns);
    let part = (ns >> (log2 - PART_BITS)) & ((1 << PART_BITS) - 1);
    1 + (((log2 - MIN_BITS) << PART_BITS) + part as u32) as usize
}

/// Floor of the binary logarithm for values below 2^64; five steps, because
/// the kernel's instruction set has no count-leading-zeros.
#[inline(always)]
fn log2(value: u64) -> u32 {
    let mut rest = value;
    let mut log2 = 0;
    let mut step = 32;
    while step > 0 {
        if rest >> step != 0 {
            rest >>= step;
            log2 += step;
        }
        step >>= 1;
    }
    log2
}

/// Lower bound (inclusive) of a bucket in nanoseconds.
#[must_use]
pub fn lower_bound_ns(bucket: usize) -> u64 {
    match bucket {
        0 => 0,
        b if b >= BUCKETS - 1 => 1 << MAX_BITS,
        b => {
            let index = (b - 1) as u64;
            let log2 = (index >> PART_BITS) + u64::from(MIN_BITS);
            let part = index & ((1 << PART_BITS) - 1);
            (1 << log2) + (part << (log2 - u64::from(PART_BITS)))
        }
    }
}

/// Upper bound (exclusive) of a bucket in nanoseconds; `u64::MAX` for the last.
#[must_use]
pub fn upper_bound_ns(bucket: usize) -> u64 {
    if bucket >= BUCKETS - 1 { u64::MAX } else { lower_bound_ns(bucket + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_holds_its_own_bounds_and_nothing_else() {
        for b in 0..BUCKETS - 1 {
            assert_eq!(bucket(lower_bound_ns(b)), b);
            assert_eq!(bucket(upper_bound_ns(b) - 1), b);
            assert_eq!(bucket(upper_bound_ns(b)), b + 1);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn the_range_covers_ten_microseconds_to_sixty_seconds_within_1_6_percent() {
        let mut ns = 10_000_u64;
        while ns < 60_000_000_000 {
            let b = bucket(ns);
            let middle = u64::midpoint(lower_bound_ns(b), upper_bound_ns(b));
            let error = (middle as f64 - ns as f64).abs() / ns as f64;
            assert!(error <= 0.016, "{ns} ns: {error}");
            ns += ns / 97;
        }
    }

    #[test]
    fn log2_is_the_floor() {
        for shift in 0..64 {
            assert_eq!(log2(1 << shift), shift);
            assert_eq!(log2((1 << shift) | ((1 << shift) - 1)), shift);
        }
    }

    #[test]
    fn what_lies_outside_the_range_has_a_bucket_of_its_own_on_either_side() {
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket((1 << MIN_BITS) - 1), 0);
        assert_eq!(bucket(1 << MIN_BITS), 1);
        assert_eq!(bucket((1 << MAX_BITS) - 1), BUCKETS - 2);
        assert_eq!(bucket(1 << MAX_BITS), BUCKETS - 1);
        assert_eq!(lower_bound_ns(0), 0);
        assert_eq!(upper_bound_ns(BUCKETS - 1), u64::MAX);
        assert_eq!(lower_bound_ns(usize::MAX), 1 << MAX_BITS);
    }

    #[test]
    fn no_bucket_in_the_range_is_wider_than_a_sixteenth() {
        for b in 1..BUCKETS - 1 {
            let (low, high) = (lower_bound_ns(b), upper_bound_ns(b));
            assert!((high - low) * 16 <= low, "bucket {b}: {low}..{high}");
        }
    }
}
