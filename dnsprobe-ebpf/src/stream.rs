//! DNS over TCP: cuts the bytes that a process writes to or reads from a socket
//! into messages, each behind its length in two bytes (RFC 1035, 4.2.2).
//!
//! A message may come in any number of calls and pieces of memory. Only the
//! first 12 bytes of it, the header, have to lie in one piece; a message cut
//! within them is counted as [`Health::TcpUnread`] and passed over.

use core::ptr::read_volatile;

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::map,
    maps::{Array, LruHashMap},
};
use dnsprobe_common::{
    dns::{HEADER_LEN, is_answer},
    flow::{Command, Role, Tuple, v4_mapped},
    stats::Health,
};

use crate::{
    constants::{is_dns_port, tcp, watching},
    emit,
    flow::Flow,
    maps::count,
    memory::{Pointer, Raw, Typed, read_user},
    packet::Dns,
    socket::{Holder, current_command},
    transaction::{self, NOWHERE},
    user_memory::Cursor,
};

/// `sock.sk_family` of IPv4, include/linux/socket.h.
const AF_INET: u16 = 2;
/// The largest DNS opcode in use (RFC 8490).
const MAX_OPCODE: u16 = 6;

/// Sockets that are, were or may be connected to a DNS port, by address. Full:
/// the one not used for longest is forgotten; what it carries then is read from
/// the middle, which is noticed and counted.
#[map]
static CONNECTIONS: LruHashMap<u64, Connection> = LruHashMap::with_max_entries(8_192, 0);

/// One all-zero connection to start new ones from; never written.
#[map]
static NEW_CONNECTION: Array<Connection> = Array::with_max_entries(1, 0);

/// What is known of a socket.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Connection {
    /// When its first segment was sent; 0: not seen.
    pub(crate) start_ns: u64,
    /// Who wanted it.
    pub(crate) cgroup: u64,
    pub(crate) command: Command,
    pub(crate) netns: u32,
    pub(crate) tgid: u32,
    written: Stream,
    read: Stream,
}

/// One direction of a connection.
#[repr(C)]
#[derive(Clone, Copy)]
struct Stream {
    /// Where the current call has its bytes.
    cursor: Cursor,
    /// When the current call began.
    entered_ns: u64,
    /// Bytes that it moved and that are still to be looked at.
    bytes: u64,
    /// The message found last.
    message: Message,
    /// Bytes of the current message still to come.
    skip: u32,
    /// The current message's length, as far as it is known.
    length: u16,
    /// How many bytes of the length are known: 0 to 2.
    known: u8,
    /// One of the constants below.
    state: u8,
}

/// Between messages, or within one.
const IN_STEP: u8 = 0;
/// Where messages begin is not known any more; nothing can be read until the
/// connection ends.
const LOST: u8 = 1;
/// The current call's memory cannot be read.
const UNREADABLE: u8 = 2;

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The process writes.
    Written,
    /// The process reads.
    Read,
}

/// Whether there is more to look at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Done,
    More,
}

/// Which end of DNS a TCP socket is, by its ports; `None`: neither.
#[inline(always)]
pub(crate) fn role(sock: Typed) -> Option<Role> {
    let remote = u16::from_be(sock.field(tcp!(sock_dport) as usize));
    if is_dns_port(remote) {
        return Some(Role::Client);
    }
    is_dns_port(sock.field(tcp!(sock_num) as usize)).then_some(Role::Server)
}

/// A socket's addresses, the asking side first.
#[inline(always)]
pub(crate) fn asked(sock: Typed, role: Role) -> Tuple {
    let family: u16 = sock.field(tcp!(sock_family) as usize);
    let mut tuple = NOWHERE;
    if family == AF_INET {
        tuple.source = v4_mapped(sock.field(tcp!(sock_rcv_saddr) as usize));
        tuple.destination = v4_mapped(sock.field(tcp!(sock_daddr) as usize));
    } else {
        tuple.source = sock.field(tcp!(sock_v6_rcv_saddr) as usize);
        tuple.destination = sock.field(tcp!(sock_v6_daddr) as usize);
    }
    // Unlike `skc_num` still there when the socket is being closed; behind what
    // the verifier knows of the pointer.
    tuple.source_port = u16::from_be(sock.raw().field(tcp!(inet_sport) as usize));
    tuple.destination_port = u16::from_be(sock.field(tcp!(sock_dport) as usize));
    match role {
        Role::Client => tuple,
        Role::Server => Tuple {
            source: tuple.destination,
            destination: tuple.source,
            source_port: tuple.destination_port,
            destination_port: tuple.source_port,
        },
    }
}

/// What is known of a socket so far.
#[inline(always)]
pub(crate) fn known(sock: Typed) -> Option<*mut Connection> {
    CONNECTIONS.get_ptr_mut(sock.address())
}

/// Forgets a socket.
#[inline(always)]
pub(crate) fn forget(sock: Typed) {
    let _ = CONNECTIONS.remove(sock.address());
}

/// A connection begins; in the context of the process that wants it.
#[inline(always)]
pub(crate) fn begin(sock: Typed, start_ns: u64) -> Option<*mut Connection> {
    let key = sock.address();
    let _ = CONNECTIONS.insert(key, NEW_CONNECTION.get(0)?, 0);
    let connection = CONNECTIONS.get_ptr_mut(key)?;
    let owner = sock.owner();
    // SAFETY: a live map value.
    unsafe {
        (*connection).start_ns = start_ns;
        (*connection).cgroup = owner.cgroup;
        (*connection).netns = owner.netns;
        (*connection).tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
        (*connection).command = current_command();
    }
    Some(connection)
}

/// A process is about to write to or read from a socket.
#[inline(always)]
pub(crate) fn entered(sock: Typed, message: Raw, direction: Direction) {
    if role(sock).is_none() || !watching() {
        return;
    }
    let Some(connection) = known(sock).or_else(|| begin(sock, 0)) else { return };
    // SAFETY: a live map value. The socket is locked for most of the call, so
    // that two threads rarely come between here; what they do to each other is
    // noticed as a message that makes no sense.
    unsafe {
        let stream = stream(connection, direction);
        (*stream).entered_ns = emit::now();
        (*stream).bytes = 0;
        if (*stream).state != LOST {
            let readable = (*stream).cursor.start(message);
            (*stream).state = if readable { IN_STEP } else { UNREADABLE };
        }
    }
}

/// # Safety
/// `connection` is a live map value.
#[inline(always)]
unsafe fn stream(connection: *mut Connection, direction: Direction) -> *mut Stream {
    // SAFETY: see above.
    unsafe {
        match direction {
            Direction::Written => &raw mut (*connection).written,
            Direction::Read => &raw mut (*connection).read,
        }
    }
}

/// The call moved `moved` bytes: looks at them up to the end of the first
/// message that begins there. To be called again, with the same value, while
/// there is more.
#[inline(always)]
pub(crate) fn moved(sock: Typed, moved: i32, direction: Direction) -> Step {
    if moved <= 0 {
        return Step::Done;
    }
    let Some(role) = role(sock) else { return Step::Done };
    let Some(connection) = known(sock) else { return Step::Done };
    // SAFETY: a live map value.
    let stream = unsafe { stream(connection, direction) };
    // SAFETY: as above.
    unsafe {
        if (*stream).bytes == 0 {
            (*stream).bytes = moved as u64;
        }
        match (*stream).state {
            IN_STEP => {}
            UNREADABLE => {
                lose(stream);
                return Step::Done;
            }
            _ => return Step::Done,
        }
        if (*stream).next_message() {
            // From memory, so that the verifier goes on once, and not once for
            // each way in which a message can be found.
            let message = read_volatile(&raw const (*stream).message);
            let expected = (direction == Direction::Read) == matches!(role, Role::Client);
            if is_answer(message.flags) != expected || message.opcode() > MAX_OPCODE {
                lose(stream);
                return Step::Done;
            }
            handle(sock, role, &message, (*stream).entered_ns);
        }
        if (*stream).bytes > 0 { Step::More } else { Step::Done }
    }
}

/// The rest of a call that had more messages than can be looked at.
#[inline(always)]
pub(crate) fn too_many(sock: Typed, direction: Direction) {
    if let Some(connection) = known(sock) {
        // SAFETY: a live map value.
        unsafe { lose(stream(connection, direction)) };
    }
}

/// # Safety
/// `stream` is in a live map value.
#[inline(always)]
unsafe fn lose(stream: *mut Stream) {
    count(Health::TcpUnread);
    // SAFETY: see above.
    unsafe { (*stream).state = LOST };
}

/// A message's first bytes.
#[repr(C)]
#[derive(Clone, Copy)]
struct Message {
    /// Address of its question in the process's memory.
    question: u64,
    id: u16,
    flags: u16,
    /// Bytes of the question that lie there in one piece.
    question_len: u16,
    /// Bytes of the whole message behind its header.
    message_len: u16,
}

impl Message {
    #[inline(always)]
    fn opcode(&self) -> u16 {
        self.flags >> 11 & 0xf
    }
}

impl Stream {
    /// Bytes that can be looked at without changing to another piece.
    #[inline(always)]
    fn available(&self) -> u64 {
        if self.bytes < self.cursor.left { self.bytes } else { self.cursor.left }
    }

    #[inline(always)]
    fn consume(&mut self, count: u64) {
        self.cursor.base += count;
        self.cursor.left -= count;
        self.bytes -= count;
    }

    /// Goes on in the current piece until a message begins and is passed over,
    /// as far as it is there, or the piece ends. Whether there is one in
    /// `message` now.
    #[inline(always)]
    fn next_message(&mut self) -> bool {
        if self.cursor.left == 0 && !self.cursor.next_piece() {
            // The kernel says that it moved more than there is room for.
            self.bytes = 0;
            return false;
        }
        self.pass_over();
        self.learn_length();
        self.learn_length();
        if self.known < 2 || self.available() == 0 {
            return false;
        }
        let available = self.available();
        let base = self.cursor.base;
        let length = self.length;
        self.skip = u32::from(length);
        self.known = 0;
        self.pass_over();
        let mut header = 0_u32;
        if length < HEADER_LEN as u16
            || available < HEADER_LEN as u64
            || !read_user(base, &raw mut header, 4)
        {
            count(Health::TcpUnread);
            return false;
        }
        let header = u32::from_be(header);
        let length = u64::from(length);
        let here = if available < length { available } else { length };
        self.message = Message {
            question: base + HEADER_LEN as u64,
            id: (header >> 16) as u16,
            flags: header as u16,
            question_len: (here - HEADER_LEN as u64) as u16,
            message_len: length as u16 - HEADER_LEN as u16,
        };
        true
    }

    /// Passes over what is here of the current message.
    #[inline(always)]
    fn pass_over(&mut self) {
        let available = self.available();
        let skip = u64::from(self.skip);
        let count = if available < skip { available } else { skip };
        self.consume(count);
        self.skip = (skip - count) as u32;
    }

    /// Takes one more byte of the next message's length, where it is here.
    #[inline(always)]
    fn learn_length(&mut self) {
        if self.skip > 0 || self.known > 1 || self.available() == 0 {
            return;
        }
        let mut byte = 0_u8;
        read_user(self.cursor.base, &raw mut byte, 1);
        self.length = self.length << 8 | u16::from(byte);
        self.known += 1;
        self.consume(1);
    }
}

/// One message of a process that asks or answers.
#[inline(always)]
fn handle(sock: Typed, role: Role, message: &Message, entered_ns: u64) {
    let dns = Dns::in_user_memory(
        Flow::of(&asked(sock, role)),
        message.id,
        message.flags,
        message.question,
        message.question_len,
        message.message_len,
    );
    match (role, is_answer(message.flags)) {
        (Role::Client, false) => transaction::query_sent(&dns, sock, entered_ns),
        (Role::Server, false) => transaction::query_taken(&dns, sock, emit::now()),
        (Role::Client, true) => transaction::answer_read(&dns, sock, emit::now()),
        (Role::Server, true) => transaction::answer_sent(&dns, sock, entered_ns),
    }
}
