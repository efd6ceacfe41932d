//! Tests of the `resolv.conf` parser.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> ResolvConf {
    ResolvConf::parse(text.as_bytes())
}

fn reasons(conf: &ResolvConf) -> Vec<(usize, IgnoredReason)> {
    conf.ignored.iter().map(|ignored| (ignored.line, ignored.reason)).collect()
}

#[test]
fn a_pods_file_is_read_whole() {
    let conf = parse(
        "search shop.svc.cluster.local svc.cluster.local cluster.local\n\
         nameserver 10.96.0.10\n\
         options ndots:5\n",
    );
    let search = conf.search.as_ref().unwrap();
    assert_eq!(
        search.suffixes.iter().map(Name::to_string).collect::<Vec<_>>(),
        ["shop.svc.cluster.local.", "svc.cluster.local.", "cluster.local."]
    );
    assert_eq!((search.keyword, search.line), (SearchKeyword::Search, 1));
    assert_eq!((search.line_bytes, search.list_bytes), (61, 54));
    assert_eq!(conf.nameservers[0].address.to_string(), "10.96.0.10");
    assert_eq!(conf.nameservers[0].line, 2);
    assert_eq!(conf.options, [OptionEntry { line: 3, option: ResolverOption::Ndots(5) }]);
    assert!(conf.ignored.is_empty() && !conf.cut);
}

#[test]
fn ipv6_nameservers_keep_their_scope() {
    let conf = parse("nameserver fd00::a\nnameserver\tfe80::1%eth0\n");
    assert_eq!(conf.nameservers[0].address.to_string(), "fd00::a");
    assert_eq!(conf.nameservers[0].scope, None);
    assert_eq!(conf.nameservers[1].scope.as_deref(), Some("eth0"));
}

#[test]
fn comments_and_empty_lines_are_no_findings() {
    let conf = parse("# a\n; b\n\n   \n  # c\n");
    assert_eq!(conf, ResolvConf::default());
}

#[test]
fn what_has_no_effect_is_kept_with_line_and_reason() {
    use IgnoredReason::*;

    let conf = parse(
        "nameserver\n\
         nameserver dns.example\n\
         \u{20}nameserver 10.0.0.1\n\
         Nameserver 10.0.0.1\n\
         nameserver 10.0.0.1 # first\n\
         search a..b good.example\n\
         options ndots:five rotate\n\
         options\n\
         sortlist 130.155.160.0\n\
         search\n\
         domain one.example two.example\n",
    );
    assert_eq!(
        reasons(&conf),
        [
            (1, NoValue),
            (2, BadAddress),
            (3, LeadingBlank),
            (4, UnknownKeyword),
            (5, TrailingText),
            (6, BadName),
            (6, Replaced),
            (7, BadValue),
            (8, NoValue),
            (9, Sortlist),
            (10, NoValue),
            (11, TrailingText),
        ]
    );
    assert_eq!(conf.nameservers.len(), 1);
    assert_eq!(conf.search.unwrap().suffixes[0].to_string(), "one.example.");
    assert_eq!(conf.options.len(), 1);
}

#[test]
fn the_last_of_search_and_domain_counts() {
    let conf = parse("domain a.example\nsearch b.example c.example\n");
    assert_eq!(conf.search.as_ref().unwrap().suffixes.len(), 2);
    assert_eq!(
        conf.ignored,
        [Ignored {
            line: 1,
            text: "domain a.example.".to_owned(),
            reason: IgnoredReason::Replaced
        }]
    );
}

#[test]
fn a_file_from_windows_is_read_too() {
    let conf = parse("nameserver 10.0.0.1\r\nsearch a.example\r\n");
    assert_eq!(conf.nameservers.len(), 1);
    assert_eq!(conf.search.unwrap().suffixes.len(), 1);
    assert!(conf.ignored.is_empty());
}

#[test]
fn hostile_bytes_are_quoted_and_long_lines_cut() {
    let mut content = b"\x1b]0;x\x07 y\n".to_vec();
    content.extend(vec![b'z'; 4096]);
    let conf = ResolvConf::parse(&content);
    assert_eq!(conf.ignored[0].text, r"\027]0;x\007 y");
    assert_eq!(conf.ignored[1].text.len(), QUOTED_BYTES + 3);
}

#[test]
fn a_huge_file_is_cut_and_says_so() {
    let conf = ResolvConf::parse(&b"nameserver 10.0.0.1\n".repeat(10_000));
    assert!(conf.cut);
    assert!(conf.nameservers.len() < 4_000);
}

#[test]
fn reasons_say_different_things() {
    let texts: std::collections::HashSet<_> =
        IgnoredReason::ALL.iter().map(|reason| reason.describe()).collect();
    assert_eq!(texts.len(), IgnoredReason::ALL.len());
}

proptest! {
    #[test]
    fn any_bytes_are_read_and_quoted_safely(content in prop::collection::vec(any::<u8>(), 0..2000)) {
        let conf = ResolvConf::parse(&content);
        for ignored in &conf.ignored {
            prop_assert!(ignored.text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert!(ignored.line >= 1);
        }
    }

    #[test]
    fn any_lines_of_keywords_are_read(
        lines in prop::collection::vec(
            ("(nameserver|search|domain|options|sortlist|x)", "[ -~\\t]{0,60}"), 0..20)
    ) {
        let text: String = lines.iter().map(|(word, rest)| format!("{word} {rest}\n")).collect();
        let conf = parse(&text);
        for libc in [Libc::Glibc, Libc::Musl] {
            let effective = conf.effective(libc);
            prop_assert!(effective.nameservers.len() <= 3);
            prop_assert!(effective.ndots <= 15 && effective.timeout_seconds <= 60);
        }
    }
}
