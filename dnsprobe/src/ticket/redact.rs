//! Hides names and addresses: each becomes a hash under a key that is made for
//! the ticket and thrown away, so that the same one is the same all through one
//! ticket, and nobody can try out guesses.

use std::{collections::BTreeSet, net::IpAddr};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::Case;
use crate::identity::Owner;

/// What is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Redact {
    /// Names asked for, of pods, namespaces, processes and the node.
    Names,
    /// IP addresses.
    Addresses,
}

/// Keys of JSON objects whose text is a name.
const NAME_KEYS: [&str; 9] =
    ["name", "namespace", "pod", "container", "uid", "label", "command", "node", "workload"];

/// Hides what it was told to.
pub struct Redactor {
    names: bool,
    addresses: bool,
    key: [u8; 32],
    /// Names that cannot be told from other words: labels of owners, the node,
    /// names of one label.
    known: Vec<String>,
}

impl Redactor {
    /// With a key of 256 random bits.
    #[must_use]
    pub fn new(what: &[Redact], key: [u8; 32]) -> Self {
        Self {
            names: what.contains(&Redact::Names),
            addresses: what.contains(&Redact::Addresses),
            key,
            known: Vec::new(),
        }
    }

    /// Whether addresses are hidden.
    #[must_use]
    pub fn hides_addresses(&self) -> bool {
        self.addresses
    }

    /// Whether anything is hidden.
    #[must_use]
    pub fn hides(&self) -> bool {
        self.names || self.addresses
    }

    /// Learns the names of a case.
    pub(super) fn learn(&mut self, case: &Case) {
        if !self.names {
            return;
        }
        let mut known = BTreeSet::from([case.header.node.clone()]);
        let mut owner = |owner: &Owner| {
            known.insert(owner.to_string());
            match owner {
                Owner::Pod { namespace, pod, uid, details, .. } => {
                    known.extend(namespace.iter().chain(pod).cloned().chain([uid.clone()]));
                    known.extend(details.container_name.clone());
                    known.extend(details.workload.as_ref().map(|workload| workload.name.clone()));
                }
                Owner::Container { id, name } => {
                    known.extend(name.iter().cloned().chain([id.clone()]));
                }
                Owner::Host { name } => _ = known.insert(name.clone()),
                Owner::Unattributed { .. } => {}
            }
        };
        case.snapshot.pods.iter().for_each(|pod| owner(&pod.owner));
        let verdicts = case.collected.verdicts();
        verdicts.iter().for_each(|verdict| owner(&verdict.owner));
        verdicts.iter().filter_map(|v| v.sibling.as_ref()).for_each(|other| owner(&other.owner));
        let findings = &case.diagnosis.findings;
        findings.iter().flat_map(|finding| &finding.pods).for_each(|pod| owner(&pod.owner));
        for verdict in verdicts {
            known.extend(verdict.query.command.clone());
            known.extend(verdict.query.question.as_ref().map(|q| q.name.to_string()));
        }
        let servers = case.snapshot.pods.iter().flat_map(|pod| &pod.servers);
        known.extend(servers.filter_map(|server| server.remote.as_ref()).flat_map(|r| r.names()));
        known.extend(case.collected.remote_names().cloned());
        known.extend(findings.iter().flat_map(|finding| &finding.items).map(|i| i.what.clone()));
        known.extend(findings.iter().filter_map(|finding| finding.subject.clone()));
        self.known = known.into_iter().filter(|name| name.len() > 1).collect();
        // A name that is a part of another must not hide half of it.
        self.known.sort_by_key(|name| std::cmp::Reverse(name.len()));
    }

    /// Hides them in a text.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if self.names {
            for name in &self.known {
                text = self.replace_word(&text, name);
            }
        }
        if !self.hides() {
            return text;
        }
        let mut hidden = String::with_capacity(text.len());
        let is_part = |c: char| c.is_ascii_alphanumeric() || "._-:\\%".contains(c);
        let mut rest = text.as_str();
        while let Some(start) = rest.find(is_part) {
            hidden += &rest[..start];
            rest = &rest[start..];
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            hidden += &self.token(&rest[..end]);
            rest = &rest[end..];
        }
        hidden + rest
    }

    /// Hides them in every text of a JSON value.
    pub fn json(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.json(item)),
            Value::Object(fields) => {
                for (key, field) in fields {
                    match field {
                        Value::String(text) if self.names && NAME_KEYS.contains(&key.as_str()) => {
                            *text = self.hash("name", text);
                        }
                        field => self.json(field),
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A run of characters that addresses and names are made of.
    fn token(&self, token: &str) -> String {
        if self.addresses
            && let Some(hidden) = self.address(token)
        {
            return hidden;
        }
        if self.names && is_domain(token) { self.hash("name", token) } else { token.to_owned() }
    }

    /// An address with or without a port or a full stop behind it.
    fn address(&self, token: &str) -> Option<String> {
        let bare = token.trim_end_matches(['.', ':']);
        let behind = &token[bare.len()..];
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Some(self.hash("ip", &address.to_string()) + behind);
        }
        // `[v6]:port` comes in pieces: brackets are no part of a token.
        let (address, port) = bare.rsplit_once(':')?;
        let address: IpAddr = address.parse().ok()?;
        Some(format!("{}:{port}{behind}", self.hash("ip", &address.to_string())))
    }

    fn replace_word(&self, text: &str, word: &str) -> String {
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        let mut replaced = String::with_capacity(text.len());
        let mut rest = text;
        let mut before = None;
        while let Some(at) = rest.find(word) {
            let end = at + word.len();
            let left = rest[..at].chars().next_back().or(before);
            let stands_alone = !is_word(left) && !is_word(rest[end..].chars().next());
            replaced += &rest[..at];
            replaced += &if stands_alone { self.hash("name", word) } else { word.to_owned() };
            before = word.chars().next_back();
            rest = &rest[end..];
        }
        replaced + rest
    }

    fn hash(&self, kind: &str, text: &str) -> String {
        // A key of any length is one.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else {
            return format!("{kind}-hidden");
        };
        mac.update(text.trim_end_matches('.').to_ascii_lowercase().as_bytes());
        let bytes = mac.finalize().into_bytes();
        let digits: String = bytes[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{kind}-{digits}")
    }
}

/// Whether it is written as dnsprobe writes domain names: at least two labels,
/// with a dot at the end.
fn is_domain(token: &str) -> bool {
    let Some(name) = token.strip_suffix('.') else { return false };
    let mut labels = name.split('.');
    labels.clone().count() >= 2
        && labels.all(|label| !label.is_empty())
        && name.chars().any(|c| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn redactor(what: &[Redact]) -> Redactor {
        let known = ["shop/cart-0", "cart-0", "shop"].map(str::to_owned).to_vec();
        Redactor { known, ..Redactor::new(what, [7; 32]) }
    }

    #[test]
    fn the_same_address_is_the_same_hash_with_and_without_its_port() {
        let hide = redactor(&[Redact::Addresses]);
        let text = hide.text("udp 10.0.0.1:53 -> [fd00::1]:4000, 10.0.0.1.");
        let hash = hide.hash("ip", "10.0.0.1");
        assert!(text.starts_with(&format!("udp {hash}:53 -> [ip-")), "{text}");
        assert!(text.ends_with(&format!(", {hash}.")), "{text}");
        assert!(!text.contains("10.0") && !text.contains("fd00"), "{text}");
    }

    #[test]
    fn names_are_hidden_wherever_they_stand() {
        let hide = redactor(&[Redact::Names]);
        let text = hide.text("race.test.svc. A of shop/cart-0 at 10.0.0.1:53; workshop stays");
        assert!(!text.contains("race") && !text.contains("cart-0"), "{text}");
        assert!(text.contains("10.0.0.1:53") && text.contains("workshop"), "{text}");
        let mut value = json!({ "name": "x.", "namespace": "shop", "cause": "policy-drop" });
        hide.json(&mut value);
        assert_eq!(value["cause"], "policy-drop");
        assert_eq!(value["namespace"], hide.hash("name", "shop"));
    }

    #[test]
    fn another_ticket_has_other_hashes() {
        let one = Redactor::new(&[Redact::Addresses], [1; 32]).text("10.0.0.1");
        assert_ne!(one, Redactor::new(&[Redact::Addresses], [2; 32]).text("10.0.0.1"));
    }

    #[test]
    fn nothing_is_hidden_unasked() {
        let text = "race.test.svc. 10.0.0.1:53 cart-0";
        assert_eq!(redactor(&[]).text(text), text);
    }

    proptest! {
        #[test]
        fn no_address_is_left(a in any::<[u8; 4]>(), text in "[ a-z0-9.:/,\\[\\]-]{0,40}") {
            let address = std::net::Ipv4Addr::from(a).to_string();
            let hidden = redactor(&[Redact::Addresses]).text(&format!("{text} {address} x"));
            let left = hidden.split(' ').any(|word| word == address);
            prop_assert!(!left, "{}", hidden);
        }
    }
}
