//! What tracing programs are attached to: the BTF ids of functions and tracepoints.

use std::collections::{HashMap, HashSet};

use super::{btf::Btf, modules::Modules};

/// Ids by name.
pub(crate) struct Targets {
    functions: HashMap<String, Target>,
    tracepoints: HashMap<String, Target>,
}

/// A function, or the type that stands for a tracepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// BTF id; that of a module's function is counted from the kernel's own types.
    pub(crate) id: u32,
    /// The module it is in; `None`: the kernel itself.
    pub(crate) module: Option<&'static str>,
}

impl Targets {
    /// Looks the names up in the kernel and its modules.
    pub(crate) fn of(
        vmlinux: &Btf<'_>,
        modules: &Modules<'_>,
        functions: &HashSet<&str>,
        tracepoints: &HashSet<&str>,
    ) -> Self {
        let own = |id| Target { id, module: None };
        let function =
            |name: &str| vmlinux.function_id(name).map(own).or_else(|| modules.function(name));
        let all = |names: &HashSet<&str>, find: &dyn Fn(&str) -> Option<Target>| {
            names.iter().filter_map(|name| Some(((*name).to_owned(), find(name)?))).collect()
        };
        Self {
            functions: all(functions, &function),
            tracepoints: all(tracepoints, &|name| vmlinux.tracepoint_id(name).map(own)),
        }
    }

    pub(crate) fn function(&self, name: &str) -> Option<Target> {
        self.functions.get(name).copied()
    }

    pub(crate) fn tracepoint(&self, name: &str) -> Option<Target> {
        self.tracepoints.get(name).copied()
    }
}
