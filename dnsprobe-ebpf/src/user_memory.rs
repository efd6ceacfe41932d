//! Walks the memory of a process that a `msghdr` names: one piece, or an array
//! of pieces (`struct iov_iter`, include/linux/uio.h).

use crate::{
    constants::tcp,
    memory::{Pointer, Raw},
};

/// A position in that memory. Lives in a map.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Cursor {
    /// Where the rest of the current piece begins.
    pub(crate) base: u64,
    /// Bytes of the current piece that are left.
    pub(crate) left: u64,
    /// Address of the next `struct iovec`.
    next: u64,
    /// How many are left.
    pieces: u64,
    /// Bytes to pass over in the first piece.
    offset: u64,
}

impl Cursor {
    /// Points to the first byte that the message header has still to give or
    /// take; `false` when that is not a process's memory (a pipe's pages, the
    /// kernel's own).
    #[inline(always)]
    pub(crate) fn start(&mut self, header: Raw) -> bool {
        let kind = header.field::<u8>(tcp!(iter_type) as usize) & tcp!(type_mask);
        let offset: u64 = header.field(tcp!(iter_offset) as usize);
        let memory: u64 = header.field(tcp!(iter_iov) as usize);
        if tcp!(type_ubuf) != 0xff && kind == tcp!(type_ubuf) {
            self.base = memory + offset;
            self.left = remaining(header);
            self.next = 0;
            self.pieces = 0;
            self.offset = 0;
            return true;
        }
        self.base = 0;
        self.left = 0;
        self.next = memory;
        self.pieces = header.field(tcp!(iter_segments) as usize);
        self.offset = offset;
        kind == tcp!(type_iovec)
    }

    /// Goes on to the next piece; `false` when there is none.
    #[inline(always)]
    pub(crate) fn next_piece(&mut self) -> bool {
        if self.pieces == 0 {
            return false;
        }
        let piece = Raw(self.next);
        let base: u64 = piece.field(0);
        let len: u64 = piece.field(8);
        self.base = base + self.offset;
        self.left = len.saturating_sub(self.offset);
        self.offset = 0;
        self.next += 16;
        self.pieces -= 1;
        true
    }
}

/// Bytes that a message header has still to give or take.
#[inline(always)]
pub(crate) fn remaining(header: Raw) -> u64 {
    header.field(tcp!(iter_count) as usize)
}
