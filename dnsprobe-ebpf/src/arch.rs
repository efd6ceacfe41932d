//! The only architecture-specific code: the stack pointer in a probe's saved
//! registers.

use aya_ebpf::bindings::pt_regs;

/// Stack pointer at the probed instruction. At a function's entry and at its
/// return it differs by at most one word (the return address, on x86-64).
#[inline(always)]
pub(crate) fn stack_pointer(regs: *const pt_regs) -> u64 {
    // SAFETY: `regs` is the context of a running kprobe or kretprobe.
    unsafe {
        #[cfg(bpf_target_arch = "x86_64")]
        {
            (*regs).rsp
        }
        #[cfg(bpf_target_arch = "aarch64")]
        {
            (*regs).sp
        }
    }
}
