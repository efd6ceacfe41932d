//! Kernel modules whose functions are hooked or whose structs are read: their types.

use std::{fs, path::Path};

use super::{
    btf::{Btf, BtfError},
    targets::Target,
};

const MODULES: [&str; 3] = ["nf_conntrack", "nf_nat", "ip_vs"];

/// Those of the modules with hooks that are in the kernel now, loaded or built in. One
/// that is just being loaded or unloaded is not. Some microseconds.
#[must_use]
pub fn hooked_modules() -> Vec<&'static str> {
    MODULES.into_iter().filter(|name| is_there(&Path::new("/sys/module").join(name))).collect()
}

/// `directory`: a module's below `/sys/module`. What is built in has no state.
fn is_there(directory: &Path) -> bool {
    match fs::read_to_string(directory.join("initstate")) {
        Ok(state) => state.trim() == "live",
        Err(_) => directory.is_dir(),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_there_once_it_is_live() {
        let directory = std::env::temp_dir().join(format!("module-{}", std::process::id()));
        assert!(!is_there(&directory));
        fs::create_dir(&directory).unwrap();
        assert!(is_there(&directory), "built in");
        for (state, there) in [("coming\n", false), ("live\n", true), ("going\n", false)] {
            fs::write(directory.join("initstate"), state).unwrap();
            assert_eq!(is_there(&directory), there, "{state}");
        }
        fs::remove_dir_all(directory).unwrap();
    }
}
