//! Finds the kernel programs that `cargo xtask build` made and hands their
//! path to the library, which embeds them.

use std::{env, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=DNSPROBE_EBPF_OBJECT");
    let object = env::var_os("DNSPROBE_EBPF_OBJECT").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/ebpf/dnsprobe.bpf.o"),
        PathBuf::from,
    );
    assert!(
        object.is_file(),
        "the kernel programs are missing: {}\nhint: run `cargo xtask build`, which builds them first",
        object.display()
    );
    println!("cargo::rerun-if-changed={}", object.display());
    println!("cargo::rustc-env=DNSPROBE_EBPF_OBJECT={}", object.display());
}
