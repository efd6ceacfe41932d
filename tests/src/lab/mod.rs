//! The lab: a mini node with pods, services and DNS servers, and ways to break
//! it. On a guest the node *is* the machine, so that dnsprobe sees it as it
//! would see a real one; natively it lives in namespaces of its own.

pub mod asking;
pub mod bridge;
pub mod capture;
pub mod cast;
pub mod cgroup_filter;
pub mod check;
pub mod clients;
pub mod conntrack;
pub mod containerd;
pub mod counters;
mod cri;
pub mod crowd;
pub mod deployed;
pub mod diagnose;
pub mod dnsprobe;
pub mod firewall;
pub mod gone;
pub mod hash;
pub mod hold;
pub mod ipvs;
pub mod kernel;
pub mod kubelet;
pub mod loaded;
pub mod messages;
pub mod nftables;
pub mod node;
pub mod node_local;
pub mod pod;
pub mod process;
pub mod programs;
pub mod prometheus;
pub mod recording;
pub mod respond;
pub mod serve;
pub mod server;
pub mod setting;
pub mod shell;
pub mod spec;
pub mod switch;
pub mod terminal;
pub mod undo;

pub use node::Node;
pub use pod::Pod;
pub use programs::Programs;
