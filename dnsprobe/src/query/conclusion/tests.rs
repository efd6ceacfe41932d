//! Tests of what measurements prove.

use super::*;
use crate::query::{Discarded, Exchange, Target};

const SERVICE: &str = "10.96.0.10:53";
const FIRST: &str = "10.244.0.2:53";
const SECOND: &str = "10.244.0.3:53";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn answered(rcode: &str, records: usize, truncated: bool) -> Exchange {
    let answer = Answer { rcode: rcode.to_owned(), truncated, records };
    Exchange { outcome: Outcome::Answered { answer, seconds: 0.001 }, discarded: Vec::new() }
}

fn ok() -> Exchange {
    answered("NOERROR", 1, false)
}

fn ended(outcome: Outcome) -> Exchange {
    Exchange { outcome, discarded: Vec::new() }
}

fn lost() -> Exchange {
    ended(Outcome::TimedOut)
}

fn server(at: &str, udp: &[Exchange]) -> Measurement {
    Measurement {
        target: Target {
            address: address(at),
            backend_of: Vec::new(),
            service: false,
            drained: false,
        },
        udp: Tries(udp.to_vec()),
        tcp: Tries::default(),
        tcp_wanted: false,
    }
}

fn service(udp: &[Exchange]) -> Measurement {
    let mut service = server(SERVICE, udp);
    service.target.service = true;
    service
}

fn backend(at: &str, udp: &[Exchange]) -> Measurement {
    let mut backend = server(at, udp);
    backend.target.backend_of.push(address(SERVICE));
    backend
}

fn codes_of(measurements: &[Measurement]) -> Vec<&'static str> {
    conclude(measurements).iter().map(Conclusion::code).collect()
}

#[test]
fn nothing_is_wrong_when_all_answer_alike() {
    let all = [service(&[ok(), ok()]), backend(FIRST, &[ok()]), backend(SECOND, &[ok()])];
    assert_eq!(conclude(&all), [Conclusion::Nothing]);
    assert!(!Conclusion::Nothing.is_fault());
}

#[test]
fn a_silent_backend_is_named_whatever_the_service_answers() {
    for queries in [[ok(), ok()], [ok(), lost()]] {
        let all = [service(&queries), backend(FIRST, &[ok()]), backend(SECOND, &[lost()])];
        assert_eq!(conclude(&all), [Conclusion::BackendSilent(address(SECOND))]);
    }
    let all = [service(&[lost()]), backend(FIRST, &[ok()]), backend(SECOND, &[lost()])];
    assert_eq!(codes_of(&all), ["server-silent", "backend-silent"]);
}

#[test]
fn a_silent_service_address_before_healthy_backends_is_lost_in_translation() {
    let all = [service(&[lost(), lost()]), backend(FIRST, &[ok()]), backend(SECOND, &[ok()])];
    let conclusions = conclude(&all);
    assert_eq!(conclusions, [Conclusion::ServiceAddressSilent(address(SERVICE))]);
    assert!(conclusions[0].is_fault());
}

#[test]
fn one_lost_query_of_a_backend_is_enough_not_to_blame_the_translation() {
    let all = [service(&[lost(), lost()]), backend(FIRST, &[ok(), lost()])];
    assert_eq!(codes_of(&all), ["server-silent", "answers-missing"]);
}

#[test]
fn a_service_all_of_whose_backends_are_silent_is_silent() {
    let all = [service(&[lost()]), backend(FIRST, &[lost()]), backend(SECOND, &[lost()])];
    assert_eq!(codes_of(&all), ["service-silent", "backend-silent", "backend-silent"]);
}

#[test]
fn missing_answers_are_the_services_own_when_its_backends_are_whole() {
    let all = [service(&[ok(), lost(), ok()]), backend(FIRST, &[ok()])];
    let conclusions = conclude(&all);
    assert_eq!(conclusions[0].code(), "answers-missing");
    assert!(conclusions[0].to_string().contains("2 of 3"));
}

#[test]
fn a_service_without_backends_says_so() {
    assert_eq!(codes_of(&[service(&[lost()])]), ["no-backends"]);
}

#[test]
fn a_server_that_is_no_service_is_silent_by_itself() {
    assert_eq!(codes_of(&[server(FIRST, &[lost()])]), ["server-silent"]);
}

#[test]
fn a_drained_backend_may_be_silent() {
    let mut drained = backend(SECOND, &[lost()]);
    drained.target.drained = true;
    let all = [service(&[ok()]), backend(FIRST, &[ok()]), drained];
    assert_eq!(codes_of(&all), ["nothing", "drained-backend-silent"]);
}

#[test]
fn refusals_are_told_apart_from_silence() {
    for (outcome, code) in [
        (Outcome::Refused, "connection-refused"),
        (Outcome::NotPermitted, "send-refused"),
        (Outcome::Unreachable, "unreachable"),
    ] {
        let all = [server(FIRST, &[ended(outcome), lost()])];
        assert_eq!(codes_of(&all), [code]);
    }
    let all = [service(&[ended(Outcome::NotPermitted)]), backend(FIRST, &[ok()])];
    assert_eq!(codes_of(&all), ["send-refused"]);
}

#[test]
fn tcp_that_answers_where_udp_does_not_is_told() {
    let mut one = server(FIRST, &[lost(), lost()]);
    one.tcp = Tries(vec![ok()]);
    assert_eq!(codes_of(&[one]), ["server-silent", "udp-lost"]);
}

#[test]
fn tcp_that_fails_counts_only_where_it_was_wanted_or_needed() {
    let mut one = server(FIRST, &[ok()]);
    one.tcp = Tries(vec![lost()]);
    assert_eq!(codes_of(&[one.clone()]), ["nothing"]);
    one.tcp_wanted = true;
    assert_eq!(codes_of(&[one]), ["tcp-unanswered"]);
    let mut cut = server(FIRST, &[answered("NOERROR", 0, true)]);
    cut.tcp = Tries(vec![ended(Outcome::Refused)]);
    assert_eq!(codes_of(&[cut.clone()]), ["truncated-without-tcp"]);
    cut.tcp = Tries(vec![ok()]);
    assert_eq!(codes_of(&[cut]), ["nothing", "truncated"]);
}

#[test]
fn an_answer_from_a_stranger_is_told() {
    let mut strange = lost();
    strange.discarded.push(Discarded(Mismatch::Source(address(FIRST))));
    let all = [service(&[strange.clone(), strange]), backend(FIRST, &[ok()])];
    assert_eq!(
        conclude(&all)[1],
        Conclusion::WrongSource { server: address(SERVICE), from: address(FIRST) }
    );
    assert_eq!(conclude(&all).len(), 2);
}

#[test]
fn answers_that_differ_are_told_with_who_said_what() {
    let all = [
        service(&[ok(), answered("SERVFAIL", 0, false)]),
        backend(FIRST, &[ok()]),
        backend(SECOND, &[answered("SERVFAIL", 0, false)]),
    ];
    let conclusions = conclude(&all);
    assert_eq!(conclusions.len(), 1);
    assert_eq!(
        conclusions[0].to_string(),
        "Answers to one question differ: NOERROR from 10.96.0.10:53, 10.244.0.2:53; \
         SERVFAIL from 10.96.0.10:53, 10.244.0.3:53."
    );
    let all = [backend(FIRST, &[ok()]), backend(SECOND, &[answered("NOERROR", 0, false)])];
    assert_eq!(codes_of(&all), ["codes-differ"]);
}

#[test]
fn codes_that_agree_say_what_they_say() {
    let one = |rcode, records| codes_of(&[server(FIRST, &[answered(rcode, records, false)])]);
    assert_eq!(one("NXDOMAIN", 0), ["name-missing"]);
    assert_eq!(one("SERVFAIL", 0), ["error-code"]);
    assert_eq!(one("NOERROR", 0), ["nothing", "no-records"]);
}

#[test]
fn machines_get_code_fault_servers_and_summary() {
    let json = serde_json::to_value(Conclusion::BackendSilent(address(FIRST))).unwrap();
    assert_eq!(json["code"], "backend-silent");
    assert_eq!(json["fault"], true);
    assert_eq!(json["servers"][0], FIRST);
    assert!(json["summary"].as_str().unwrap().contains(FIRST));
}
