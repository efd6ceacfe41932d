//! Reading kernel structs: directly, where the verifier knows the pointer's
//! type (fentry and BTF tracepoint arguments); through a window, as which the
//! kernel lets any address be read since 6.2; or through a helper call. A direct
//! load is an instruction, one through a window seven; a helper call is about a
//! hundred.

use core::{arch::asm, mem::MaybeUninit, ptr::read_volatile};

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user};
use dnsprobe_common::config::RDONLY_CAST;

use crate::constants::{Place, config};

/// A pointer to a kernel struct.
pub(crate) trait Pointer: Copy {
    /// The value at a place; zero when the memory cannot be read.
    fn field<T: Copy>(self, place: impl Place) -> T;

    /// The pointer at a place.
    fn follow(self, place: impl Place) -> Self;

    /// The address as a number.
    fn address(self) -> u64;

    /// Whether it points nowhere.
    #[inline(always)]
    fn is_null(self) -> bool {
        self.address() == 0
    }

    /// The same address as a mere number, read as [`Raw`] says from now on.
    #[inline(always)]
    fn raw(self) -> Raw {
        Raw(self.address())
    }
}

/// A pointer whose BTF type the verifier knows.
#[derive(Clone, Copy)]
pub(crate) struct Typed(pub(crate) *const u8);

/// A pointer that is only a number to the verifier: read through a window, or by
/// the helper where there is none.
#[derive(Clone, Copy)]
pub(crate) struct Raw(pub(crate) u64);

impl Pointer for Typed {
    #[inline(always)]
    fn field<T: Copy>(self, place: impl Place) -> T {
        load_typed(self.0, place)
    }

    #[inline(always)]
    fn follow(self, place: impl Place) -> Self {
        Self(self.field::<*const u8>(place))
    }

    #[inline(always)]
    fn address(self) -> u64 {
        self.0 as u64
    }
}

/// Loads through a pointer whose type the verifier knows.
#[inline(always)]
fn load_typed<T: Copy, P: Place>(pointer: *const u8, place: P) -> T {
    macro_rules! load {
        ($type:literal) => {{
            let word: u64;
            asm!(
                concat!("{word} = *(", $type, " *)({pointer} + {mark})"),
                word = out(reg) word,
                pointer = in(reg) pointer,
                mark = const mark::<P>(),
                options(pure, nomem, nostack),
            );
            word
        }};
    }
    // SAFETY: the verifier turns loads through a BTF pointer into ones that yield
    // zero on a fault, and rejects offsets outside the struct. For the compiler
    // they are plain functions of the pointer: nothing here writes kernel structs,
    // and so what is not needed is not loaded.
    unsafe {
        let word = match (P::MARK, size_of::<T>()) {
            (Some(_), 1) => load!("u8"),
            (Some(_), 2) => load!("u16"),
            (Some(_), 4) => load!("u32"),
            (Some(_), 8) => load!("u64"),
            _ => return read_volatile(pointer.add(place.bytes()).cast::<T>()),
        };
        core::mem::transmute_copy(&word)
    }
}

const fn mark<P: Place>() -> u16 {
    match P::MARK {
        Some(mark) => mark,
        None => 0,
    }
}

impl Pointer for Raw {
    #[inline(always)]
    fn field<T: Copy>(self, place: impl Place) -> T {
        let address = self.0 + place.bytes() as u64;
        if let Some(window) = Window::at(address) {
            return window.field();
        }
        let mut value = MaybeUninit::<T>::zeroed();
        read(address, &raw mut value, size_of::<T>());
        // SAFETY: zeroed or filled; T is a plain integer type at every use.
        unsafe { value.assume_init() }
    }

    #[inline(always)]
    fn follow(self, place: impl Place) -> Self {
        Self(self.field::<u64>(place))
    }

    #[inline(always)]
    fn address(self) -> u64 {
        self.0
    }
}

/// Kernel memory that a program may load from: what cannot be read is zero.
#[derive(Clone, Copy)]
pub(crate) struct Window(*const u64);

impl Window {
    /// The memory at an address, [`Self::LEN`] bytes of it; `None` on kernels
    /// before 6.2.
    #[inline(always)]
    pub(crate) fn at(address: u64) -> Option<Self> {
        let as_type = config!(window_type);
        if as_type == 0 {
            return None;
        }
        let memory: *const u64;
        // SAFETY: bpf_rdonly_cast (kernel/bpf/helpers.c, 6.2) returns its argument;
        // what it may be used for is the verifier's business. A kernel function
        // destroys the registers of its arguments.
        unsafe {
            asm!(
                ".8byte {call}",
                call = const RDONLY_CAST,
                inlateout("r1") address => _,
                inlateout("r2") u64::from(as_type) => _,
                lateout("r0") memory,
                lateout("r3") _,
                lateout("r4") _,
                lateout("r5") _,
                options(nostack),
            );
        }
        Some(Self(memory))
    }

    /// The first 24 fields of `struct rtnl_link_stats64`.
    pub(crate) const LEN: usize = 24 * 8;

    /// The word at `index` (of eight bytes).
    #[inline(always)]
    pub(crate) fn word(self, index: usize) -> u64 {
        // SAFETY: as for `Typed`.
        unsafe { read_volatile(self.0.add(index)) }
    }

    /// What is at its start.
    #[inline(always)]
    pub(crate) fn field<T: Copy>(self) -> T {
        const { assert!(size_of::<T>() <= Self::LEN) };
        if size_of::<T>() <= 8 {
            // SAFETY: as for `Typed`.
            return unsafe { read_volatile(self.0.cast::<T>()) };
        }
        const { assert!(size_of::<T>() <= 8 || size_of::<T>().is_multiple_of(8)) };
        let mut value = MaybeUninit::<T>::uninit();
        let words = value.as_mut_ptr().cast::<[u32; 2]>();
        let mut index = 0;
        while index < size_of::<T>() / 8 {
            let word = self.word(index);
            // SAFETY: inside `value`; every larger type is an array of words.
            unsafe { words.add(index).write([word as u32, (word >> 32) as u32]) };
            index += 1;
        }
        // SAFETY: filled; T is a plain integer type at every use.
        unsafe { value.assume_init() }
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
