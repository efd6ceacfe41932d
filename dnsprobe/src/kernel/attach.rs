//! Tries a role's alternatives in order and reports what came of each.

use std::{collections::HashSet, path::Path};

use aya::{Ebpf, programs::Program};

use super::{
    btf::Btf,
    modules::Modules,
    plan::{
        Alternative, Mechanism, Role, RoleReport, RoleState, TAILS, alternatives, describe, symbols,
    },
    targets::Targets,
    tracing::Tracing,
};

/// The programs of an object: those that aya loads, and the others.
pub(crate) struct Programs<'a> {
    pub(crate) ebpf: &'a mut Ebpf,
    pub(crate) tracing: Tracing<'a>,
}

/// What the node and kernel are like, as far as a role's choice depends on it.
pub(crate) struct Conditions {
    /// Whether `skb:kfree_skb` has reasons.
    pub(crate) drop_reasons: bool,
    /// Whether queueing disciplines have a tracepoint of their own for drops.
    pub(crate) qdisc_drops: bool,
    /// Why conntrack entries cannot be read; `Ok` when they can.
    pub(crate) conntrack: Result<(), String>,
    /// The same for IPVS connections.
    pub(crate) ipvs: Result<(), String>,
    /// Whether the kernel preempts programs that run for a task.
    pub(crate) preemptible: bool,
    /// Why TCP sockets and what is written to them cannot be read.
    pub(crate) tcp: Result<(), String>,
    /// Why packets cannot be captured; `None` when nobody wants that.
    pub(crate) capture: Option<Result<(), String>>,
}

/// Where programs may be attached on this kernel.
pub(crate) fn targets(vmlinux: &Btf<'_>, modules: &Modules<'_>) -> Targets {
    let (mut functions, mut tracepoints) = (HashSet::new(), HashSet::new());
    for alternative in Role::ALL.into_iter().flat_map(alternatives) {
        let names = match alternative.mechanism {
            Mechanism::BtfTracepoint => &mut tracepoints,
            _ => &mut functions,
        };
        names.extend(alternative.programs.iter().map(|(_, symbol)| *symbol));
    }
    Targets::of(vmlinux, modules, &functions, &tracepoints)
}

/// Attaches the best possible alternative of a role.
pub(crate) fn attach(
    programs: &mut Programs<'_>,
    role: Role,
    conditions: &Conditions,
) -> RoleReport {
    if let Some(state) = unneeded(role, conditions) {
        return RoleReport { role, state, passed_over: Vec::new() };
    }
    if let Some(reason) = impossible(role, conditions) {
        return RoleReport { role, state: RoleState::Missing { reason }, passed_over: Vec::new() };
    }
    let mut passed_over = Vec::new();
    for alternative in alternatives(role) {
        match try_alternative(programs, role, alternative, conditions) {
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

/// Roles about a module that is not loaded, or about what this kernel does not do.
fn unneeded(role: Role, conditions: &Conditions) -> Option<RoleState> {
    let module = match role {
        Role::SendPreempted if !conditions.preemptible => {
            let reason = "this kernel lets a program run to its end".to_owned();
            return Some(RoleState::NotNeeded { reason });
        }
        Role::CapturePackets | Role::CaptureDrops if conditions.capture.is_none() => {
            let reason = "no packets are captured".to_owned();
            return Some(RoleState::NotNeeded { reason });
        }
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

fn impossible(role: Role, conditions: &Conditions) -> Option<String> {
    match role {
        Role::ConntrackClash => conditions.conntrack.clone().err(),
        Role::CapturePackets | Role::CaptureDrops => conditions.capture.clone()?.err(),
        Role::SendResult | Role::Tcp | Role::TcpConnect => conditions.tcp.clone().err(),
        _ => None,
    }
}

fn try_alternative(
    programs: &mut Programs<'_>,
    role: Role,
    alternative: &Alternative,
    conditions: &Conditions,
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
        Mechanism::Fexit | Mechanism::Kretprobe if role == Role::IpvsConnection => {
            conditions.ipvs.clone()?;
        }
        // Without the kernel's own table there is nothing to read either.
        Mechanism::ProcFile if !Path::new("/proc/net/ip_vs_conn").exists() => {
            return Err("/proc/net/ip_vs_conn does not exist".to_owned());
        }
        _ => {}
    }
    let mut done = Vec::new();
    for (program, symbol) in alternative.programs {
        if let Err(reason) = programs.attach(program, symbol) {
            for program in done {
                programs.unload(program);
            }
            return Err(reason);
        }
        done.push(*program);
    }
    Ok(())
}

impl Programs<'_> {
    fn attach(&mut self, name: &str, symbol: &str) -> Result<(), String> {
        let result = if self.tracing.has(name) {
            self.trace(name, symbol)
        } else {
            self.probe(name, symbol)
        };
        result.inspect_err(|_| self.unload(name))
    }

    /// By trampoline or BTF tracepoint.
    fn trace(&mut self, name: &str, symbol: &str) -> Result<(), String> {
        let Self { ebpf, tracing } = self;
        let mut attach = || {
            tracing.load(name, symbol)?;
            for tail in TAILS.iter().filter(|tail| tail.program == name) {
                tracing.load(tail.next, symbol)?;
                tracing.link(ebpf, tail.map, tail.next)?;
            }
            tracing.attach(name)
        };
        attach().map_err(|refusal| explain(&brief(&refusal), symbol))
    }

    /// By kprobe or kretprobe.
    fn probe(&mut self, name: &str, symbol: &str) -> Result<(), String> {
        let program = self.ebpf.program_mut(name);
        let Some(Program::KProbe(program)) = program else {
            return Err(format!("program {name} is not in the object"));
        };
        let mut attach = || {
            if program.fd().is_err() {
                program.load()?;
            }
            program.attach(symbol, 0)
        };
        attach().map(drop).map_err(|error| explain(&brief(&error), symbol))
    }

    /// Takes a program out of the kernel again, with its links.
    fn unload(&mut self, name: &str) {
        self.tracing.unload(name);
        if let Some(Program::KProbe(program)) = self.ebpf.program_mut(name) {
            // Only fails when it was not loaded, which is what is wanted.
            drop(program.unload());
        }
    }
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
