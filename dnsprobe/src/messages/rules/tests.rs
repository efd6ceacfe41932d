//! Real messages, as the programs print them. Those marked "run" were printed
//! by the programs themselves (dig, host and nslookup 9.18, Busybox 1.35, curl
//! 7.88, wget 1.21, Python 3.11, Node.js 20, Go, OpenJDK 17, OpenSSH, git) in a
//! network namespace with a server that answers so, or with none.

use super::*;
use crate::messages::{
    Client::{self, *},
    MessageKind::{self, *},
};

/// Asserts kind, client, name and server (`-` for none) of each line.
fn expect(cases: &[(&str, MessageKind, Client, &str, &str)]) {
    for &(line, kind, client, name, server) in cases {
        let message = recognise(line).unwrap_or_else(|| panic!("not recognised: {line}"));
        assert_eq!((message.kind, message.client), (kind, client), "{line}");
        assert_eq!(message.name.as_deref().unwrap_or("-"), name, "{line}");
        let address = message.server.map_or_else(|| "-".to_owned(), |server| server.to_string());
        assert_eq!(address, server, "{line}");
    }
}

#[test]
fn every_row_of_the_catalogue_is_recognised() {
    expect(&[
        ("ping: nx.example: Name or service not known", NameNotKnown, Ping, "nx.example", "-"),
        ("curl: (6) Could not resolve host: nx.example", CouldNotResolve, Curl, "nx.example", "-"),
        (
            "PHP Warning:  php_network_getaddresses: getaddrinfo failed: Name or service not known in /a.php on line 1",
            NameNotKnown,
            Php,
            "-",
            "-",
        ),
        (
            "Warning: file_get_contents(): php_network_getaddresses: getaddrinfo for nx.example failed: Name or service not known",
            NameNotKnown,
            Php,
            "nx.example",
            "-",
        ),
        (
            "dial tcp: lookup nx.example on 10.96.0.10:53: no such host",
            NoSuchHost,
            Go,
            "nx.example",
            "10.96.0.10:53",
        ),
        (
            ";; ->>HEADER<<- opcode: QUERY, status: NXDOMAIN, id: 38734",
            Nxdomain,
            DigHostNslookup,
            "-",
            "-",
        ),
        (
            "lookup to.example on 10.96.0.10:53: read udp 10.244.0.9:37325->10.96.0.10:53: i/o timeout",
            ServerTimeout,
            Go,
            "to.example",
            "10.96.0.10:53",
        ),
        (
            ";; connection timed out; no servers could be reached",
            ServerTimeout,
            DigHostNslookup,
            "-",
            "-",
        ),
    ]);
}

#[test]
fn go_as_run() {
    expect(&[
        (
            "lookup nx.example on 127.0.0.1:53: no such host",
            NoSuchHost,
            Go,
            "nx.example",
            "127.0.0.1:53",
        ),
        (
            "Get \"http://sf.example/\": dial tcp: lookup sf.example on 127.0.0.1:53: server misbehaving",
            ServerMisbehaving,
            Go,
            "sf.example",
            "127.0.0.1:53",
        ),
        (
            "Get \"http://to.example/\": dial tcp: lookup to.example on 127.0.0.1:53: read udp 127.0.0.1:55713->127.0.0.1:53: i/o timeout",
            ServerTimeout,
            Go,
            "to.example",
            "127.0.0.1:53",
        ),
        (
            "lookup x.example on 127.0.0.1:53: read udp 127.0.0.1:54232->127.0.0.1:53: read: connection refused",
            ConnectionRefused,
            Go,
            "x.example",
            "127.0.0.1:53",
        ),
        ("lookup nx.example: no such host", NoSuchHost, Go, "nx.example", "-"),
        (
            "lookup sf.example: Temporary failure in name resolution",
            TemporaryFailure,
            Go,
            "sf.example",
            "-",
        ),
        (
            "lookup nd.example: No address associated with hostname",
            NoAddress,
            Go,
            "nd.example",
            "-",
        ),
    ]);
}

#[test]
fn go_over_ipv6_and_wrapped_by_kubectl() {
    expect(&[
        ("lookup a.b on [fd00::a]:53: no such host", NoSuchHost, Go, "a.b", "[fd00::a]:53"),
        ("lookup a.b: i/o timeout", ServerTimeout, Go, "a.b", "-"),
        (
            "Error from server: error dialing backend: dial tcp: lookup node-1 on 10.0.0.2:53: no such host",
            NoSuchHost,
            Go,
            "node-1",
            "10.0.0.2:53",
        ),
        (
            "E1123 10:00:00.0 1 memcache.go:265] couldn't get current server API group list: Get \"https://k:6443/api\": dial tcp: lookup k on 10.96.0.10:53: read udp 10.1.1.1:3->10.96.0.10:53: i/o timeout",
            ServerTimeout,
            Go,
            "k",
            "10.96.0.10:53",
        ),
    ]);
}

#[test]
fn dig_host_and_nslookup_as_run() {
    expect(&[
        (
            ";; ->>HEADER<<- opcode: QUERY, status: SERVFAIL, id: 55608",
            Servfail,
            DigHostNslookup,
            "-",
            "-",
        ),
        (
            ";; ->>HEADER<<- opcode: QUERY, status: REFUSED, id: 6681",
            Refused,
            DigHostNslookup,
            "-",
            "-",
        ),
        (";; no servers could be reached", ServerTimeout, DigHostNslookup, "-", "-"),
        (
            ";; communications error to 127.0.0.1#53: timed out",
            ServerTimeout,
            DigHostNslookup,
            "-",
            "127.0.0.1:53",
        ),
        (
            ";; communications error to 127.0.0.1#53: connection refused",
            ConnectionRefused,
            DigHostNslookup,
            "-",
            "127.0.0.1:53",
        ),
        ("Host nx.example not found: 3(NXDOMAIN)", Nxdomain, DigHostNslookup, "nx.example", "-"),
        ("Host sf.example not found: 2(SERVFAIL)", Servfail, DigHostNslookup, "sf.example", "-"),
        ("Host rf.example not found: 5(REFUSED)", Refused, DigHostNslookup, "rf.example", "-"),
        ("** server can't find nx.example: NXDOMAIN", Nxdomain, DigHostNslookup, "nx.example", "-"),
        ("** server can't find rf.example: REFUSED", Refused, DigHostNslookup, "rf.example", "-"),
        (";; Got SERVFAIL reply from 127.0.0.1", Servfail, DigHostNslookup, "-", "127.0.0.1:53"),
        ("*** Can't find nd.example: No answer", NoAddress, DigHostNslookup, "nd.example", "-"),
        (
            "nslookup: write to '127.0.0.1': Connection refused",
            ConnectionRefused,
            Busybox,
            "-",
            "127.0.0.1:53",
        ),
    ]);
}

#[test]
fn odd_answers_to_dig() {
    expect(&[
        (
            ";; reply from unexpected source: 10.244.0.3#53, expected 10.96.0.10#53",
            UnexpectedSource,
            DigHostNslookup,
            "-",
            "10.96.0.10:53",
        ),
        (";; Truncated, retrying in TCP mode.", Truncated, DigHostNslookup, "-", "-"),
    ]);
}

#[test]
fn clients_of_glibc_as_run() {
    expect(&[
        ("curl: (6) Could not resolve host: to.example", CouldNotResolve, Curl, "to.example", "-"),
        (
            "fatal: unable to access 'https://nx.example/x.git/': Could not resolve host: nx.example",
            CouldNotResolve,
            Curl,
            "nx.example",
            "-",
        ),
        (
            "Resolving nx.example (nx.example)... failed: Name or service not known.",
            NameNotKnown,
            Wget,
            "nx.example",
            "-",
        ),
        (
            "Resolving to.example (to.example)... failed: Temporary failure in name resolution.",
            TemporaryFailure,
            Wget,
            "to.example",
            "-",
        ),
        (
            "wget: unable to resolve host address ‘nx.example’",
            CouldNotResolve,
            Wget,
            "nx.example",
            "-",
        ),
        ("ping: bad address 'nx.example'", CouldNotResolve, Busybox, "nx.example", "-"),
        ("socket.gaierror: [Errno -2] Name or service not known", NameNotKnown, Python, "-", "-"),
        (
            "socket.gaierror: [Errno -3] Temporary failure in name resolution",
            TemporaryFailure,
            Python,
            "-",
            "-",
        ),
        (
            "socket.gaierror: [Errno -5] No address associated with hostname",
            NoAddress,
            Python,
            "-",
            "-",
        ),
        (
            "urllib.error.URLError: <urlopen error [Errno -2] Name or service not known>",
            NameNotKnown,
            Python,
            "-",
            "-",
        ),
        (
            "ssh: Could not resolve hostname nx.example: Name or service not known",
            NameNotKnown,
            Libc,
            "nx.example",
            "-",
        ),
        (
            "ssh: Could not resolve hostname to.example: Temporary failure in name resolution",
            TemporaryFailure,
            Libc,
            "to.example",
            "-",
        ),
        ("Name or service not known", NameNotKnown, Libc, "-", "-"),
    ]);
}

#[test]
fn java_and_node_as_run() {
    expect(&[
        (
            "Exception in thread \"main\" java.net.UnknownHostException: nx.example: Name or service not known",
            NameNotKnown,
            Java,
            "nx.example",
            "-",
        ),
        (
            "Exception in thread \"main\" java.net.UnknownHostException: to.example: Temporary failure in name resolution",
            TemporaryFailure,
            Java,
            "to.example",
            "-",
        ),
        (
            "Caused by: java.net.UnknownHostException: nx.example",
            CouldNotResolve,
            Java,
            "nx.example",
            "-",
        ),
        ("Error: getaddrinfo ENOTFOUND nx.example", NameNotKnown, NodeJs, "nx.example", "-"),
        ("Error: getaddrinfo EAI_AGAIN to.example", TemporaryFailure, NodeJs, "to.example", "-"),
        ("Error: queryA ENOTFOUND nx.example", NameNotKnown, NodeJs, "nx.example", "-"),
        ("Error: queryA ESERVFAIL sf.example", Servfail, NodeJs, "sf.example", "-"),
        ("Error: queryA EREFUSED rf.example", Refused, NodeJs, "rf.example", "-"),
        ("Error: queryA ENODATA nd.example", NoAddress, NodeJs, "nd.example", "-"),
        ("Error: queryA ECONNREFUSED x.example", ConnectionRefused, NodeJs, "x.example", "-"),
        ("Error: queryA ETIMEOUT to.example", ServerTimeout, NodeJs, "to.example", "-"),
    ]);
}

#[test]
fn clients_of_musl() {
    expect(&[
        ("socket.gaierror: [Errno -2] Name does not resolve", NameNotKnown, Python, "-", "-"),
        ("socket.gaierror: [Errno -3] Try again", TemporaryFailure, Python, "-", "-"),
        ("<urlopen error [Errno -3] Try again>", TemporaryFailure, Python, "-", "-"),
        ("ssh: Could not resolve hostname a.b: Try again", TemporaryFailure, Libc, "a.b", "-"),
        (
            "ssh: Could not resolve hostname a.b: Name does not resolve",
            NameNotKnown,
            Libc,
            "a.b",
            "-",
        ),
        ("nslookup: can't resolve 'a.b': Name does not resolve", NameNotKnown, Busybox, "a.b", "-"),
        (
            "nslookup: can't resolve '(null)': Name does not resolve",
            NameNotKnown,
            Busybox,
            "-",
            "-",
        ),
        (
            "php_network_getaddresses: getaddrinfo for a.b failed: Try again",
            TemporaryFailure,
            Php,
            "a.b",
            "-",
        ),
        ("java.net.UnknownHostException: a.b: Try again", TemporaryFailure, Java, "a.b", "-"),
        ("wget: bad address 'a.b'", CouldNotResolve, Busybox, "a.b", "-"),
        (
            "psql: error: could not translate host name \"a.b\" to address: Name has no usable address",
            NoAddress,
            Libc,
            "a.b",
            "-",
        ),
    ]);
}

#[test]
fn time_outs_of_other_resolvers() {
    expect(&[
        ("curl: (28) Resolving timed out after 5000 milliseconds", ServerTimeout, Curl, "-", "-"),
        (
            "io.netty.resolver.dns.DnsNameResolverTimeoutException: [/10.96.0.10:53] query '26814: a.b. A' via UDP timed out after 5000 milliseconds (no stack trace available)",
            ServerTimeout,
            Java,
            "a.b.",
            "10.96.0.10:53",
        ),
        (
            "java.net.UnknownHostException: Failed to resolve 'a.b' [A(1), AAAA(28)] after 2 queries",
            CouldNotResolve,
            Java,
            "a.b",
            "-",
        ),
        ("ping: unknown host a.b", CouldNotResolve, Ping, "a.b", "-"),
    ]);
}

#[test]
fn corednss_log() {
    expect(&[
        (
            "[ERROR] plugin/errors: 2 a.example. A: read udp 10.244.0.2:43512->8.8.8.8:53: i/o timeout",
            UpstreamTimeout,
            CoreDns,
            "a.example.",
            "8.8.8.8:53",
        ),
        (
            "[pod/coredns-5d78c9869d-x/coredns] 2024-01-01T00:00:00.0Z [ERROR] plugin/errors: 2 a.example. AAAA: read udp [fd00::2]:43512->[fd00::53]:53: i/o timeout",
            UpstreamTimeout,
            CoreDns,
            "a.example.",
            "[fd00::53]:53",
        ),
        (
            "2019/01/01 00:00:00 [ERROR] 2 a.example. A: unreachable backend: read udp 10.2.0.4:34->8.8.8.8:53: i/o timeout",
            UpstreamTimeout,
            CoreDns,
            "a.example.",
            "8.8.8.8:53",
        ),
        (
            "[ERROR] plugin/errors: 2 a.example. A: dial tcp 8.8.8.8:53: i/o timeout",
            UpstreamTimeout,
            CoreDns,
            "a.example.",
            "8.8.8.8:53",
        ),
        (
            "[ERROR] plugin/errors: 2 a.example. A: read udp 10.0.0.1:1->10.0.0.2:53: read: connection refused",
            UpstreamConnectionRefused,
            CoreDns,
            "a.example.",
            "10.0.0.2:53",
        ),
        (
            "[ERROR] plugin/errors: 2 a.example. A: write udp 10.0.0.1:1->10.0.0.2:53: write: operation not permitted",
            UpstreamUnreachable,
            CoreDns,
            "a.example.",
            "10.0.0.2:53",
        ),
        (
            "[INFO] 172.20.2.25:44525 - 36259 \"A IN a.default.svc.cluster.local. udp 56 false 512\" NXDOMAIN qr,aa,rd 110 0.000116946s",
            Nxdomain,
            CoreDns,
            "a.default.svc.cluster.local.",
            "-",
        ),
        (
            "W1123 10:00:00.000000       1 reflector.go:535] pkg/mod/k8s.io/client-go@v0.28.3/tools/cache/reflector.go:229: failed to list *v1.Namespace: Get \"https://10.96.0.1:443/api/v1/namespaces?limit=500\": dial tcp 10.96.0.1:443: connect: connection refused",
            ApiServerConnectionRefused,
            CoreDns,
            "-",
            "10.96.0.1:443",
        ),
        (
            "E1123 10:00:00.0 1 reflector.go:127] pkg/mod/k8s.io/client-go@v0.19.2/tools/cache/reflector.go:156: Failed to watch *v1.Service: failed to list *v1.Service: Get \"https://10.96.0.1:443/api/v1/services\": net/http: TLS handshake timeout",
            ApiServerTimeout,
            CoreDns,
            "-",
            "10.96.0.1:443",
        ),
        (
            "[WARNING] plugin/kubernetes: starting server with unsynced Kubernetes API",
            NotReady,
            CoreDns,
            "-",
            "-",
        ),
        (
            "[  12.3] nf_conntrack: nf_conntrack: table full, dropping packet",
            ConntrackTableFull,
            Kernel,
            "-",
            "-",
        ),
    ]);
}

#[test]
fn an_unknown_directive_is_named() {
    let line = "/etc/coredns/Corefile:9 - Error during parsing: Unknown directive 'autopaht'";
    assert_eq!(recognise(line).unwrap().directive.as_deref(), Some("autopaht"));
}

#[test]
fn what_only_resembles_a_message_is_none() {
    for line in [
        "",
        "command terminated with exit code 1",
        "Defaulted container \"app\" out of: app, sidecar",
        "[INFO] 172.20.2.25:44525 - 36259 \"A IN a. udp 56 false 512\" NOERROR qr,aa,rd 110 0.000116946s",
        "[INFO] plugin/reload: Running configuration SHA512 = 1",
        ";; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 1",
        "dial tcp 10.0.0.1:443: i/o timeout",
        "connect: connection refused",
        "wrong password: Try again",
        "please Try again",
        "reading file: Try again later",
        "lookup table: no such entry",
        "failed to watch the film",
        "HTTP query took long; request timed out after 5 s",
        "File not found: a(b)",
        "error: page not found: 3(x)",
        "neighbour: arp_cache: neighbor table overflow!",
        "nat table full, dropping packet",
    ] {
        assert_eq!(recognise(line), None, "{line}");
    }
}

#[test]
fn the_next_command_is_filled_in_where_that_is_safe() {
    let next = |line| recognise(line).unwrap().next();
    assert_eq!(
        next("[ERROR] plugin/errors: 2 a.example. A: read udp 10.0.0.1:1->8.8.8.8:53: i/o timeout"),
        "dnsprobe query a.example. --pod COREDNS-POD --server 8.8.8.8"
    );
    assert_eq!(
        next("curl: (6) Could not resolve host: $(reboot)"),
        "dnsprobe query NAME --pod POD"
    );
    assert_eq!(next("curl: (6) Could not resolve host: -o"), "dnsprobe query NAME --pod POD");
}
