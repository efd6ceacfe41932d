//! The calls of bpf(2) that aya does not offer: programs at functions of modules, which
//! module a BTF object belongs to, and a program's counters.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use aya_obj::generated::{
    bpf_attach_type, bpf_attr, bpf_btf_info, bpf_cmd, bpf_insn, bpf_prog_info, bpf_prog_type,
};

/// A tracing program and where it goes.
pub(crate) struct TracingProgram<'a> {
    /// At most 15 bytes of it are kept.
    pub(crate) name: &'a str,
    pub(crate) instructions: &'a [bpf_insn],
    pub(crate) license: &'a CStr,
    pub(crate) at: bpf_attach_type,
    /// BTF id of the function, or of the tracepoint's type.
    pub(crate) target: u32,
    /// The BTF object that the id is of; `None`: the kernel's own.
    pub(crate) module: Option<BorrowedFd<'a>>,
}

/// Loads a tracing program. What the verifier says goes to `log`; empty: nothing is
/// asked of it.
///
/// # Errors
/// The kernel's.
pub(crate) fn load(program: &TracingProgram<'_>, log: &mut [u8]) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    // SAFETY: all members of the union are plain numbers.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    load.prog_type = bpf_prog_type::BPF_PROG_TYPE_TRACING as u32;
    load.expected_attach_type = program.at as u32;
    load.insns = program.instructions.as_ptr() as u64;
    load.insn_cnt = len(program.instructions.len());
    load.license = program.license.as_ptr() as u64;
    load.attach_btf_id = program.target;
    load.__bindgen_anon_1.attach_btf_obj_fd = program.module.map_or(0, number);
    let room = load.prog_name.len() - 1;
    for (place, byte) in load.prog_name[..room].iter_mut().zip(program.name.bytes()) {
        *place = byte.cast_signed();
    }
    if !log.is_empty() {
        load.log_level = 1;
        load.log_buf = log.as_mut_ptr() as u64;
        load.log_size = len(log.len());
    }
    descriptor(bpf_cmd::BPF_PROG_LOAD, &mut attr)
}

/// Attaches a tracing program to what it was loaded for, as long as the result is
/// open.
///
/// # Errors
/// The kernel's.
pub(crate) fn attach(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.raw_tracepoint.prog_fd = number(program);
    descriptor(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr)
}

/// Puts a program into the only place of a program array.
///
/// # Errors
/// The kernel's.
pub(crate) fn set_tail(map: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let (key, value) = (0_u32, number(program));
    let mut attr = zeroed();
    // SAFETY: as in `load`.
    let update = unsafe { &mut attr.__bindgen_anon_2 };
    update.map_fd = number(map);
    update.key = &raw const key as u64;
    update.__bindgen_anon_1.value = &raw const value as u64;
    call(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr).map(drop)
}

/// The BTF object of a module that is loaded (5.11).
///
/// # Errors
/// The kernel's: it shows its BTF objects with CAP_SYS_ADMIN only.
pub(crate) fn module_types(module: &str) -> io::Result<OwnedFd> {
    let mut id = 0;
    loop {
        let mut attr = zeroed();
        attr.__bindgen_anon_6.__bindgen_anon_1.start_id = id;
        call(bpf_cmd::BPF_BTF_GET_NEXT_ID, &mut attr)?;
        // SAFETY: the kernel has filled it in.
        id = unsafe { attr.__bindgen_anon_6.next_id };
        attr = zeroed();
        attr.__bindgen_anon_6.__bindgen_anon_1.btf_id = id;
        let types = match descriptor(bpf_cmd::BPF_BTF_GET_FD_BY_ID, &mut attr) {
            // Gone meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            result => result?,
        };
        if name_of(&types)?.is_some_and(|name| name == module.as_bytes()) {
            return Ok(types);
        }
    }
}

/// The name of a BTF object of the kernel's; `None` for others'.
fn name_of(types: &OwnedFd) -> io::Result<Option<Vec<u8>>> {
    // MODULE_NAME_LEN, include/linux/moduleparam.h.
    let mut name = [0_u8; 64 - size_of::<usize>()];
    let mut info = bpf_btf_info {
        btf: 0,
        btf_size: 0,
        id: 0,
        name: name.as_mut_ptr() as u64,
        name_len: len(name.len()),
        kernel_btf: 0,
    };
    match describe(types.as_raw_fd(), &mut info) {
        // A longer name, so no module's.
        Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => return Ok(None),
        result => result?,
    };
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    Ok((info.kernel_btf != 0).then(|| name[..end].to_vec()))
}

/// What the kernel tells of a program; what it does not know is 0.
///
/// # Errors
/// The kernel's.
pub(crate) fn program_info(program: RawFd) -> io::Result<bpf_prog_info> {
    // SAFETY: numbers only; without room for lists none is filled in.
    let mut info = unsafe { std::mem::zeroed() };
    describe(program, &mut info)?;
    Ok(info)
}

/// Has the kernel fill in what it tells of an object; `T` is its struct for that kind.
fn describe<T>(object: RawFd, info: &mut T) -> io::Result<()> {
    let mut attr = zeroed();
    attr.info.bpf_fd = object.cast_unsigned();
    attr.info.info = &raw mut *info as u64;
    attr.info.info_len = len(size_of::<T>());
    call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr).map(drop)
}

fn zeroed() -> bpf_attr {
    // SAFETY: numbers only, and the kernel wants what is not used to be zero.
    unsafe { std::mem::zeroed() }
}

fn descriptor(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    let fd = call(command, attr)?;
    // SAFETY: these commands return a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i32> {
    // SAFETY: the callers have filled in what the command reads; what their
    // addresses lead to outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as u32, &raw mut *attr, size_of::<bpf_attr>())
    };
    match i32::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn len(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
