//! cgroup:cgroup_mkdir - a cgroup is made, as for every pod and container before
//! its first process: its path, which nobody can ask for once it is gone.
//! attach: BTF tracepoint
//! since:  4.17, include/trace/events/cgroup.h
//! proto:5.10:include/trace/events/cgroup.h:(struct cgroup *cgrp, const char *path)
//! proto:7.3:(the same)
//! cost:   runs only then
//! writes: CGROUPS
//! loss:   ring full => the path is asked for when it is needed, if it still can be

use aya_ebpf::{
    helpers::generated::bpf_probe_read_kernel_str, macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use dnsprobe_common::cgroup::{NewCgroup, PATH_BYTES};

use crate::{
    constants::offset,
    emit,
    maps::CGROUPS,
    memory::{Pointer, Typed},
};

#[btf_tracepoint(function = "cgroup_mkdir")]
pub fn cgroup_mkdir(ctx: BtfTracePointContext) -> i32 {
    let cgroup = Typed(ctx.arg(0));
    // Each hierarchy counts its ids by itself; 0 is the number of the unified one.
    let hierarchy = cgroup.follow(offset!(cgroup_root));
    if hierarchy.field::<u32>(offset!(cgroup_root_hierarchy_id)) != 0 {
        return 0;
    }
    let id = cgroup.follow(offset!(cgroup_kn)).field::<u64>(offset!(kernfs_node_id));
    let Some(mut entry) = CGROUPS.reserve::<NewCgroup>(0) else { return 0 };
    let record = emit::record(&mut entry);
    // SAFETY: a reserved record; the helper writes no more than the room it is told.
    unsafe {
        (*record).id = id;
        let path = (&raw mut (*record).path).cast();
        let len = bpf_probe_read_kernel_str(path, PATH_BYTES as u32, ctx.arg::<*const _>(1));
        (*record).len = if len > 0 { len as u64 } else { 0 };
    }
    entry.submit(0);
    0
}
