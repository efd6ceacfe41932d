//! One file per finding, or family of findings: what proves it, and what must
//! not be taken for it.

pub(super) mod autopath_suspect;
pub(super) mod cause;
pub(super) mod failed_answer;
pub(super) mod internal_name_missing;
pub(super) mod missing_name;
pub(super) mod nodelocal_bypassed;
pub(super) mod parallel_nameservers;
pub(super) mod search_expansion;
pub(super) mod server_restarting;
pub(super) mod slow;
pub(super) mod tcp;
pub(super) mod uneven_backends;
