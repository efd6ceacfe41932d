//! Tries a role's alternatives in order and reports what came of each.

use std::{collections::HashSet, path::Path};

use aya::{Btf, Ebpf, maps::ProgramArray, programs::Program};

use super::plan::{
    Alternative, Mechanism, Role, RoleReport, RoleState, TAILS, Tail, alternatives, describe,
    symbols,
};

/// What the node and kernel are like, as far as a role's choice depends on it.
pub(crate) struct Conditions<'a> {
    pub(crate) btf: &'a Btf,
    /// Whether `skb:kfree_skb` has reasons.
    pub(crate) drop_reasons: bool,
    /// Whether queueing disciplines have a tracepoint of their own for drops.
    pub(crate) qdisc_drops: bool,
    /// Why conntrack entries cannot be read; `Ok` when they can.
    pub(crate) conntrack: Result<(), String>,
    /// The same for IPVS connections.
    pub(crate) ipvs: Result<(), String>,
    /// Why TCP sockets and what is written to them cannot be read.
    pub(crate) tcp: Result<(), String>,
}

/// What programs may be attached to: names of functions, and of the types that
/// stand for tracepoints.
pub(crate) fn targets() -> HashSet<String> {
    let alternatives = Role::ALL.into_iter().flat_map(alternatives);
    alternatives
        .flat_map(|alternative| {
            alternative.programs.iter().map(|(_, symbol)| match alternative.mechanism {
                Mechanism::BtfTracepoint => format!("btf_trace_{symbol}"),
                _ => (*symbol).to_owned(),
            })
        })
        .collect()
}

/// Attaches the best possible alternative of a role.
pub(crate) fn attach(ebpf: &mut Ebpf, role: Role, conditions: &Conditions<'_>) -> RoleReport {
    if let Some(state) = unneeded(role) {
        return RoleReport { role, state, passed_over: Vec::new() };
    }
    if let Some(reason) = impossible(role, conditions) {
        return RoleReport { role, state: RoleState::Missing { reason }, passed_over: Vec::new() };
    }
    let mut passed_over = Vec::new();
    for alternative in alternatives(role) {
        match try_alternative(ebpf, role, alternative, conditions) {
            Ok(()) => {
                let state = RoleState::Attached {
                    mechanism: alternative.mechanism,
                    symbols: symbols(alternative),
                };
                return RoleReport { role, state, passed_over };
            }
            Err(reason) => passed_over.push(format!("{}: {reason}", describe(alternative))),
        }
    }
    let reason = passed_over.join("; ");
    RoleReport { role, state: RoleState::Missing { reason }, passed_over }
}

/// Roles about a module that is not loaded.
fn unneeded(role: Role) -> Option<RoleState> {
    let module = match role {
        Role::IpvsVerdict | Role::IpvsConnection | Role::IpvsNoBackend => "ip_vs",
        Role::ConntrackClash
        | Role::ConntrackConfirm
        | Role::ConntrackFull
        | Role::ConntrackPurge => "nf_conntrack",
        Role::NatSetup => "nf_nat",
        _ => return None,
    };
    (!Path::new("/sys/module").join(module).is_dir())
        .then(|| RoleState::NotNeeded { reason: format!("{module} is not in use on this node") })
}

fn impossible(role: Role, conditions: &Conditions<'_>) -> Option<String> {
    match role {
        Role::ConntrackClash => conditions.conntrack.clone().err(),
        Role::SendResult | Role::Tcp | Role::TcpConnect => conditions.tcp.clone().err(),
        _ => None,
    }
}

fn try_alternative(
    ebpf: &mut Ebpf,
    role: Role,
    alternative: &Alternative,
    conditions: &Conditions<'_>,
) -> Result<(), String> {
    match alternative.mechanism {
        Mechanism::DropReason if !conditions.drop_reasons => {
            return Err("this kernel's skb:kfree_skb has no reasons (5.17)".to_owned());
        }
        Mechanism::BtfTracepoint if role == Role::QdiscDrop && !conditions.qdisc_drops => {
            return Err("this kernel has no tracepoint qdisc:qdisc_drop (7.0)".to_owned());
        }
        Mechanism::DropTracepoint if conditions.qdisc_drops => {
            return Err("skb:kfree_skb does not have them any more (7.0)".to_owned());
        }
        Mechanism::Kretprobe if role == Role::IpvsConnection => conditions.ipvs.clone()?,
        // Without the kernel's own table there is nothing to read either.
        Mechanism::ProcFile if !Path::new("/proc/net/ip_vs_conn").exists() => {
            return Err("/proc/net/ip_vs_conn does not exist".to_owned());
        }
        _ => {}
    }
    let mut done = Vec::new();
    for (program, symbol) in alternative.programs {
        if let Err(reason) = attach_program(ebpf, program, symbol, conditions.btf) {
            for program in done {
                unload(ebpf, program);
            }
            return Err(reason);
        }
        done.push(*program);
    }
    Ok(())
}

fn attach_program(ebpf: &mut Ebpf, name: &str, symbol: &str, btf: &Btf) -> Result<(), String> {
    let result = load(ebpf, name, symbol, btf).and_then(|()| {
        for tail in TAILS.iter().filter(|tail| tail.program == name) {
            load(ebpf, tail.next, symbol, btf)?;
            link(ebpf, tail)?;
        }
        let program = known(ebpf, name)?;
        match program {
            Program::FEntry(p) => p.attach().map(drop),
            Program::FExit(p) => p.attach().map(drop),
            Program::BtfTracePoint(p) => p.attach().map(drop),
            Program::KProbe(p) => p.attach(symbol, 0).map(drop),
            _ => return Err(format!("program {name} is of an unexpected type")),
        }
        .map_err(|error| explain(&brief(&error), symbol))
    });
    result.inspect_err(|_| unload(ebpf, name))
}

/// Loads a program, unless it is loaded.
fn load(ebpf: &mut Ebpf, name: &str, symbol: &str, btf: &Btf) -> Result<(), String> {
    let program = known(ebpf, name)?;
    if program.fd().is_ok() {
        return Ok(());
    }
    match program {
        Program::FEntry(p) => p.load(symbol, btf),
        Program::FExit(p) => p.load(symbol, btf),
        Program::BtfTracePoint(p) => p.load(symbol, btf),
        Program::KProbe(p) => p.load(),
        _ => return Err(format!("program {name} is of an unexpected type")),
    }
    .map_err(|error| explain(&brief(&error), symbol))
}

fn known<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program, String> {
    ebpf.program_mut(name).ok_or_else(|| format!("program {name} is not in the object"))
}

/// Lets a program go on in the next one. The kernel empties such a map when
/// nobody holds it open, so it stays with the object.
fn link(ebpf: &mut Ebpf, tail: &Tail) -> Result<(), String> {
    let next = known(ebpf, tail.next)?.fd().map_err(|error| brief(&error))?;
    let next = next.try_clone().map_err(|error| brief(&error))?;
    let map = ebpf.map_mut(tail.map).ok_or_else(|| format!("{} is not in the object", tail.map))?;
    ProgramArray::try_from(map)
        .and_then(|mut map| map.set(0, &next, 0))
        .map_err(|error| brief(&error))
}

/// Takes a program out of the kernel again, with its links.
fn unload(ebpf: &mut Ebpf, name: &str) {
    let result = match ebpf.program_mut(name) {
        Some(Program::FEntry(p)) => p.unload(),
        Some(Program::FExit(p)) => p.unload(),
        Some(Program::BtfTracePoint(p)) => p.unload(),
        Some(Program::KProbe(p)) => p.unload(),
        _ => Ok(()),
    };
    // Only fails when it was not loaded, which is what is wanted.
    drop(result);
}

/// The usual refusals in plain words; anything else as the kernel put it.
fn explain(error: &str, symbol: &str) -> String {
    const EPERM: &str = "(os error 1)";
    const ENOENT: &str = "(os error 2)";
    if error.contains("event_source/devices/kprobe") && error.contains(ENOENT) {
        "this kernel has no kprobes".to_owned()
    } else if error.contains("perf_event_open") && error.contains(ENOENT) {
        format!("this kernel has no function {symbol}")
    } else if error.contains("BPF_PROG_LOAD") && error.contains(EPERM) {
        "the kernel refuses to load programs of this type here (EPERM)".to_owned()
    } else {
        error.trim_end_matches(" | Verifier output:").to_owned()
    }
}

/// An error chain in one line. The verifier's log is long; its last lines say
/// what it objected to.
fn brief(error: &dyn std::error::Error) -> String {
    const VERIFIER_LINES: usize = 4;
    let mut parts = Vec::new();
    let mut next = Some(error);
    while let Some(current) = next {
        let text = current.to_string();
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let tail = if lines.len() > VERIFIER_LINES + 1 {
            format!("{} ... {}", lines[0], lines[lines.len() - VERIFIER_LINES..].join(" | "))
        } else {
            lines.join(" | ")
        };
        if !parts.iter().any(|part: &String| part.contains(&tail)) {
            parts.push(tail);
        }
        next = current.source();
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_refusals_are_said_in_plain_words() {
        let no_kprobes =
            "`/sys/bus/event_source/devices/kprobe/type`: No such file or directory (os error 2)";
        assert_eq!(explain(no_kprobes, "f"), "this kernel has no kprobes");
        let no_function = "`perf_event_open` failed: No such file or directory (os error 2)";
        assert_eq!(explain(no_function, "f"), "this kernel has no function f");
        let refused = "the BPF_PROG_LOAD syscall returned Operation not permitted (os error 1). Verifier output:";
        assert!(explain(refused, "f").contains("EPERM"));
        assert_eq!(explain("something else", "f"), "something else");
    }

    #[test]
    fn a_long_verifier_log_is_cut_to_its_end() {
        let log = std::io::Error::other("refused\n1\n2\n3\n4\n5\n6");
        assert_eq!(brief(&log), "refused ... 3 | 4 | 5 | 6");
    }
}
