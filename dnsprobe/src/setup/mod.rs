//! Is the set-up the problem? Judges the settings of the node and its pods
//! without any traffic. Pure: facts in, findings out.

mod facts;
mod finding;
mod kernel_bugs;
mod node;
mod owners;
mod pods;
mod release;
mod report;
#[cfg(test)]
mod testing;

pub use facts::{
    Conntrack, Container, DnsService, Ipvs, Library, Network, NodeFacts, Reachability,
    ResolvConfFile, Sysctl, Unread,
};
pub use finding::{Code, Finding, Place, Problem, Proof, Severity};
pub use owners::by_owner;
pub use release::Release;
pub use report::Report;

/// Everything found, worst first. Findings that say the same of several
/// containers become one.
#[must_use]
pub fn judge(node: &NodeFacts, containers: &[Container]) -> Vec<Finding> {
    let mut findings = node::judge(node);
    for found in pods::judge(containers, node) {
        match findings.iter_mut().find(|finding| finding.says_the_same(&found)) {
            Some(finding) => finding.places.extend(found.places),
            None => findings.push(found),
        }
    }
    for finding in &mut findings {
        finding.places.sort();
        finding.places.dedup();
    }
    findings.sort_by(|a, b| {
        (b.severity, a.problem).cmp(&(a.severity, b.problem)).then_with(|| a.places.cmp(&b.places))
    });
    findings
}
