//! Brings the programs into the kernel: what they have to know, loading them, and
//! what the plan in force changes about them.

use std::collections::HashMap;

use aya::{Ebpf, EbpfLoader};
use dnsprobe_common::{
    config::{Config, MAX_PORTS},
    sample::MAX_BITS,
};

use super::{
    attach::{self, Conditions, Programs},
    btf::Btf,
    dropped::DropReasons,
    layout::Layout,
    object::Object,
    plan::{Mechanism, Role, RoleReport, RoleState},
    session::{Options, SessionError},
    symbols::Symbols,
    targets::Targets,
    tracing::{Loaded, Tracing},
};

/// How a role stands; `None` when nothing was tried for it.
pub(super) fn state_of(roles: &[RoleReport], role: Role) -> Option<&RoleState> {
    roles.iter().find(|report| report.role == role).map(|report| &report.state)
}

/// Fits the configuration to the plan in force; whether it changed.
pub(super) fn adapt(config: &mut Config, roles: &[RoleReport]) -> bool {
    let by_device = matches!(
        state_of(roles, Role::Queue),
        Some(RoleState::Attached { mechanism: Mechanism::BtfTracepoint, .. })
    );
    let before = *config;
    config.arrives_by_device = u8::from(by_device);
    config.sees_reading =
        u8::from(!matches!(state_of(roles, Role::Read), Some(RoleState::Missing { .. })));
    *config != before
}

/// Room for captured packets: some thousands wait in it.
const PACKETS_BYTES: u32 = 4 << 20;

/// The smallest ring buffer there can be.
fn page_bytes() -> u32 {
    u32::try_from(rustix::param::page_size()).unwrap_or(1 << 16)
}

/// What is in the kernel.
pub(super) struct Attached {
    pub(super) ebpf: Ebpf,
    pub(super) tracing: HashMap<String, Loaded>,
    pub(super) roles: Vec<RoleReport>,
}

/// Loads the programs of an object and attaches what is possible.
///
/// # Errors
/// When the kernel refuses the maps, or the object is broken.
pub(super) fn attach(
    object: &Object,
    config: &Config,
    layout: &Layout,
    targets: &Targets,
    conditions: &Conditions,
) -> Result<Attached, SessionError> {
    let tcp = layout.tcp.clone().unwrap_or_default();
    let packets = if config.capture_bytes == 0 { page_bytes() } else { PACKETS_BYTES };
    let mut ebpf = EbpfLoader::new()
        // It has nothing to do with types: `Object` fits offsets, `Tracing` finds
        // functions.
        .btf(None)
        .override_global("CONFIG", config, true)
        .override_global("OFFSETS", &layout.offsets, true)
        .override_global("TCP", &tcp, true)
        .map_max_entries("PACKETS", packets)
        .load(object.bytes())?;
    let tracing = Tracing::of(object, &ebpf, targets)?;
    let mut programs = Programs { ebpf: &mut ebpf, tracing };
    let mut roles: Vec<RoleReport> =
        Role::ALL.into_iter().map(|role| attach::attach(&mut programs, role, conditions)).collect();
    let tracing = programs.tracing.into_loaded();
    // IPv6 has no tracepoint of its own: the one for IPv4 sees both.
    let late = state_of(&roles, Role::Send).is_some_and(|state| {
        matches!(state, RoleState::Attached { mechanism: Mechanism::BtfTracepoint, .. })
    });
    for report in &mut roles {
        if report.role == Role::SendV6
            && report.mechanism() == Some(Mechanism::SendTracepoint)
            && !late
        {
            let reason = report.passed_over.join("; ");
            report.state = RoleState::Missing { reason };
        }
    }
    Ok(Attached { ebpf, tracing, roles })
}

/// What the programs have to know, before anything is attached.
///
/// # Errors
/// [`SessionError::Ports`].
pub(super) fn config(
    options: &Options,
    vmlinux: &Btf<'_>,
    layout: &Layout,
    reasons: &DropReasons,
    symbols: &mut Symbols,
) -> Result<Config, SessionError> {
    if options.ports.is_empty() || options.ports.len() > MAX_PORTS || options.ports.contains(&0) {
        return Err(SessionError::Ports);
    }
    let arguments = |tracepoint| vmlinux.tracepoint_arguments(tracepoint).unwrap_or(0);
    let mut config = Config {
        reason_netfilter: reasons.number("NETFILTER_DROP").unwrap_or(0),
        reason_rcvbuf: reasons.number("SOCKET_RCVBUFF").unwrap_or(0),
        reason_proto_mem: reasons.number("PROTO_MEM").unwrap_or(0),
        sample_bits: options.sample_bits.map_or(0, |bits| bits.get().min(MAX_BITS)),
        trace: u8::from(options.trace),
        capture_bytes: options.capture.unwrap_or(0),
        questions: u8::from(options.questions),
        drop_has_reason: u8::from(arguments("kfree_skb") >= 3),
        drop_has_socket: u8::from(arguments("kfree_skb") >= 4),
        cgroup_pointer_typed: u8::from(layout.cgroup_pointer_typed),
        root_cgroup: options.root_cgroup,
        sees_reading: 1,
        ..Config::default()
    };
    config.ports[..options.ports.len()].copy_from_slice(&options.ports);
    // The inner function, where the compiler kept it.
    let first_packet: &[&str] = &["__first_packet_length", "first_packet_length"];
    let readers = [&["udp_recvmsg"][..], first_packet, &["udpv6_recvmsg"]];
    if config.drop_has_reason == 0 {
        let [a, b, c] = readers;
        [
            config.udp_recvmsg,
            config.udp_first_packet,
            config.udpv6_recvmsg,
            config.nf_hook_slow,
            config.udp_queue_rcv,
            config.udpv6_queue_rcv,
        ] = symbols.ranges([
            a,
            b,
            c,
            &["nf_hook_slow"],
            &["udp_queue_rcv_one_skb"],
            &["udpv6_queue_rcv_one_skb"],
        ]);
    } else {
        [config.udp_recvmsg, config.udp_first_packet, config.udpv6_recvmsg] =
            symbols.ranges(readers);
    }
    Ok(config)
}
