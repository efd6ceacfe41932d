//! One file per hooked kernel function or tracepoint, named after it. Entry
//! points per attach type are thin; bodies are shared.

mod __icmp_send;
mod __nf_conntrack_confirm;
mod __udp_enqueue_schedule_skb;
mod cgroup_mkdir;
mod early_drop;
mod icmp6_send;
mod inet_sock_set_state;
mod ip6_send_skb;
mod ip_send_skb;
mod ip_vs_conn_in_get_proto;
mod ip_vs_in_hook;
mod ip_vs_leave;
mod kfree_skb;
mod net_dev_queue;
mod net_dev_start_xmit;
mod netif_receive_skb;
mod nf_ct_iterate_destroy;
mod nf_ct_resolve_clash;
mod nf_nat_masquerade_ipv4;
mod qdisc_drop;
mod skb_consume_udp;
mod tcp_recvmsg;
mod tcp_sendmsg;
mod udp_sendmsg;
