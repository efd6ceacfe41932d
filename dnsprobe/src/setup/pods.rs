//! Code `pod-config`: each container's `resolv.conf`, as its C library reads
//! it, and whether its nameservers can be reached at all.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use super::{
    Container, Library, NodeFacts, Reachability, ResolvConfFile,
    finding::{Finding, Place, Problem, Proof},
};
use crate::dns::resolv_conf::{Effective, Libc, ResolvConf, Unheeded};

const DNS_PORT: u16 = 53;
const FILE: &str = "/etc/resolv.conf";
/// `ndots` from which on ordinary external names are expanded first.
const MANY_DOTS: u32 = 3;
/// glibc takes any search list from here on.
const UNLIMITED_GLIBC: (u32, u32) = (2, 26);

pub(super) fn judge(containers: &[Container], node: &NodeFacts) -> Vec<Finding> {
    let usual = usual_nameservers(containers);
    containers
        .iter()
        .flat_map(|container| {
            let judge = Judge {
                place: Place {
                    owner: Some(std::sync::Arc::clone(&container.owner)),
                    pid: Some(container.pid),
                },
                found: Vec::new(),
            };
            judge.container(container, node, usual.as_ref())
        })
        .collect()
}

/// The nameservers that most pods of the node have, if more than half agree.
fn usual_nameservers(containers: &[Container]) -> Option<Vec<IpAddr>> {
    let mut counts: HashMap<Vec<IpAddr>, usize> = HashMap::new();
    for container in containers {
        if let ResolvConfFile::Read(conf) = &container.resolv_conf {
            *counts.entry(addresses(conf)).or_default() += 1;
        }
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (most.1 * 2 > containers.len()).then_some(most.0)
}

fn addresses(conf: &ResolvConf) -> Vec<IpAddr> {
    conf.nameservers.iter().map(|server| server.address).collect()
}

fn list<T: ToString>(items: &[T]) -> String {
    let words: Vec<String> = items.iter().map(ToString::to_string).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(" ") }
}

fn line(number: usize) -> String {
    format!("{FILE}, line {number}")
}

/// Collects what is found in one container.
struct Judge {
    place: Place,
    found: Vec<Finding>,
}

impl Judge {
    fn add(&mut self, problem: Problem, summary: String, proof: Vec<Proof>) {
        self.found.push(Finding::new(problem, self.place.clone(), summary, proof));
    }

    fn container(
        mut self,
        container: &Container,
        node: &NodeFacts,
        usual: Option<&Vec<IpAddr>>,
    ) -> Vec<Finding> {
        let conf = match &container.resolv_conf {
            ResolvConfFile::Missing => {
                let summary = "the container has no resolv.conf".to_owned();
                self.add(Problem::NoNameserver, summary, vec![Proof::new(FILE, "missing")]);
                return self.found;
            }
            ResolvConfFile::Read(conf) => conf,
        };
        if conf.nameservers.is_empty() {
            let summary = "the resolv.conf names no nameserver".to_owned();
            self.add(Problem::NoNameserver, summary, vec![Proof::new(FILE, "no nameserver")]);
        }
        self.nameservers(conf, container, node);
        for ignored in &conf.ignored {
            let proof = vec![Proof::new(line(ignored.line), &ignored.text)];
            self.add(Problem::LineIgnored, ignored.reason.describe().to_owned(), proof);
        }
        if let Some(library) = container.library {
            self.as_read_by(library, conf);
        }
        if let Some(usual) = usual
            && *usual != addresses(conf)
        {
            let summary =
                format!("its nameservers are not those of most pods here, {}", list(usual));
            let own = Proof::new(FILE, format!("nameserver {}", list(&addresses(conf))));
            self.add(Problem::DiffersFromOthers, summary, vec![own]);
        }
        self.found
    }

    fn nameservers(&mut self, conf: &ResolvConf, container: &Container, node: &NodeFacts) {
        for server in &conf.nameservers {
            let address = server.address;
            let written = Proof::new(line(server.line), format!("nameserver {address}"));
            let reach = container.reachability.iter().find(|(known, _)| *known == address);
            match reach.map(|(_, reachability)| reachability) {
                Some(Reachability::NoRoute(reason)) => self.add(
                    Problem::NameserverWithoutRoute,
                    format!("the pod has no route to its nameserver {address}"),
                    vec![written.clone(), Proof::new("the pod's routes", reason)],
                ),
                Some(Reachability::NobodyListens) => self.add(
                    Problem::NameserverNotListening,
                    format!("the nameserver {address} is the pod itself, where nobody listens"),
                    vec![written.clone(), Proof::new("the pod's UDP sockets", "none on port 53")],
                ),
                Some(Reachability::Routed | Reachability::Unknown) | None => {}
            }
            let dead = node.ipvs.dns_services.iter().find(|service| {
                service.address == SocketAddr::new(address, DNS_PORT)
                    && service.backends.iter().all(|(_, weight)| *weight == Some(0))
            });
            if dead.is_some() {
                let proof = vec![written, Proof::new("/proc/net/ip_vs", "no usable real server")];
                let summary = format!("the nameserver {address} is a service without a backend");
                self.add(Problem::NameserverWithoutBackend, summary, proof);
            }
        }
    }

    fn as_read_by(&mut self, library: Library, conf: &ResolvConf) {
        let (libc, name) = match library {
            Library::Glibc(_) => (Libc::Glibc, "glibc"),
            Library::Musl => (Libc::Musl, "musl"),
        };
        let effective = conf.effective(libc);
        for unheeded in &effective.unheeded {
            self.unheeded(unheeded, library, name);
        }
        if libc == Libc::Musl && effective.nameservers.len() > 1 {
            let servers = list(&addresses(conf));
            let proof = vec![Proof::new(FILE, format!("nameserver {servers}"))];
            let summary =
                format!("musl asks all {} nameservers at once", effective.nameservers.len());
            self.add(Problem::ParallelNameservers, summary, proof);
        }
        self.expansion(&effective);
        if effective.attempts <= 1 {
            let proof = vec![Proof::new(FILE, format!("attempts:{}", effective.attempts))];
            self.add(Problem::SingleAttempt, "a look-up is tried only once".to_owned(), proof);
        }
    }

    fn expansion(&mut self, effective: &Effective) {
        if effective.ndots < MANY_DOTS || effective.search.is_empty() {
            return;
        }
        let summary = format!(
            "a name with fewer than {} dots is tried with {} suffixes before it is asked as it is",
            effective.ndots,
            effective.search.len()
        );
        let proof = vec![Proof::new(FILE, format!("ndots:{}", effective.ndots))];
        self.add(Problem::SearchExpansion, summary, proof);
    }

    fn unheeded(&mut self, unheeded: &Unheeded, library: Library, name: &str) {
        match unheeded {
            Unheeded::Nameserver(server) => self.add(
                Problem::TooManyNameservers,
                format!("{name} asks three nameservers at most"),
                vec![Proof::new(line(server.line), format!("nameserver {}", server.address))],
            ),
            Unheeded::Option(entry) => self.add(
                Problem::OptionIgnored,
                format!("{name} does not know the option {}", entry.option),
                vec![Proof::new(line(entry.line), format!("options {}", entry.option))],
            ),
            Unheeded::Capped { entry, limit } => self.add(
                Problem::OptionCapped,
                format!("{name} takes at most {limit} for {}", entry.option),
                vec![Proof::new(line(entry.line), format!("options {}", entry.option))],
            ),
            Unheeded::SearchLine { line: number, bytes } => self.add(
                Problem::SearchListCut,
                format!("{name} skips a search list whose line has 255 characters or more"),
                vec![Proof::new(line(*number), format!("{bytes} characters"))],
            ),
            Unheeded::SearchBeforeGlibc226 { line: number, suffixes, bytes } => {
                // Only a version that is known to be old proves it.
                if let Library::Glibc(Some(version)) = library
                    && version < UNLIMITED_GLIBC
                {
                    let summary = format!(
                        "glibc {}.{} keeps 6 suffixes and 256 characters of a search list",
                        version.0, version.1
                    );
                    let value = format!("{suffixes} suffixes, {bytes} characters");
                    self.add(
                        Problem::SearchListCut,
                        summary,
                        vec![Proof::new(line(*number), value)],
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::{
        self,
        testing::{container, healthy_node, ipvs_node},
    };

    const CLUSTER: &str = "nameserver 10.96.0.10\n";

    fn problems(containers: &[Container], node: &NodeFacts) -> Vec<&'static str> {
        setup::judge(node, containers).iter().map(|finding| finding.problem.as_str()).collect()
    }

    fn of(text: &str, library: Library) -> Vec<&'static str> {
        let container = Container { library: Some(library), ..container("a", text) };
        problems(&[container], &healthy_node())
    }

    #[test]
    fn a_plain_file_is_no_finding() {
        assert!(of(CLUSTER, Library::Glibc(None)).is_empty());
        assert!(of(CLUSTER, Library::Musl).is_empty());
    }

    #[test]
    fn each_problem_of_a_file_is_found_by_its_name() {
        let glibc = Library::Glibc(Some((2, 36)));
        for (more, library, problem) in [
            ("search a b\noptions ndots:5", glibc, "search-expansion"),
            ("options single-request-reopen", Library::Musl, "option-ignored"),
            ("options nonsense", glibc, "option-ignored"),
            ("options timeout:99", glibc, "option-capped"),
            ("options attempts:1", glibc, "single-attempt"),
            ("nameserver 10.96.0.300", glibc, "line-ignored"),
            ("Nameserver 10.96.0.3", glibc, "line-ignored"),
            ("nameserver 10.96.0.11", Library::Musl, "parallel-nameservers"),
            ("search a b c d e f g", Library::Glibc(Some((2, 17))), "search-list-cut"),
        ] {
            assert_eq!(of(&format!("{CLUSTER}{more}\n"), library), [problem], "{more}");
        }
        assert!(of(&format!("{CLUSTER}search a b c d e f g"), glibc).is_empty());
        assert!(of(&format!("{CLUSTER}search a b c d e f g"), Library::Glibc(None)).is_empty());
        let four = "nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 1.1.1.4";
        assert_eq!(of(four, glibc), ["too-many-nameservers"]);
        assert_eq!(of("search a\n", glibc), ["no-nameserver"]);
    }

    #[test]
    fn without_a_known_library_no_option_is_called_ignored() {
        let unknown =
            Container { library: None, ..container("a", "nameserver 10.96.0.10\noptions rotate") };
        assert!(problems(&[unknown], &healthy_node()).is_empty());
    }

    #[test]
    fn an_unreachable_nameserver_is_critical() {
        let mut bad = container("bad", "nameserver 10.96.0.10\n");
        let address = bad.reachability[0].0;
        bad.reachability = vec![(address, Reachability::NoRoute("unreachable".to_owned()))];
        assert_eq!(problems(&[bad.clone()], &healthy_node()), ["nameserver-without-route"]);
        bad.reachability = vec![(address, Reachability::NobodyListens)];
        assert_eq!(problems(&[bad.clone()], &healthy_node()), ["nameserver-not-listening"]);
        bad.resolv_conf = ResolvConfFile::Missing;
        assert_eq!(problems(&[bad], &healthy_node()), ["no-nameserver"]);
    }

    #[test]
    fn a_nameserver_that_is_a_service_without_backend_is_found_in_the_pod_too() {
        let mut node = ipvs_node();
        node.ipvs.dns_services[0].backends.clear();
        let found = problems(&[container("a", CLUSTER)], &node);
        assert_eq!(found, ["ipvs-no-backend", "nameserver-without-backend"]);
    }

    #[test]
    fn the_odd_pod_out_is_named_and_equal_findings_are_one() {
        let search = "nameserver 10.96.0.10\nsearch a\noptions ndots:5\n";
        let odd = container("odd", "nameserver 10.96.0.99\n");
        let containers =
            [container("a", search), container("b", search), container("c", search), odd];
        let findings = setup::judge(&healthy_node(), &containers);
        let places: Vec<_> = findings.iter().map(|f| (f.problem, f.places.len())).collect();
        assert_eq!(places, [(Problem::SearchExpansion, 3), (Problem::DiffersFromOthers, 1)]);
        assert_eq!(findings[1].places[0].owner.as_ref().unwrap().to_string(), "shop/odd");
    }

    #[test]
    fn where_nobody_is_in_the_majority_nobody_is_odd() {
        let containers = [container("a", CLUSTER), container("b", "nameserver 10.96.0.11\n")];
        assert!(problems(&containers, &healthy_node()).is_empty());
    }
}
