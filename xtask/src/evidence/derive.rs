//! Names the cause of a lost query from what a ticket says was seen, as a reader
//! without the machine would: by the evidence alone, never by the verdict.

use serde_json::Value;

/// What else in the ticket a reader has to look at.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Node {
    /// How much the kernel's count of packets dropped for a long hash chain rose.
    pub(super) long_chains: u64,
}

/// About a second: what a resolved clash costs.
const LATE_NS: f64 = 0.9;

/// The cause that the evidence of one verdict proves.
pub(super) fn cause(verdict: &Value, node: Node) -> &'static str {
    let facts: Vec<Fact<'_>> =
        verdict["evidence"].as_array().into_iter().flatten().map(Fact).collect();
    let any = |test: &dyn Fn(&Fact<'_>) -> bool| facts.iter().any(test);
    let clash = |resolved: bool, ipvs: bool| {
        any(&|fact| {
            fact.is("clash") && fact.flag("resolved") == resolved && fact.flag("ipvs") == ipvs
        })
    };
    if clash(false, true) || any(&|fact| fact.is("stray-answer") && fact.flag("from_ipvs")) {
        return "ipvs-port-conflict";
    }
    if clash(false, false) {
        return "conntrack-clash";
    }
    if any(&|fact| fact.is("drop") && fact.has("table_full")) {
        return "conntrack-table-full";
    }
    if any(&|fact| fact.is("nat-drop")) {
        return "nat-ports-exhausted";
    }
    if any(&|fact| fact.is("confirm-drop")) {
        return if node.long_chains > 0 { "conntrack-chain-too-long" } else { "conntrack-dying" };
    }
    if any(&|fact| fact.is("ipvs-drop") && fact.flag("no_backend")) {
        return "ipvs-no-backend";
    }
    if any(&|fact| fact.is("ipvs-drop") && fact.0["backend_available"] == false) {
        return "ipvs-stale-backend";
    }
    if any(&|fact| fact.is("drop") && fact.has("socket_owner")) {
        return "socket-buffer-full";
    }
    if any(&|fact| fact.reason("CPU_BACKLOG")) {
        return "cpu-backlog-full";
    }
    let at_server = any(&|fact| fact.is("at-server"));
    let left_for =
        |state: &str| any(&|fact| fact.is("transmit") && fact.0["backend_state"] == state);
    if !at_server && (any(&|fact| fact.is("ipvs-draining")) || left_for("draining")) {
        return "ipvs-dead-backend";
    }
    let older = any(&|fact| fact.is("transmit") && fact.flag("established"));
    // NAT deletes a masqueraded entry whose packets would leave by another device.
    let deleted = any(&|fact| {
        fact.reason("NETFILTER_DROP")
            && fact.calls("output")
            && fact.status().is_some_and(|status| status & DELETED == DELETED)
    });
    if deleted || (older && left_for("gone") && !at_server) {
        return "stale-nat-entry";
    }
    if any(&|fact| fact.unreachable() && !fact.is_answer()) {
        return "no-listener";
    }
    if any(&|fact| fact.is("clash") && fact.flag("resolved")) && late(verdict, &facts) {
        return "conntrack-clash-late-answer";
    }
    if any(&|fact| fact.is("drop") && fact.flag("netfilter")) {
        return "policy-drop";
    }
    let reasons: [(&[&str], &str); 4] = [
        (&["TC_", "QDISC", "XDP", "BPF_CGROUP"], "tc-drop"),
        (&["NEIGH_"], "neighbour-failed"),
        (&["IP_OUTNOROUTES", "IP_INNOROUTES", "IP_INADDRERRORS"], "no-route"),
        (
            &["CSUM", "IP_INHDR", "PKT_TOO_SMALL", "INVALID", "HDR", "IP_RPFILTER", "FRAG_REASM"],
            "packet-invalid",
        ),
    ];
    for (words, cause) in reasons {
        if any(&|fact| words.iter().any(|word| fact.reason(word))) {
            return cause;
        }
    }
    // Where the kernel says no reason, the function does.
    if any(&|fact| fact.is("drop") && fact.is_in("ip_error")) {
        return "no-route";
    }
    // Reading takes nothing away but what its checksum shows to be damaged.
    if any(&|fact| fact.is("drop") && (fact.is_in("udp_recvmsg") || fact.is_in("udpv6_recvmsg"))) {
        return "packet-invalid";
    }
    let asked = verdict["query"]["server"].as_str();
    if any(&|fact| fact.unreachable() && fact.sender().is_some() && fact.sender() != asked) {
        return "answer-mismatch";
    }
    if any(&|fact| fact.unreachable()) {
        return "late-answer";
    }
    if any(&|fact| fact.is("stray-answer")) {
        return "answer-mismatch";
    }
    if let Some(failed) = facts.iter().find(|fact| fact.is("send-failed")) {
        const ENETUNREACH: u64 = 101;
        const EHOSTUNREACH: u64 = 113;
        let errno = failed.0["errno"].as_u64();
        let no_route = matches!(errno, Some(ENETUNREACH | EHOSTUNREACH));
        return if no_route { "no-route" } else { "send-failed" };
    }
    if at_server {
        return "server-silent";
    }
    let dropped = any(&|fact| fact.is("drop"));
    if !dropped && any(&|fact| fact.is("transmit") && fact.flag("leaves_node")) {
        return "remote-silence";
    }
    "unexplained"
}

/// Dying and never confirmed (`enum ip_conntrack_status`).
const DELETED: u64 = 1 << 9;

/// Whether an answer came about a second or more after the query.
fn late(verdict: &Value, facts: &[Fact<'_>]) -> bool {
    let sent = verdict["query"]["sent"].as_str().and_then(seconds);
    facts.iter().filter(|fact| fact.is_answer()).any(|fact| {
        let at = fact.0["at"].as_str().and_then(seconds);
        sent.zip(at).is_some_and(|(sent, at)| at - sent >= LATE_NS)
    })
}

/// Seconds of the day of an RFC 3339 time in UTC.
fn seconds(time: &str) -> Option<f64> {
    let clock = time.split_once('T')?.1.trim_end_matches('Z');
    let mut parts = clock.split(':').map(str::parse::<f64>);
    let (hours, minutes, seconds) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    Some(hours * 3_600.0 + minutes * 60.0 + seconds)
}

/// One fact of a verdict's evidence.
struct Fact<'a>(&'a Value);

impl Fact<'_> {
    fn is(&self, kind: &str) -> bool {
        self.0["kind"] == kind
    }

    fn has(&self, key: &str) -> bool {
        !self.0[key].is_null()
    }

    fn flag(&self, key: &str) -> bool {
        self.0[key] == true
    }

    fn is_answer(&self) -> bool {
        self.0["direction"] == "answer"
    }

    /// Whether the kernel dropped it for a reason with this word in it.
    fn reason(&self, word: &str) -> bool {
        self.is("drop") && self.0["reason"].as_str().is_some_and(|reason| reason.contains(word))
    }

    /// Whether the kernel dropped it in this function.
    fn is_in(&self, function: &str) -> bool {
        let location = self.0["location"].as_str().and_then(|place| place.split('+').next());
        location == Some(function)
    }

    /// Who sent the packet, as its header had it then.
    fn sender(&self) -> Option<&str> {
        self.0["packet"].as_str()?.split_once(" -> ")?.0.split(' ').nth(1)
    }

    fn calls(&self, word: &str) -> bool {
        let callers = self.0["callers"].as_array().into_iter().flatten();
        callers.filter_map(Value::as_str).any(|caller| caller.contains(word))
    }

    fn status(&self) -> Option<u64> {
        let text = self.0["conntrack"]["status"].as_str()?.strip_prefix("0x")?;
        u64::from_str_radix(text, 16).ok()
    }

    /// Whether there was nobody at the port.
    fn unreachable(&self) -> bool {
        self.reason("NO_SOCKET") || self.is("icmp-error")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(evidence: Value) -> &'static str {
        let verdict = json!({
            "cause": "what the verdict says is not looked at",
            "query": { "sent": "2026-01-01T00:00:01.000000Z" },
            "evidence": evidence,
        });
        cause(&verdict, Node::default())
    }

    #[test]
    fn the_reason_stands_before_what_it_shows_through() {
        let drop = json!({ "kind": "drop", "netfilter": true, "reason": "NETFILTER_DROP" });
        let clash = json!({ "kind": "clash", "resolved": false, "ipvs": false });
        assert_eq!(of(json!([drop.clone()])), "policy-drop");
        assert_eq!(of(json!([drop.clone(), clash])), "conntrack-clash");
        let full = json!({ "kind": "drop", "netfilter": true, "table_full": "when" });
        assert_eq!(of(json!([full])), "conntrack-table-full");
        assert_eq!(of(json!([])), "unexplained");
    }

    #[test]
    fn a_refusal_is_told_apart_by_the_kernels_counter() {
        let verdict = json!({ "evidence": [{ "kind": "confirm-drop" }] });
        assert_eq!(cause(&verdict, Node { long_chains: 2 }), "conntrack-chain-too-long");
        assert_eq!(cause(&verdict, Node::default()), "conntrack-dying");
    }

    #[test]
    fn an_answer_without_a_socket_is_late_and_a_query_has_no_listener() {
        let drop = |direction: &str| json!([{ "kind": "drop", "reason": "NO_SOCKET", "direction": direction }]);
        assert_eq!(of(drop("query")), "no-listener");
        assert_eq!(of(drop("answer")), "late-answer");
    }

    #[test]
    fn an_answer_of_somebody_who_was_not_asked_does_not_match() {
        let told = |sender: &str| {
            let packet = format!("udp {sender} -> 10.0.0.9:40000");
            let drop = json!({
                "kind": "drop", "reason": "NO_SOCKET", "direction": "answer", "packet": packet,
            });
            cause(
                &json!({ "query": { "server": "10.0.0.1:53" }, "evidence": [drop] }),
                Node::default(),
            )
        };
        assert_eq!(told("10.0.0.1:53"), "late-answer");
        assert_eq!(told("10.0.0.2:53"), "answer-mismatch");
    }

    #[test]
    fn where_the_kernel_gives_no_reason_the_function_tells() {
        let drop = |location: &str| json!([{ "kind": "drop", "reason": "NOT_SPECIFIED", "location": location }]);
        assert_eq!(of(drop("ip_error+0x97")), "no-route");
        assert_eq!(of(drop("udp_recvmsg+0x2b6")), "packet-invalid");
        assert_eq!(of(drop("udp_recvmsg_of_another+0x1")), "unexplained");
    }
}
