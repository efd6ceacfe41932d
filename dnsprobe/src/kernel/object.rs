//! The built-in kernel programs, fitted to the running kernel where the loader has
//! no way to: calls of kernel functions, offsets in instructions.

use std::ops::Range;

use dnsprobe_common::config::{FIELD_MARK, NO_FIELD, Offsets, RDONLY_CAST, rdonly_cast_call};
use object::{Object as _, ObjectSection as _, SectionKind};

use super::{btf::Btf, session::SessionError};

static BUILT: &[u8] = aya::include_bytes_aligned!(env!("DNSPROBE_EBPF_OBJECT"));

/// How the programs may read kernel memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    /// BTF id of `bpf_rdonly_cast` (6.2).
    function: u32,
    /// BTF id of the struct as which memory is read; see
    /// `dnsprobe_common::config::Config::window_type`.
    pub(crate) as_type: u32,
}

impl Windows {
    /// `None` where the kernel has none, so that a helper must do.
    pub(crate) fn of(vmlinux: &Btf<'_>) -> Option<Self> {
        const STRUCT: &str = "rtnl_link_stats64";
        const BYTES: u32 = 24 * 8;
        let function = vmlinux.function_id("bpf_rdonly_cast")?;
        let as_type = vmlinux.struct_id(STRUCT)?;
        let is_large_enough = vmlinux.struct_size(STRUCT).is_ok_and(|size| size >= BYTES);
        is_large_enough.then_some(Self { function, as_type })
    }
}

/// The object in memory, as aligned as an ELF file has to be.
pub(crate) struct Object(Vec<u64>);

impl Object {
    /// Fits the programs to a kernel: fills in the function that opens windows, and
    /// the offsets of fields.
    ///
    /// # Errors
    /// When the built-in object is no ELF file, or an offset does not fit into an
    /// instruction.
    pub(crate) fn fitted(
        windows: Option<Windows>,
        offsets: &Offsets,
    ) -> Result<Self, SessionError> {
        let mut offsets_in_loads = [0_i16; Offsets::COUNT];
        for (place, offset) in offsets_in_loads.iter_mut().zip(offsets.all()) {
            // What uses a missing field is never run, but has to be an instruction.
            let offset = if offset == NO_FIELD { 0 } else { offset };
            *place = i16::try_from(offset)
                .map_err(|_| SessionError::Layout(format!("a field at {offset} bytes")))?;
        }
        let call = rdonly_cast_call(windows.map(|windows| windows.function));
        let words = BUILT.chunks(8).map(|chunk| {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(bytes)
        });
        let mut object = Self(words.collect());
        for section in programs()? {
            for word in object.0.get_mut(section).unwrap_or_default() {
                if *word == RDONLY_CAST {
                    *word = call;
                } else if let Some(field) = marked_field(*word) {
                    let offset = u64::from(offsets_in_loads[field].cast_unsigned());
                    *word = *word & !OFFSET_BITS | offset << OFFSET_SHIFT;
                }
            }
        }
        if cfg!(target_endian = "big") {
            object.0.iter_mut().for_each(|word| *word = word.swap_bytes());
        }
        Ok(object)
    }

    /// The file.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: as many bytes as the words have, without padding.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 8) }
    }
}

/// Where the instructions are, in words from the start of the file.
fn programs() -> Result<Vec<Range<usize>>, SessionError> {
    let broken = |_| SessionError::Object("sections");
    let file = object::File::parse(BUILT).map_err(broken)?;
    let sections = file.sections().filter(|section| section.kind() == SectionKind::Text);
    Ok(sections
        .filter_map(|section| section.file_range())
        .filter_map(|(start, len)| Some((usize::try_from(start).ok()?, usize::try_from(len).ok()?)))
        .map(|(start, len)| start / 8..(start + len) / 8)
        .collect())
}

const OFFSET_SHIFT: u32 = 16;
const OFFSET_BITS: u64 = 0xffff << OFFSET_SHIFT;

/// Which of [`Offsets`] a load instruction asks for.
fn marked_field(instruction: u64) -> Option<usize> {
    // BPF_LDX | BPF_MEM with each of the four sizes.
    const LOADS: [u8; 4] = [0x61, 0x69, 0x71, 0x79];
    let [code, _, low, high, rest @ ..] = instruction.to_le_bytes();
    let field = usize::from(u16::from_le_bytes([low, high]).checked_sub(FIELD_MARK)?);
    (LOADS.contains(&code) && rest == [0; 4] && field < Offsets::COUNT).then_some(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUNCTION: u32 = 0x7abc_def0;

    fn offsets(value: u32) -> Offsets {
        // SAFETY: repr(C) and u32 fields only.
        unsafe { std::mem::transmute([value; Offsets::COUNT]) }
    }

    fn fitted(windows: bool, offset: u32) -> Object {
        let windows = windows.then_some(Windows { function: FUNCTION, as_type: 1 });
        Object::fitted(windows, &offsets(offset)).unwrap()
    }

    /// The instructions of all programs.
    fn instructions(object: &Object) -> Vec<u64> {
        programs().unwrap().into_iter().flat_map(|s| object.0[s].to_vec()).collect()
    }

    fn count(object: &Object, instruction: u64) -> usize {
        instructions(object).iter().filter(|word| **word == instruction).count()
    }

    #[test]
    fn every_stand_in_is_replaced_and_nothing_else() {
        let fitted = fitted(true, 0x123);
        let stand_ins = BUILT.chunks(8).filter(|c| *c == RDONLY_CAST.to_le_bytes()).count();
        assert!(stand_ins > 10, "{stand_ins}: the build has lost them");
        assert_eq!(count(&fitted, rdonly_cast_call(Some(FUNCTION))), stand_ins);
        let marked = |word: &u64| marked_field(*word).is_some();
        assert!(!instructions(&fitted).iter().any(marked));
        let built = |chunk: &[u8]| chunk.try_into().map_or(0, u64::from_le_bytes);
        let changed = BUILT.chunks(8).zip(&fitted.0).filter(|(a, b)| built(a) != **b).count();
        let loads = BUILT.chunks(8).filter(|chunk| marked(&built(chunk))).count();
        assert!(loads > 10, "{loads}: the build has lost them");
        assert!(changed <= stand_ins + loads && changed > stand_ins + loads / 2);
    }

    #[test]
    fn a_load_keeps_all_but_its_offset() {
        let load = |offset: u16| {
            u64::from_le_bytes([
                0x79,
                0x21,
                offset.to_le_bytes()[0],
                offset.to_le_bytes()[1],
                0,
                0,
                0,
                0,
            ])
        };
        assert_eq!(marked_field(load(FIELD_MARK + 2)), Some(2));
        assert_eq!(marked_field(load(16)), None);
        assert_eq!(marked_field(load(FIELD_MARK) | 1 << 32), None, "not a load");
    }

    #[test]
    fn without_the_function_its_result_is_zero() {
        let fitted = fitted(false, NO_FIELD);
        assert_eq!(count(&fitted, RDONLY_CAST), 0);
        assert!(count(&fitted, rdonly_cast_call(None)) > 10);
    }

    #[test]
    fn an_offset_that_does_not_fit_is_an_error() {
        assert!(Object::fitted(None, &offsets(40_000)).is_err());
    }
}
