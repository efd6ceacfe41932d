//! Tells the sources which architecture's registers they will see.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    Ok(aya_build::emit_bpf_target_arch_cfg()?)
}
