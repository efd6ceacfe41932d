//! The one answer to "whose query was this?".

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

use super::Workload;

/// Why a query could not be attributed. Counted, never guessed around.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnattributedReason {
    /// The kernel named neither a cgroup nor a network namespace.
    NoCgroup,
    /// The cgroup was deleted before it could be looked up.
    CgroupGone,
    /// The cgroup says nothing and the process is gone or was never known.
    ProcessGone,
    /// The cgroup says nothing and the network namespace is shared by owners
    /// that cannot be told apart.
    SharedNamespace,
    /// More owners at once than are kept.
    TooManyOwners,
    /// The recording that is replayed does not tell.
    NotRecorded,
}

impl UnattributedReason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::NoCgroup,
        Self::CgroupGone,
        Self::ProcessGone,
        Self::SharedNamespace,
        Self::TooManyOwners,
        Self::NotRecorded,
    ];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCgroup => "no-cgroup",
            Self::CgroupGone => "cgroup-gone",
            Self::ProcessGone => "process-gone",
            Self::SharedNamespace => "shared-namespace",
            Self::TooManyOwners => "too-many-owners",
            Self::NotRecorded => "not-recorded",
        }
    }
}

impl fmt::Display for UnattributedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is known of a pod beyond its name. Not part of who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodDetails {
    /// The container's name in the pod; `None` when it is not known or several
    /// containers are meant.
    pub container_name: Option<String>,
    /// What made the pod; `None` when nothing tells.
    pub workload: Option<Workload>,
}

/// Who a query, an answer or a loss belongs to.
///
/// Owners are equal when they are the same pod or the same container, whatever
/// is known of its name and whichever of a pod's containers spoke. All text is
/// safe to print.
#[derive(Clone, Debug)]
pub enum Owner {
    /// A pod.
    Pod {
        /// Its namespace; `None` while the kubelet's directories do not tell.
        namespace: Option<String>,
        /// Its name; `None` as for the namespace.
        pod: Option<String>,
        /// The container's id; `None` when the socket is the pod's own or
        /// several containers are meant.
        container: Option<String>,
        /// Its UID, with dashes; for a static pod 32 hex digits.
        uid: String,
        /// What else is known.
        details: PodDetails,
    },
    /// A container outside any pod, as Docker and Podman make them.
    Container {
        /// Its id, 64 hexadecimal digits.
        id: String,
        /// Its name; `None` while the runtime's files do not tell.
        name: Option<String>,
    },
    /// A process outside any pod.
    Host {
        /// Its systemd unit or, where it has none, its command.
        name: String,
    },
    /// Nobody that could be proven.
    Unattributed {
        /// Why.
        reason: UnattributedReason,
    },
}

impl Owner {
    /// What identifies the owner: the kind and one name.
    fn key(&self) -> (u8, &str) {
        match self {
            Self::Pod { uid, .. } => (0, uid),
            Self::Host { name } => (1, name),
            Self::Unattributed { reason } => (2, reason.as_str()),
            Self::Container { id, .. } => (3, id),
        }
    }

    /// The container's name: of a pod's container, or of one outside pods.
    #[must_use]
    pub fn container_name(&self) -> Option<&str> {
        match self {
            Self::Pod { details, .. } => details.container_name.as_deref(),
            Self::Container { name, .. } => name.as_deref(),
            Self::Host { .. } | Self::Unattributed { .. } => None,
        }
    }

    /// What made the pod.
    #[must_use]
    pub fn workload(&self) -> Option<&Workload> {
        match self {
            Self::Pod { details, .. } => details.workload.as_ref(),
            Self::Container { .. } | Self::Host { .. } | Self::Unattributed { .. } => None,
        }
    }

    /// `namespace/pod`, `pod/uid` while the name is unknown, `container/name` or
    /// `container/` and the id's first 12 digits, `host/unit`, or `unattributed`.
    fn label(&self) -> String {
        let (kind, name) = match self {
            Self::Pod { namespace: Some(namespace), pod: Some(pod), .. } => {
                (namespace.as_str(), pod.as_str())
            }
            Self::Pod { uid, .. } => ("pod", uid.as_str()),
            Self::Container { name: Some(name), .. } => ("container", name.as_str()),
            Self::Container { id, .. } => ("container", id.get(..12).unwrap_or(id)),
            Self::Host { name } => ("host", name.as_str()),
            Self::Unattributed { .. } => return "unattributed".to_owned(),
        };
        // Every owner is shown at each reading, and `format!` takes three times as long.
        [kind, "/", name].concat()
    }

    /// Whether this is nobody.
    #[must_use]
    pub const fn is_unattributed(&self) -> bool {
        matches!(self, Self::Unattributed { .. })
    }
}

impl PartialEq for Owner {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Owner {}

impl PartialOrd for Owner {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Owner {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl Hash for Owner {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl fmt::Display for Owner {
    /// The label.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.label())
    }
}

impl Serialize for Owner {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Pod { namespace, pod, container, uid, details } => {
                map.serialize_entry("kind", "pod")?;
                map.serialize_entry("namespace", namespace)?;
                map.serialize_entry("pod", pod)?;
                map.serialize_entry("container", container)?;
                map.serialize_entry("container_name", &details.container_name)?;
                map.serialize_entry("uid", uid)?;
                map.serialize_entry("workload", &details.workload)?;
            }
            Self::Container { id, name } => {
                map.serialize_entry("kind", "container")?;
                map.serialize_entry("name", name)?;
                map.serialize_entry("id", id)?;
            }
            Self::Host { name } => {
                map.serialize_entry("kind", "host")?;
                map.serialize_entry("name", name)?;
            }
            Self::Unattributed { reason } => {
                map.serialize_entry("kind", "unattributed")?;
                map.serialize_entry("reason", reason.as_str())?;
            }
        }
        map.serialize_entry("label", &self.label())?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Owner {
    /// Reads what [`Owner`] is serialised as.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            kind: String,
            namespace: Option<String>,
            pod: Option<String>,
            container: Option<String>,
            uid: Option<String>,
            name: Option<String>,
            id: Option<String>,
            reason: Option<String>,
            container_name: Option<String>,
            workload: Option<Workload>,
        }
        let fields = Fields::deserialize(deserializer)?;
        let (namespace, pod, container) = (fields.namespace, fields.pod, fields.container);
        let details =
            PodDetails { container_name: fields.container_name, workload: fields.workload };
        if let ("container", Some(id)) = (fields.kind.as_str(), fields.id) {
            return Ok(Self::Container { id, name: fields.name });
        }
        match (fields.kind.as_str(), fields.uid, fields.name, fields.reason) {
            ("pod", Some(uid), ..) => Ok(Self::Pod { namespace, pod, container, uid, details }),
            ("host", _, Some(name), _) => Ok(Self::Host { name }),
            ("unattributed", .., Some(name)) => {
                let known = UnattributedReason::ALL.into_iter().find(|r| r.as_str() == name);
                Ok(Self::Unattributed { reason: known.unwrap_or(UnattributedReason::NotRecorded) })
            }
            _ => Err(de::Error::custom("not an owner")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::identity::{WorkloadKind, WorkloadSource};

    fn pod(name: Option<&str>, container: Option<&str>) -> Owner {
        Owner::Pod {
            namespace: name.map(|_| "shop".to_owned()),
            pod: name.map(str::to_owned),
            container: container.map(str::to_owned),
            uid: "u-1".to_owned(),
            details: PodDetails::default(),
        }
    }

    #[test]
    fn each_kind_has_its_keys_and_a_label() {
        let json = |owner: &Owner| serde_json::to_string(owner).unwrap();
        assert_eq!(
            json(&pod(Some("cart-0"), Some("ab"))),
            r#"{"kind":"pod","namespace":"shop","pod":"cart-0","container":"ab","container_name":null,"uid":"u-1","workload":null,"label":"shop/cart-0"}"#
        );
        assert_eq!(
            json(&pod(None, None)),
            r#"{"kind":"pod","namespace":null,"pod":null,"container":null,"container_name":null,"uid":"u-1","workload":null,"label":"pod/u-1"}"#
        );
        assert_eq!(
            json(&Owner::Host { name: "sshd.service".to_owned() }),
            r#"{"kind":"host","name":"sshd.service","label":"host/sshd.service"}"#
        );
        assert_eq!(
            json(&Owner::Unattributed { reason: UnattributedReason::CgroupGone }),
            r#"{"kind":"unattributed","reason":"cgroup-gone","label":"unattributed"}"#
        );
    }

    #[test]
    fn a_container_outside_pods_goes_by_its_name_or_a_part_of_its_id() {
        let id = "0123456789abcdef".repeat(4);
        let unnamed = Owner::Container { id: id.clone(), name: None };
        assert_eq!(unnamed.to_string(), "container/0123456789ab");
        let named = Owner::Container { id: id.clone(), name: Some("web".to_owned()) };
        assert_eq!(
            serde_json::to_string(&named).unwrap(),
            format!(r#"{{"kind":"container","name":"web","id":"{id}","label":"container/web"}}"#)
        );
        assert_eq!(named, unnamed);
        assert_eq!(named.container_name(), Some("web"));
    }

    #[test]
    fn an_owner_reads_back_from_what_it_is_written_as() {
        for owner in [
            pod(Some("cart-0"), Some("ab")),
            pod(None, None),
            Owner::Pod {
                namespace: None,
                pod: None,
                container: None,
                uid: "u-2".to_owned(),
                details: PodDetails {
                    container_name: Some("app".to_owned()),
                    workload: Some(Workload {
                        kind: WorkloadKind::Job,
                        name: "backup".to_owned(),
                        source: WorkloadSource::PodName,
                    }),
                },
            },
            Owner::Container { id: "ab".repeat(32), name: Some("web".to_owned()) },
            Owner::Host { name: "sshd.service".to_owned() },
            Owner::Unattributed { reason: UnattributedReason::ProcessGone },
        ] {
            let text = serde_json::to_string(&owner).unwrap();
            let again: Owner = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&again).unwrap(), text);
        }
        assert!(serde_json::from_str::<Owner>(r#"{"kind":"pod"}"#).is_err());
    }

    #[test]
    fn a_pod_is_the_same_whichever_container_speaks_and_whatever_is_known_of_it() {
        assert_eq!(pod(Some("cart-0"), Some("ab")), pod(None, Some("cd")));
        assert_ne!(pod(None, None), Owner::Host { name: "u-1".to_owned() });
    }

    #[test]
    fn reasons_have_names_of_their_own() {
        let names: HashSet<_> = UnattributedReason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(names.len(), UnattributedReason::ALL.len());
    }
}
