//! Tracing programs: fentry, fexit and BTF tracepoints, at functions of the kernel
//! and of its modules. aya attaches them to the kernel's own functions only, and
//! reads all of its types once more for that; so it makes the maps and the probes,
//! and these are loaded here, from the same object.

use std::{
    collections::HashMap,
    ffi::CString,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use aya_obj::{
    ProgramSection,
    generated::{bpf_attach_type, bpf_insn},
};

use super::{
    bpf::{self, TracingProgram},
    object::Object,
    session::SessionError,
    targets::{Target, Targets},
};

/// The programs of an object that are not loaded yet, and those that are.
pub(crate) struct Tracing<'a> {
    programs: HashMap<String, Prepared>,
    targets: &'a Targets,
    /// BTF objects of modules.
    modules: HashMap<&'static str, OwnedFd>,
    loaded: HashMap<String, Loaded>,
}

/// A program whose maps are filled in.
struct Prepared {
    instructions: Vec<bpf_insn>,
    license: CString,
    at: bpf_attach_type,
}

/// A program in the kernel, with its links. Dropping it takes it out again.
pub(crate) struct Loaded {
    program: OwnedFd,
    links: Vec<OwnedFd>,
}

/// Why a program was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("program {0} is not in the object")]
    Unknown(String),
    #[error("this kernel has no {0}, or it cannot be traced")]
    NoTarget(String),
    #[error("the types of module {0} cannot be had: {1}")]
    Module(&'static str, io::Error),
    #[error("the BPF_PROG_LOAD syscall returned {error}. Verifier output: {log}")]
    Load { error: io::Error, log: String },
    #[error("cannot attach: {0}")]
    Attach(io::Error),
}

impl<'a> Tracing<'a> {
    /// The tracing programs of an object whose maps aya has made.
    ///
    /// # Errors
    /// When the object is broken.
    pub(crate) fn of(
        object: &Object,
        ebpf: &Ebpf,
        targets: &'a Targets,
    ) -> Result<Self, SessionError> {
        let made: HashMap<&str, RawFd> = ebpf
            .maps()
            .filter_map(|(name, map)| Some((name, data(map)?.fd().as_fd().as_raw_fd())))
            .collect();
        let programs = prepare(object, &made)?;
        Ok(Self { programs, targets, modules: HashMap::new(), loaded: HashMap::new() })
    }

    /// Whether a program is one of these.
    pub(crate) fn has(&self, program: &str) -> bool {
        self.programs.contains_key(program)
    }

    /// Loads a program for a function or tracepoint, unless it is loaded.
    pub(crate) fn load(&mut self, name: &str, symbol: &str) -> Result<(), Refusal> {
        if self.loaded.contains_key(name) {
            return Ok(());
        }
        let prepared = self.programs.get(name).ok_or_else(|| Refusal::Unknown(name.to_owned()))?;
        let wanted = match prepared.at {
            bpf_attach_type::BPF_TRACE_RAW_TP => self.targets.tracepoint(symbol),
            _ => self.targets.function(symbol),
        };
        let target = wanted.ok_or_else(|| Refusal::NoTarget(symbol.to_owned()))?;
        if let Some(module) = target.module
            && !self.modules.contains_key(module)
        {
            let types =
                bpf::module_types(module).map_err(|error| Refusal::Module(module, error))?;
            self.modules.insert(module, types);
        }
        let program = load(name, prepared, target, &self.modules)?;
        self.loaded.insert(name.to_owned(), Loaded { program, links: Vec::new() });
        Ok(())
    }

    /// Attaches a loaded program.
    pub(crate) fn attach(&mut self, name: &str) -> Result<(), Refusal> {
        let loaded = self.loaded.get_mut(name).ok_or_else(|| Refusal::Unknown(name.to_owned()))?;
        let link = bpf::attach(loaded.program.as_fd()).map_err(Refusal::Attach)?;
        loaded.links.push(link);
        Ok(())
    }

    /// Lets a program go on in a loaded one, through a program array. The kernel
    /// empties such a map when nobody holds it open, so it stays with the object.
    pub(crate) fn link(&self, ebpf: &Ebpf, map: &str, next: &str) -> Result<(), Refusal> {
        let unknown = |name: &str| Refusal::Unknown(name.to_owned());
        let next = self.loaded.get(next).ok_or_else(|| unknown(next))?;
        let map = ebpf.map(map).and_then(data).ok_or_else(|| unknown(map))?;
        bpf::set_tail(map.fd().as_fd(), next.program.as_fd()).map_err(Refusal::Attach)
    }

    /// Takes a program out of the kernel again, with its links.
    pub(crate) fn unload(&mut self, name: &str) {
        self.loaded.remove(name);
    }

    /// What is in the kernel, by name, without what it took to get there.
    pub(crate) fn into_loaded(self) -> HashMap<String, Loaded> {
        self.loaded
    }
}

impl AsFd for Loaded {
    /// The program's.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }
}

/// The tracing programs of an object, with the maps' descriptors filled in.
fn prepare(
    object: &Object,
    made: &HashMap<&str, RawFd>,
) -> Result<HashMap<String, Prepared>, SessionError> {
    let broken = |_| SessionError::Object("programs");
    let mut parsed = aya_obj::Object::parse(object.bytes()).map_err(broken)?;
    let text = parsed.functions.keys().map(|(section, _)| *section).collect();
    let maps = std::mem::take(&mut parsed.maps);
    // A program would get another map for one that is missing.
    if !maps.keys().all(|name| made.contains_key(&**name)) {
        return Err(SessionError::Object("maps"));
    }
    let known = maps.iter().filter_map(|(name, map)| Some((&**name, *made.get(&**name)?, map)));
    parsed.relocate_maps(known, &text).map_err(|_| SessionError::Object("maps"))?;
    parsed.relocate_calls(&text).map_err(|_| SessionError::Object("functions"))?;
    let mut programs = HashMap::new();
    for (name, program) in parsed.programs {
        let at = match program.section {
            ProgramSection::FEntry { .. } => bpf_attach_type::BPF_TRACE_FENTRY,
            ProgramSection::FExit { .. } => bpf_attach_type::BPF_TRACE_FEXIT,
            ProgramSection::BtfTracePoint => bpf_attach_type::BPF_TRACE_RAW_TP,
            _ => continue,
        };
        let key = (program.section_index, program.address);
        let function = parsed.functions.remove(&key).ok_or(SessionError::Object("a function"))?;
        let instructions = function.instructions;
        programs.insert(name, Prepared { instructions, license: program.license, at });
    }
    Ok(programs)
}

fn load(
    name: &str,
    prepared: &Prepared,
    target: Target,
    modules: &HashMap<&'static str, OwnedFd>,
) -> Result<OwnedFd, Refusal> {
    /// More than any of our programs needs to say why it is refused.
    const LOG: usize = 1 << 20;
    let program = TracingProgram {
        name,
        instructions: &prepared.instructions,
        license: &prepared.license,
        at: prepared.at,
        target: target.id,
        module: target.module.and_then(|module| modules.get(module)).map(AsFd::as_fd),
    };
    let error = match bpf::load(&program, &mut []) {
        Ok(fd) => return Ok(fd),
        Err(error) => error,
    };
    // Not allowed at all: then the verifier has not been asked.
    if error.raw_os_error() == Some(libc::EPERM) {
        return Err(Refusal::Load { error, log: String::new() });
    }
    let mut log = vec![0; LOG];
    match bpf::load(&program, &mut log) {
        Ok(fd) => Ok(fd),
        Err(error) => {
            let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
            let log = String::from_utf8_lossy(&log[..end]).into_owned();
            Err(Refusal::Load { error, log })
        }
    }
}

/// A map's descriptor, whatever its type.
fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::PerCpuHashMap(data)
        | Map::PerfEventArray(data)
        | Map::ProgramArray(data)
        | Map::RingBuf(data)
        | Map::Stack(data) => Some(data),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use dnsprobe_common::config::Offsets;

    use super::*;
    use crate::kernel::plan::{Mechanism, Role, TAILS, alternatives};

    const MAP: RawFd = 7;

    fn programs(maps: &[&str]) -> Result<HashMap<String, Prepared>, SessionError> {
        let object = Object::fitted(None, &Offsets::NONE).unwrap();
        prepare(&object, &maps.iter().map(|map| (*map, MAP)).collect())
    }

    fn every_map() -> Vec<String> {
        let object = Object::fitted(None, &Offsets::NONE).unwrap();
        aya_obj::Object::parse(object.bytes()).unwrap().maps.into_keys().collect()
    }

    #[test]
    fn what_the_plan_attaches_is_in_the_object_and_of_its_kind() {
        let maps = every_map();
        let programs = programs(&maps.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        let kind = |name: &str| programs.get(name).map(|program| program.at as u32);
        let (entry, exit) =
            (bpf_attach_type::BPF_TRACE_FENTRY as u32, bpf_attach_type::BPF_TRACE_FEXIT as u32);
        let tracepoint = bpf_attach_type::BPF_TRACE_RAW_TP as u32;
        for alternative in Role::ALL.into_iter().flat_map(alternatives) {
            for (name, _) in alternative.programs {
                let expected: &[Option<u32>] = match alternative.mechanism {
                    Mechanism::Fentry => &[Some(entry)],
                    Mechanism::Fexit => &[Some(exit)],
                    Mechanism::FentryPair => &[Some(entry), Some(exit)],
                    Mechanism::BtfTracepoint => &[Some(tracepoint)],
                    _ => &[None],
                };
                assert!(expected.contains(&kind(name)), "{name}");
            }
        }
        for tail in TAILS {
            assert_eq!(kind(tail.program), kind(tail.next), "{}", tail.next);
        }
    }

    #[test]
    fn every_program_has_its_instructions_and_a_licence_the_kernel_takes() {
        let maps = every_map();
        let programs = programs(&maps.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        assert!(programs.len() > 20, "{}", programs.len());
        for (name, program) in programs {
            assert!(program.instructions.len() > 2, "{name}");
            assert!(program.license.to_string_lossy().contains("GPL"), "{name}");
        }
    }

    #[test]
    fn a_map_that_was_not_made_is_an_error() {
        let maps = every_map();
        let maps: Vec<_> = maps.iter().map(String::as_str).collect();
        for missing in 0..maps.len() {
            let made: Vec<_> = maps.iter().copied().filter(|map| *map != maps[missing]).collect();
            assert!(programs(&made).is_err());
        }
    }
}
