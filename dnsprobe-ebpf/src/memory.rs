//! Reading kernel structs: directly, where the verifier knows the pointer's
//! type (fentry and BTF tracepoint arguments), or through a helper call.
//! A direct load is an instruction; a helper call is about a hundred.

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user};

/// A pointer to a kernel struct.
pub(crate) trait Pointer: Copy {
    /// The value at `offset` bytes; zero when the memory cannot be read.
    fn field<T: Copy>(self, offset: usize) -> T;

    /// The pointer at `offset` bytes.
    fn follow(self, offset: usize) -> Self;

    /// The address as a number.
    fn address(self) -> u64;

    /// Whether it points nowhere.
    #[inline(always)]
    fn is_null(self) -> bool {
        self.address() == 0
    }

    /// The same address, read through the helper from now on.
    #[inline(always)]
    fn raw(self) -> Raw {
        Raw(self.address())
    }
}

/// A pointer whose BTF type the verifier knows.
#[derive(Clone, Copy)]
pub(crate) struct Typed(pub(crate) *const u8);

/// A pointer that is only a number to the verifier.
#[derive(Clone, Copy)]
pub(crate) struct Raw(pub(crate) u64);

impl Pointer for Typed {
    #[inline(always)]
    fn field<T: Copy>(self, offset: usize) -> T {
        // SAFETY: the verifier turns loads through a BTF pointer into ones
        // that yield zero on a fault, and rejects offsets outside the struct.
        unsafe { core::ptr::read_volatile(self.0.add(offset).cast::<T>()) }
    }

    #[inline(always)]
    fn follow(self, offset: usize) -> Self {
        Self(self.field::<*const u8>(offset))
    }

    #[inline(always)]
    fn address(self) -> u64 {
        self.0 as u64
    }
}

impl Pointer for Raw {
    #[inline(always)]
    fn field<T: Copy>(self, offset: usize) -> T {
        let mut value = core::mem::MaybeUninit::<T>::zeroed();
        read(self.0 + offset as u64, &raw mut value, size_of::<T>());
        // SAFETY: zeroed or filled; T is a plain integer type at every use.
        unsafe { value.assume_init() }
    }

    #[inline(always)]
    fn follow(self, offset: usize) -> Self {
        Self(self.field::<u64>(offset))
    }

    #[inline(always)]
    fn address(self) -> u64 {
        self.0
    }
}

/// Copies `len` bytes of kernel memory to `destination`. The helper zeroes the
/// destination when the source cannot be read; the result says so.
#[inline(always)]
pub(crate) fn read<T>(source: u64, destination: *mut T, len: usize) -> bool {
    // SAFETY: callers pass a destination of at least `len` bytes; the verifier
    // checks that again.
    unsafe { bpf_probe_read_kernel(destination.cast(), len as u32, source as *const _) == 0 }
}

/// [`read`] from the current process's memory; `false` also when the page is
/// not in memory.
#[inline(always)]
pub(crate) fn read_user<T>(source: u64, destination: *mut T, len: usize) -> bool {
    // SAFETY: as in `read`.
    unsafe { bpf_probe_read_user(destination.cast(), len as u32, source as *const _) == 0 }
}
