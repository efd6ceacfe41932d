//! dnsprobe's kernel programs: what each is after the compiler of the kernel,
//! and what a run of it costs.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::line;
use crate::shell;

/// A program of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Program {
    /// The first 15 characters, which the kernel keeps.
    pub(super) name: String,
    pub(super) runs: u64,
    /// Guest instructions per run, with the kernel's measuring of them.
    pub(super) per_run: Option<f64>,
    /// x86-64 instructions after compilation.
    pub(super) instructions: u64,
    /// Those the verifier went through; unknown before 5.16.
    pub(super) verified: Option<u32>,
    /// Bytes of stack, of the program and each function it calls, as the
    /// verifier measured them and the compiler reserves them.
    pub(super) stack_bytes: Vec<u64>,
}

/// The programs of a guest; their code is in `directory`.
pub(super) fn read(lines: &[line::Line], directory: &Path) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for line in lines {
        let line::Line::Program(program) = line else { continue };
        let file = directory.join(&program.code);
        let listing = shell::output(
            Command::new("objdump")
                .args(["-D", "-b", "binary", "-m", "i386:x86-64", "--no-show-raw-insn"])
                .arg(&file),
        )?;
        let bytes = fs::metadata(&file)?.len();
        let machine = Machine::of(&listing);
        (bytes > 0 && machine.instructions > 0)
            .then_some(())
            .with_context(|| format!("{} has no code: is the compiler off?", program.name))?;
        programs.push(Program {
            name: program.name.clone(),
            runs: program.runs,
            per_run: (program.runs > 0).then(|| program.run_time_ns as f64 / program.runs as f64),
            instructions: machine.instructions,
            verified: program.verified_instructions,
            stack_bytes: machine.frames,
        });
    }
    programs.sort_by(|one, other| {
        other.runs.cmp(&one.runs).then_with(|| other.instructions.cmp(&one.instructions))
    });
    Ok(programs)
}

/// Machine code, as objdump lists it.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    instructions: u64,
    frames: Vec<u64>,
}

impl Machine {
    fn of(listing: &str) -> Self {
        let mut machine = Self { instructions: 0, frames: Vec::new() };
        for line in listing.lines() {
            let Some((address, instruction)) = line.trim_start().split_once(":\t") else {
                continue;
            };
            if u64::from_str_radix(address, 16).is_err() {
                continue;
            }
            let instruction = instruction.trim();
            // Between functions.
            if instruction == "int3" {
                continue;
            }
            machine.instructions += 1;
            machine.frames.extend(reserved(instruction));
        }
        machine
    }
}

/// Bytes of a function's frame, from the one instruction that reserves it.
fn reserved(instruction: &str) -> Option<u64> {
    let operands = instruction.strip_prefix("sub")?.trim_start();
    let bytes = operands.strip_prefix("$0x")?.strip_suffix(",%rsp")?;
    u64::from_str_radix(bytes, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_counted_and_frames_found() {
        let listing = "\nx.jit:     file format binary\n\n0000000000000000 <.data>:\n   \
             0:\tnopl   0x0(%rax,%rax,1)\n   9:\tsub    $0x78,%rsp\n  10:\tint3\n  \
             1a:\tsub    $0x8,%rsp\n  1f:\tsub    %rax,%rbx\n  22:\tret\n";
        assert_eq!(Machine::of(listing), Machine { instructions: 5, frames: vec![0x78, 8] });
    }
}
