//! Who wrote a message.

use std::fmt;

use serde::{Serialize, Serializer};

/// A program, or a family of programs that say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// ping.
    Ping,
    /// curl, and what is built on libcurl, such as git.
    Curl,
    /// wget.
    Wget,
    /// PHP.
    Php,
    /// Python.
    Python,
    /// Java, and what runs on its virtual machine.
    Java,
    /// Node.js.
    NodeJs,
    /// Go.
    Go,
    /// dig, host or nslookup.
    DigHostNslookup,
    /// Busybox.
    Busybox,
    /// CoreDNS.
    CoreDns,
    /// The kernel's log.
    Kernel,
    /// Any program that asks through the C library.
    Libc,
}

impl Client {
    /// Every client.
    pub const ALL: [Self; 13] = [
        Self::Ping,
        Self::Curl,
        Self::Wget,
        Self::Php,
        Self::Python,
        Self::Java,
        Self::NodeJs,
        Self::Go,
        Self::DigHostNslookup,
        Self::Busybox,
        Self::CoreDns,
        Self::Kernel,
        Self::Libc,
    ];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Curl => "curl",
            Self::Wget => "wget",
            Self::Php => "php",
            Self::Python => "python",
            Self::Java => "java",
            Self::NodeJs => "nodejs",
            Self::Go => "go",
            Self::DigHostNslookup => "dig-host-nslookup",
            Self::Busybox => "busybox",
            Self::CoreDns => "coredns",
            Self::Kernel => "kernel",
            Self::Libc => "libc",
        }
    }
}

impl fmt::Display for Client {
    /// For people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Php => "PHP",
            Self::Python => "Python",
            Self::Java => "Java",
            Self::NodeJs => "Node.js",
            Self::Go => "Go",
            Self::DigHostNslookup => "dig, host or nslookup",
            Self::Busybox => "Busybox",
            Self::CoreDns => "CoreDNS",
            Self::Kernel => "the kernel",
            Self::Libc => "a program, from its C library",
            Self::Ping | Self::Curl | Self::Wget => self.as_str(),
        })
    }
}

impl Serialize for Client {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::Client;

    #[test]
    fn clients_have_names_of_their_own() {
        let names: HashSet<_> = Client::ALL.iter().map(|client| client.as_str()).collect();
        assert_eq!(names.len(), Client::ALL.len());
    }
}
