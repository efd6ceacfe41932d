//! Locates every kernel field that the programs read, and says which group of
//! fields is missing and why. A field of another size than expected counts as
//! missing: a wrong read would look like evidence.

use dnsprobe_common::{config::Offsets, tcp::TcpLayout};

use super::{
    btf::{Btf, BtfError, FieldError},
    modules::Modules,
};

/// Offsets, and what could not be located.
pub(crate) struct Layout {
    pub(crate) offsets: Offsets,
    /// Whether a socket's cgroup is a typed pointer (5.15).
    pub(crate) cgroup_pointer_typed: bool,
    /// Without these nothing works at all.
    pub(crate) basic: Result<(), FieldError>,
    /// Conntrack entries.
    pub(crate) conntrack: Result<(), FieldError>,
    /// What is captured of a packet.
    pub(crate) capture: Result<(), FieldError>,
    /// IPVS connections and real servers.
    pub(crate) ipvs: Result<(), String>,
    /// TCP sockets and what is written to them.
    pub(crate) tcp: Result<TcpLayout, FieldError>,
}

impl Layout {
    /// Reads the running kernel's types.
    pub(crate) fn of(vmlinux: &Btf<'_>, modules: &Modules<'_>) -> Self {
        let mut layout = Self {
            offsets: Offsets::NONE,
            cgroup_pointer_typed: false,
            basic: Ok(()),
            conntrack: Ok(()),
            capture: Ok(()),
            ipvs: Ok(()),
            tcp: tcp(vmlinux),
        };
        layout.basic = layout.locate_basic(vmlinux);
        // What is not found keeps the program that tells of new groups from loading.
        layout.locate_hierarchy(vmlinux).ok();
        layout.conntrack = layout.locate_conntrack_anywhere(vmlinux, modules);
        layout.capture = layout.locate_capture(vmlinux);
        layout.ipvs = layout.locate_ipvs(vmlinux, modules);
        layout
    }

    fn locate_basic(&mut self, btf: &Btf<'_>) -> Result<(), FieldError> {
        let o = &mut self.offsets;
        o.sk_buff_head = sized(btf, "sk_buff", "head", 8)?;
        o.sk_buff_data = sized(btf, "sk_buff", "data", 8)?;
        o.sk_buff_network_header = sized(btf, "sk_buff", "network_header", 2)?;
        o.sk_buff_protocol = sized(btf, "sk_buff", "protocol", 2)?;
        o.sk_buff_sk = sized(btf, "sk_buff", "sk", 8)?;
        o.sk_buff_dev = sized(btf, "sk_buff", "dev", 8)?;
        o.net_device_ifindex = sized(btf, "net_device", "ifindex", 4)?;
        o.net_device_net = sized(btf, "net_device", "nd_net.net", 8)?;
        o.net_device_flags = sized(btf, "net_device", "flags", 4)?;
        o.net_inum = sized(btf, "net", "ns.inum", 4)?;
        o.task_struct_group_leader = sized(btf, "task_struct", "group_leader", 8)?;
        o.task_struct_comm = sized(btf, "task_struct", "comm", 16)?;
        o.sock_net = sized(btf, "sock", "__sk_common.skc_net.net", 8)?;
        o.sock_rcvbuf = sized(btf, "sock", "sk_rcvbuf", 4)?;
        o.sock_rmem_alloc = sized(btf, "sock", "sk_backlog.rmem_alloc", 4)?;
        o.cgroup_kn = sized(btf, "cgroup", "kn", 8)?;
        o.msghdr_msg_name = sized(btf, "msghdr", "msg_name", 8)?;
        o.kernfs_node_id = sized(btf, "kernfs_node", "id", 8)?;
        // A pointer since 5.15, an integer that may hold one before.
        match btf.field("sock", "sk_cgrp_data.cgroup") {
            Ok(field) if field.is_pointer => {
                o.sock_cgroup = field.offset;
                self.cgroup_pointer_typed = true;
            }
            _ => o.sock_cgroup = sized(btf, "sock", "sk_cgrp_data.val", 8)?,
        }
        Ok(())
    }

    fn locate_capture(&mut self, btf: &Btf<'_>) -> Result<(), FieldError> {
        let o = &mut self.offsets;
        o.sk_buff_len = sized(btf, "sk_buff", "len", 4)?;
        o.sk_buff_tail = sized(btf, "sk_buff", "tail", 4)?;
        o.sk_buff_dst = sized(btf, "sk_buff", "_skb_refdst", 8)?;
        o.dst_entry_dev = sized(btf, "dst_entry", "dev", 8)?;
        o.net_device_name = sized(btf, "net_device", "name", 16)?;
        Ok(())
    }

    fn locate_hierarchy(&mut self, btf: &Btf<'_>) -> Result<(), FieldError> {
        let o = &mut self.offsets;
        o.cgroup_root = sized(btf, "cgroup", "root", 8)?;
        o.cgroup_root_hierarchy_id = sized(btf, "cgroup_root", "hierarchy_id", 4)?;
        Ok(())
    }

    /// Conntrack's types are in the kernel's own BTF where something built in
    /// uses them, else in the module's.
    fn locate_conntrack_anywhere(
        &mut self,
        vmlinux: &Btf<'_>,
        modules: &Modules<'_>,
    ) -> Result<(), FieldError> {
        if vmlinux.has_struct("nf_conn") {
            return self.locate_conntrack(vmlinux);
        }
        match modules.types("nf_conntrack") {
            Some(Ok(module)) => self.locate_conntrack(module),
            _ => Err(FieldError::NoStruct("nf_conn".to_owned())),
        }
    }

    fn locate_conntrack(&mut self, btf: &Btf<'_>) -> Result<(), FieldError> {
        let o = &mut self.offsets;
        let tuple = "nf_conntrack_tuple";
        let nfct = sized(btf, "sk_buff", "_nfct", 8)?;
        o.nf_conn_status = sized(btf, "nf_conn", "status", 8)?;
        o.tuplehash_size = btf.struct_size("nf_conntrack_tuple_hash")?;
        o.nf_conn_tuplehash = sized(btf, "nf_conn", "tuplehash", o.tuplehash_size * 2)?;
        o.tuplehash_tuple = btf.field("nf_conntrack_tuple_hash", "tuple")?.offset;
        // The programs read a tuple as a whole.
        for (path, size, expected) in [
            ("src.u3", 16, 0),
            ("src.u.all", 2, 16),
            ("src.l3num", 2, 18),
            ("dst.u3", 16, 20),
            ("dst.u.all", 2, 36),
        ] {
            let offset = sized(btf, tuple, path, size)?;
            if offset != expected {
                return Err(FieldError::Place(tuple.to_owned(), path.to_owned(), offset, expected));
            }
        }
        o.tuple_dst_dir = sized(btf, tuple, "dst.dir", 1)?;
        // Last: its presence tells the programs that all the others are known.
        o.sk_buff_nfct = nfct;
        Ok(())
    }

    fn locate_ipvs(&mut self, vmlinux: &Btf<'_>, modules: &Modules<'_>) -> Result<(), String> {
        let btf = if vmlinux.has_struct("ip_vs_conn") {
            vmlinux
        } else {
            match modules.types("ip_vs") {
                Some(Ok(module)) => module,
                Some(Err(BtfError::Read { .. })) | None => {
                    return Err("this kernel publishes no BTF for the ip_vs module".to_owned());
                }
                Some(Err(other)) => return Err(other.to_string()),
            }
        };
        self.locate_ipvs_fields(btf).map_err(|error| error.to_string())
    }

    fn locate_ipvs_fields(&mut self, btf: &Btf<'_>) -> Result<(), FieldError> {
        let o = &mut self.offsets;
        o.ip_vs_conn_cport = sized(btf, "ip_vs_conn", "cport", 2)?;
        o.ip_vs_conn_dport = sized(btf, "ip_vs_conn", "dport", 2)?;
        o.ip_vs_conn_caddr = sized(btf, "ip_vs_conn", "caddr", 16)?;
        o.ip_vs_conn_daddr = sized(btf, "ip_vs_conn", "daddr", 16)?;
        o.ip_vs_conn_dest = sized(btf, "ip_vs_conn", "dest", 8)?;
        o.ip_vs_dest_weight = sized(btf, "ip_vs_dest", "weight", 4)?;
        // The available flag moved to its own word; both are read as 4 bytes.
        o.ip_vs_dest_flags = match btf.field("ip_vs_dest", "cflags") {
            Ok(field) => field.offset,
            Err(_) => sized(btf, "ip_vs_dest", "flags", 4)?,
        };
        Ok(())
    }
}

/// The offset of a field that has the expected size.
fn sized(btf: &Btf<'_>, name: &str, path: &str, size: u32) -> Result<u32, FieldError> {
    let field = btf.field(name, path)?;
    if field.size == size {
        Ok(field.offset)
    } else {
        Err(FieldError::Size(name.to_owned(), path.to_owned(), field.size, size))
    }
}

/// What the TCP programs need.
fn tcp(btf: &Btf<'_>) -> Result<TcpLayout, FieldError> {
    let common = |path: &str, size| sized(btf, "sock", &format!("__sk_common.{path}"), size);
    let iter = |path: &str| sized(btf, "msghdr", &format!("msg_iter.{path}"), 8);
    let kinds = btf.enumerators("iter_type");
    let kind = |name: &str| {
        let found = kinds.iter().find(|(known, _)| known == name);
        found.and_then(|(_, number)| u8::try_from(*number).ok())
    };
    let iovec = FieldError::NoField("iter_type".to_owned(), "ITER_IOVEC".to_owned());
    // Before 5.14 a whole word, whose lowest bit is the direction.
    let (iter_type, type_mask) = match btf.field("msghdr", "msg_iter.iter_type") {
        Ok(field) => (field.offset, 0xff),
        Err(_) => (sized(btf, "msghdr", "msg_iter.type", 4)?, 0xfe),
    };
    Ok(TcpLayout {
        sock_dport: common("skc_dport", 2)?,
        sock_num: common("skc_num", 2)?,
        sock_family: common("skc_family", 2)?,
        sock_daddr: common("skc_daddr", 4)?,
        sock_rcv_saddr: common("skc_rcv_saddr", 4)?,
        sock_v6_daddr: common("skc_v6_daddr", 16)?,
        sock_v6_rcv_saddr: common("skc_v6_rcv_saddr", 16)?,
        sock_err: sized(btf, "sock", "sk_err", 4)?,
        inet_sport: sized(btf, "inet_sock", "inet_sport", 2)?,
        iter_type,
        iter_offset: iter("iov_offset")?,
        iter_count: iter("count")?,
        iter_iov: iter("__iov").or_else(|_| iter("iov"))?,
        iter_segments: iter("nr_segs")?,
        type_mask,
        type_ubuf: kind("ITER_UBUF").unwrap_or(0xff),
        type_iovec: kind("ITER_IOVEC").ok_or(iovec)?,
        recvmsg_arguments: btf
            .function_arguments("tcp_recvmsg")
            .and_then(|count| u8::try_from(count).ok())
            .unwrap_or(0),
    })
}
