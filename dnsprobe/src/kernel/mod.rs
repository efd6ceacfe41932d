//! Everything that talks to the running kernel: its type information, what
//! can be hooked, the hooks in force, and their data as
//! [`crate::engine::Observation`]s. Knows nothing of pods or verdicts.

mod aggregates;
mod at_server;
mod attach;
mod backends;
mod bpf;
mod btf;
mod capture;
mod conntrack_entries;
pub mod container;
mod counters;
mod decode;
mod devices;
mod dropped;
mod fill;
mod grace_period;
mod in_flight;
mod ipvs;
mod layout;
mod loading;
mod local_addresses;
mod maps;
mod modules;
mod netlink;
mod node_facts;
mod node_files;
mod node_services;
mod object;
mod plan;
mod preemption;
mod program_info;
mod program_log;
mod recent;
mod services;
mod session;
mod shared;
mod sockopt;
mod symbols;
mod targets;
mod tracing;

pub use conntrack_entries::{Sources, conntrack_sources};
pub use counters::{Conntrack, Counters, Processors, Softnet, Udp};
pub use fill::{Fill, Table};
pub use ipvs::ipvs_backends;
pub use local_addresses::local_addresses;
pub use modules::hooked_modules;
pub use node_facts::{node_facts, release};
pub use node_files::{NodeText, node_files_after, node_files_before};
pub use plan::{Mechanism, Role, RoleReport, RoleState, reference};
pub use program_info::ProgramCost;
pub use services::{Answer, Backend, Services, Source, service_names};
pub(crate) use session::give_back_memory;
pub use session::{MAX_CAPTURE_BYTES, Options, Reading, Session, SessionError, now_ns};
