//! The measurement itself: the search list once, then every server several
//! times, all of them at once.

use std::{
    net::{SocketAddr, SocketAddrV6},
    time::Duration,
};

use serde::Serialize;

use super::{
    exchange,
    measurement::{Measurement, Target, Tries},
};
use crate::dns::{Answer, Name, QType, Question};

/// What to ask whom.
#[derive(Clone, Debug)]
pub struct Task {
    /// The name as it was given, without a suffix.
    pub name: Name,
    /// Names a resolver would ask for, in its order.
    pub names: Vec<Name>,
    /// The type.
    pub qtype: QType,
    /// Servers, configured ones first.
    pub targets: Vec<Target>,
    /// Ask over TCP too.
    pub tcp: bool,
    /// Queries per server and transport.
    pub count: u16,
    /// How long to wait for each answer.
    pub timeout: Duration,
}

/// One name of the search list, asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The name.
    pub name: Name,
    /// Who answered; null: nobody that was asked did.
    pub server: Option<SocketAddr>,
    /// The answer.
    pub answer: Option<Answer>,
}

/// Everything that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The names a resolver asks for, until one has an answer.
    pub steps: Vec<Step>,
    /// What was asked of every server.
    pub question: Question,
    /// Servers in the order of the task.
    pub measurements: Vec<Measurement>,
}

/// Asks, from the network namespace of the calling thread.
pub async fn measure(task: &Task) -> Report {
    let steps = walk(task).await;
    let question = Question { name: chosen(&steps, &task.name), qtype: task.qtype };
    // Within one thread, so that every socket is made in its namespace.
    let all = task.targets.iter().map(|target| measure_target(target, &question, task));
    let measurements = join_all(all).await;
    Report { steps, question, measurements }
}

/// Goes through the names as a resolver does, with the first server that
/// answers at all: whether the others do is measured afterwards.
async fn walk(task: &Task) -> Vec<Step> {
    let question = |name: &Name| Question { name: name.clone(), qtype: task.qtype };
    let Some((first, rest)) = task.names.split_first() else { return Vec::new() };
    let first_question = question(first);
    let ask = |target: &Target| exchange::udp(target.address, &first_question, task.timeout);
    let exchanges = join_all(task.targets.iter().map(ask)).await;
    let answered = task.targets.iter().zip(&exchanges).find_map(|(target, exchange)| {
        exchange.answer().map(|answer| (target.address, answer.clone()))
    });
    let Some((server, answer)) = answered else {
        return vec![Step { name: first.clone(), server: None, answer: None }];
    };
    let mut steps = vec![Step { name: first.clone(), server: Some(server), answer: Some(answer) }];
    for name in rest {
        let found = |step: &Step| step.answer.as_ref().is_none_or(Answer::has_records);
        if steps.last().is_some_and(found) {
            break;
        }
        let exchange = exchange::udp(server, &question(name), task.timeout).await;
        let answer = exchange.answer().cloned();
        let server = answer.is_some().then_some(server);
        steps.push(Step { name: name.clone(), server, answer });
    }
    steps
}

/// The name whose answers are compared: the one that has an answer, else the
/// one that exists, else the name as it was given, which has no suffix.
fn chosen(steps: &[Step], given: &Name) -> Name {
    let by = |fits: fn(&Answer) -> bool| {
        steps.iter().find(|step| step.answer.as_ref().is_some_and(fits))
    };
    let step = by(Answer::has_records).or_else(|| by(Answer::is_noerror)).or_else(|| {
        // Nobody answered: what a resolver would send first.
        steps.iter().find(|step| step.answer.is_none())
    });
    step.map_or(given, |step| &step.name).clone()
}

async fn measure_target(target: &Target, question: &Question, task: &Task) -> Measurement {
    let mut udp = Tries::default();
    for _ in 0..task.count {
        udp.0.push(exchange::udp(target.address, question, task.timeout).await);
    }
    let cut = udp.answers().any(|answer| answer.truncated);
    let times = match () {
        () if task.tcp || cut => task.count,
        () if udp.is_silent() => 1,
        () => 0,
    };
    let mut tcp = Tries::default();
    for _ in 0..times {
        tcp.0.push(exchange::tcp(target.address, question, task.timeout).await);
    }
    Measurement { target: target.clone(), udp, tcp, tcp_wanted: task.tcp }
}

/// All futures at once on this thread, results in their order.
async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    use std::{future::poll_fn, pin::Pin, task::Poll};

    let mut futures: Vec<Pin<Box<_>>> = futures.map(Box::pin).collect();
    let mut results: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, result) in futures.iter_mut().zip(&mut results) {
            if result.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(context)
            {
                *result = Some(value);
            }
        }
        if results.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    results.into_iter().flatten().collect()
}

/// The address with an interface's index for its scope, which may be a number
/// or a name in the namespace of the calling thread. `None`: there is no such
/// interface.
#[must_use]
pub fn scoped(address: SocketAddr, scope: &str) -> Option<SocketAddr> {
    let SocketAddr::V6(v6) = address else { return Some(address) };
    let index = scope.parse().ok().or_else(|| {
        let socket = std::net::UdpSocket::bind((std::net::Ipv6Addr::UNSPECIFIED, 0)).ok()?;
        rustix::net::netdevice::name_to_index(&socket, scope).ok()
    })?;
    Some(SocketAddrV6::new(*v6.ip(), v6.port(), 0, index).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, answer: Option<(&str, usize)>) -> Step {
        let answer = answer.map(|(rcode, records)| Answer {
            rcode: rcode.to_owned(),
            truncated: false,
            records,
        });
        Step { name: name.parse().unwrap(), server: None, answer }
    }

    fn choose(steps: &[Step]) -> String {
        chosen(steps, &"a.b".parse().unwrap()).to_string()
    }

    #[test]
    fn the_name_with_an_answer_is_compared() {
        let steps = [step("a.b.svc", Some(("NXDOMAIN", 0))), step("a.b", Some(("NOERROR", 1)))];
        assert_eq!(choose(&steps), "a.b.");
    }

    #[test]
    fn a_name_that_exists_comes_before_one_that_does_not() {
        let steps = [step("a.b.svc", Some(("NOERROR", 0))), step("a.b", Some(("NXDOMAIN", 0)))];
        assert_eq!(choose(&steps), "a.b.svc.");
    }

    #[test]
    fn without_any_answer_it_is_the_name_a_resolver_sends_first() {
        assert_eq!(choose(&[step("a.b.svc", None)]), "a.b.svc.");
    }

    #[test]
    fn where_nothing_exists_it_is_the_name_as_given() {
        let steps = [step("a.b.svc", Some(("NXDOMAIN", 0))), step("a.b", Some(("NXDOMAIN", 0)))];
        assert_eq!(choose(&steps), "a.b.");
    }

    #[test]
    fn every_future_is_run() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let results = runtime.block_on(join_all((0..5_u64).map(|n| async move {
            tokio::time::sleep(Duration::from_millis(5 - n)).await;
            n
        })));
        assert_eq!(results, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn scopes_are_numbers_or_interfaces() {
        let address: SocketAddr = "[fe80::1]:53".parse().unwrap();
        assert_eq!(scoped(address, "7").unwrap().to_string(), "[fe80::1%7]:53");
        assert_eq!(scoped(address, "lo").unwrap().to_string(), "[fe80::1%1]:53");
        assert_eq!(scoped(address, "no-such-device"), None);
    }
}
