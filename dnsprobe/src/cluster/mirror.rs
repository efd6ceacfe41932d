//! What is kept of one kind of object: made from a list, kept up to date by the
//! events of a watch. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{client::ClientError, object::Meta};

/// Characters kept of an error that the server reports.
const MESSAGE_CHARS: usize = 200;

/// A kind of object that is watched.
pub(super) trait Kind: DeserializeOwned {
    /// What is kept of one.
    type Kept;
    /// The most that are kept; further ones are left out.
    const MOST: usize;

    fn meta(&self) -> &Meta;
}

/// The objects of a kind, by namespace and name.
#[derive(Debug)]
pub(super) struct Mirror<K: Kind> {
    kept: BTreeMap<(String, String), K::Kept>,
    /// Where a watch goes on from; empty before the first list.
    version: String,
    left_out: u64,
}

/// An event of a watch.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

impl<K: Kind> Mirror<K> {
    pub(super) fn new() -> Self {
        Self { kept: BTreeMap::new(), version: String::new(), left_out: 0 }
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = (&(String, String), &K::Kept)> {
        self.kept.iter()
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Objects for which there was no room.
    pub(super) const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Takes in an object; `None` is kept of one that is of no interest.
    pub(super) fn put(&mut self, object: &K, keep: impl Fn(&K) -> Option<K::Kept>) {
        let meta = object.meta();
        let key = (meta.namespace.clone(), meta.name.clone());
        match keep(object) {
            Some(kept) if self.kept.len() < K::MOST || self.kept.contains_key(&key) => {
                self.kept.insert(key, kept);
            }
            Some(_) => self.left_out += 1,
            None => drop(self.kept.remove(&key)),
        }
    }

    /// A list is complete: watches go on from there.
    pub(super) fn listed(&mut self, version: String) {
        self.version = version;
    }

    /// Takes in a line of a watch; whether an object came, went or changed.
    ///
    /// # Errors
    /// When the line is no event, or one that ends the watch.
    pub(super) fn event(
        &mut self,
        line: &[u8],
        keep: impl Fn(&K) -> Option<K::Kept>,
    ) -> Result<bool, ClientError> {
        const GONE: u64 = 410;
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(false);
        }
        let Event { kind, object } = serde_json::from_slice(line).map_err(ClientError::Garbage)?;
        match kind.as_str() {
            "ADDED" | "MODIFIED" => {
                let object: K = serde_json::from_value(object).map_err(ClientError::Garbage)?;
                self.put(&object, keep);
                self.version.clone_from(&object.meta().resource_version);
                Ok(true)
            }
            "DELETED" => {
                let object: K = serde_json::from_value(object).map_err(ClientError::Garbage)?;
                let meta = object.meta();
                self.kept.remove(&(meta.namespace.clone(), meta.name.clone()));
                self.version.clone_from(&meta.resource_version);
                Ok(true)
            }
            "BOOKMARK" => {
                if let Some(version) = object["metadata"]["resourceVersion"].as_str() {
                    version.clone_into(&mut self.version);
                }
                Ok(false)
            }
            "ERROR" if object["code"].as_u64() == Some(GONE) => Err(ClientError::Gone),
            "ERROR" => {
                let message = object["message"].as_str().unwrap_or("without a message");
                let message: String = message.chars().take(MESSAGE_CHARS).collect();
                Err(ClientError::Reported(crate::identity::escape(message.as_bytes())))
            }
            // A later API may have further ones.
            _ => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::object::Service;

    fn names(mirror: &Mirror<Service>) -> Vec<String> {
        mirror.objects().map(|((_, name), _)| name.clone()).collect()
    }

    fn event(kind: &str, name: &str, version: &str) -> Vec<u8> {
        format!(
            r#"{{"type":"{kind}","object":{{"metadata":{{"name":"{name}","namespace":"n","resourceVersion":"{version}"}}}}}}"#
        )
        .into_bytes()
    }

    #[test]
    fn events_change_what_is_kept_and_where_a_watch_goes_on() {
        let mut mirror: Mirror<Service> = Mirror::new();
        let mut take = |line: &[u8]| {
            let changed = mirror.event(line, |_| Some(Vec::new()));
            (changed.ok(), names(&mirror), mirror.version().to_owned())
        };
        let one = |name: &str| vec![name.to_owned()];
        assert_eq!(take(&event("ADDED", "a", "5")), (Some(true), one("a"), "5".into()));
        assert_eq!(take(&event("MODIFIED", "a", "6")), (Some(true), one("a"), "6".into()));
        assert_eq!(take(&event("BOOKMARK", "", "9")), (Some(false), one("a"), "9".into()));
        assert_eq!(take(&event("LATER", "b", "10")), (Some(false), one("a"), "9".into()));
        assert_eq!(take(b" "), (Some(false), one("a"), "9".into()));
        assert_eq!(take(&event("DELETED", "a", "11")), (Some(true), Vec::new(), "11".into()));
        for garbage in
            [&b"{"[..], b"[]", b"null", b"{\"type\":7}", b"{\"type\":\"ADDED\",\"object\":7}"]
        {
            assert_eq!(take(garbage).0, None);
        }
    }

    #[test]
    fn an_error_event_ends_the_watch_and_410_wants_a_new_list() {
        let mut mirror: Mirror<Service> = Mirror::new();
        let mut take =
            |text: &str| mirror.event(text.as_bytes(), |_| Some(Vec::new())).unwrap_err();
        let gone = r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}"#;
        assert!(matches!(take(gone), ClientError::Gone));
        let other = r#"{"type":"ERROR","object":{"code":500,"message":"etcd\u001b is gone"}}"#;
        assert_eq!(take(other).to_string(), r"it reported an error: etcd\027 is gone");
    }

    #[test]
    fn what_is_of_no_interest_goes_and_there_is_a_limit() {
        let mut mirror: Mirror<Service> = Mirror::new();
        mirror.event(&event("ADDED", "a", "1"), |_| Some(Vec::new())).unwrap();
        mirror.event(&event("MODIFIED", "a", "2"), |_| None).unwrap();
        assert!(names(&mirror).is_empty());
        for number in 0..=Service::MOST {
            let line = event("ADDED", &format!("s{number}"), "3");
            mirror.event(&line, |_| Some(Vec::new())).unwrap();
        }
        assert_eq!((mirror.objects().count(), mirror.left_out()), (Service::MOST, 1));
    }

    proptest! {
        #[test]
        fn arbitrary_lines_never_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut mirror: Mirror<Service> = Mirror::new();
            let _ = mirror.event(&line, |_| Some(Vec::new()));
        }
    }
}
