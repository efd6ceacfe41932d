//! Kernel modules whose functions are hooked or whose structs are read: their types.

use super::{
    btf::{Btf, BtfError},
    targets::Target,
};

const MODULES: [&str; 3] = ["nf_conntrack", "nf_nat", "ip_vs"];

/// The types of each module that is in use on this node and not built in.
pub(crate) struct Modules<'vmlinux>(Vec<(&'static str, Result<Btf<'vmlinux>, BtfError>)>);

impl<'vmlinux> Modules<'vmlinux> {
    /// Reads the types of every module. Never fails: a module without types is one
    /// with an error.
    pub(crate) fn read(vmlinux: &'vmlinux Btf<'vmlinux>) -> Self {
        Self(MODULES.into_iter().map(|name| (name, Btf::module(name, vmlinux))).collect())
    }

    /// A module's types; `None` for a module that is none of those read.
    pub(crate) fn types(&self, name: &str) -> Option<Result<&Btf<'vmlinux>, &BtfError>> {
        self.0.iter().find(|(module, _)| *module == name).map(|(_, types)| types.as_ref())
    }

    /// The function of that name in one of them.
    pub(crate) fn function(&self, name: &str) -> Option<Target> {
        self.0.iter().find_map(|(module, types)| {
            let id = types.as_ref().ok()?.function_id(name)?;
            Some(Target { id, module: Some(module) })
        })
    }
}
