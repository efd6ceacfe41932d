//! Carries a value from a function's entry to its return.
//!
//! Matched by stack pointer, which no two running calls share. Slots are per
//! processor; a call that is overtaken by four others of its kind, or moved to
//! another processor, is not found again and is counted.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use dnsprobe_common::stats::Health;

use crate::maps::count;

/// The functions that are followed.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Function {
    ConntrackConfirm = 0,
    IpvsIn = 1,
    Masquerade = 2,
    UdpSocket = 3,
    UdpMessage = 4,
}

const FUNCTIONS: u32 = 5;
const SLOTS: usize = 4;

#[repr(C)]
#[derive(Clone, Copy)]
struct Call {
    stack_pointer: u64,
    value: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Calls {
    slots: [Call; SLOTS],
    next: u64,
}

#[map]
static CALLS: PerCpuArray<Calls> = PerCpuArray::with_max_entries(FUNCTIONS, 0);

/// Remembers `value` for the call that runs at `stack_pointer`.
#[inline(always)]
pub(crate) fn enter(function: Function, stack_pointer: u64, value: u64) {
    if let Some(calls) = CALLS.get_ptr_mut(function as u32) {
        // SAFETY: this processor's own map value; the mask keeps the index in
        // bounds.
        unsafe {
            let slot = ((*calls).next as usize) & (SLOTS - 1);
            let slot = (&raw mut (*calls).slots).cast::<Call>().add(slot);
            (*slot).stack_pointer = stack_pointer;
            (*slot).value = value;
            (*calls).next += 1;
        }
    }
}

/// The value of the call that was entered last on this processor and has not
/// returned.
#[inline(always)]
pub(crate) fn current(function: Function) -> Option<u64> {
    let calls = CALLS.get_ptr_mut(function as u32)?;
    // SAFETY: this processor's own map value; the mask keeps the index in
    // bounds.
    let value = unsafe {
        let slot = ((*calls).next.wrapping_sub(1) as usize) & (SLOTS - 1);
        (*(&raw mut (*calls).slots).cast::<Call>().add(slot)).value
    };
    (value != 0).then_some(value)
}

/// The value that the call returning at `stack_pointer` was entered with.
#[inline(always)]
pub(crate) fn leave(function: Function, stack_pointer: u64) -> Option<u64> {
    let calls = CALLS.get_ptr_mut(function as u32)?;
    let mut index = 0;
    while index < SLOTS {
        // SAFETY: this processor's own map value; index is in bounds.
        unsafe {
            let slot = (&raw mut (*calls).slots).cast::<Call>().add(index);
            // The return address is already off the stack on x86-64.
            if (*slot).value != 0 && stack_pointer.wrapping_sub((*slot).stack_pointer) <= 8 {
                let value = (*slot).value;
                (*slot).value = 0;
                return Some(value);
            }
        }
        index += 1;
    }
    count(Health::EntryMissed);
    None
}
