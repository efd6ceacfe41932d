//! BTF (BPF Type Format, Documentation/bpf/btf.rst): where the running
//! kernel's struct fields are.
//!
//! Our own small reader, because aya's keeps its types to itself and reads no
//! module's BTF, and the one crate that does is under the LGPL.

use std::{collections::HashMap, fs, io, path::Path};

const MAGIC: u16 = 0xeb9f;

const KIND_INT: u32 = 1;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_PTR: u32 = 2;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// Longest chain of typedefs and qualifiers, and deepest nesting, that is
/// followed; real kernels stay far below.
const MAX_DEPTH: usize = 16;

/// Why type information could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BtfError {
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: io::Error },
    #[error("{path} is not BTF: {what}")]
    Malformed { path: String, what: &'static str },
}

/// Why a field could not be located.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FieldError {
    #[error("struct {0} is not in this kernel's BTF")]
    NoStruct(String),
    #[error("{0} has no field {1} in this kernel")]
    NoField(String, String),
    #[error("{0}.{1} is {2} bytes in this kernel, expected {3}")]
    Size(String, String, u32, u32),
    #[error("{0}.{1} is at byte {2} in this kernel, expected {3}")]
    Place(String, String, u32, u32),
    #[error("{0}.{1} is a bit field in this kernel")]
    BitField(String, String),
}

/// A located field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    /// Byte offset from the start of the outermost struct.
    pub(crate) offset: u32,
    /// Size in bytes.
    pub(crate) size: u32,
    /// Whether it is a pointer.
    pub(crate) is_pointer: bool,
}

struct Type {
    name: u32,
    info: u32,
    /// Size or referenced type id.
    size_or_type: u32,
    /// Start of the kind's own data in `Btf::data`.
    extra: usize,
}

impl Type {
    fn kind(&self) -> u32 {
        (self.info >> 24) & 0x1f
    }

    fn len(&self) -> usize {
        (self.info & 0xffff) as usize
    }

    fn kind_flag(&self) -> bool {
        self.info >> 31 == 1
    }
}

/// One object's types: the kernel's own, or a module's on top of them.
pub(crate) struct Btf<'base> {
    base: Option<&'base Btf<'base>>,
    data: Vec<u8>,
    strings: (usize, usize),
    /// String offsets below this belong to the base.
    first_string: u32,
    /// Ids below this belong to the base.
    first_type: u32,
    types: Vec<Type>,
    /// Structs, unions and enums by name; the first of a name wins.
    named: HashMap<String, u32>,
    typedefs: HashMap<String, u32>,
    functions: HashMap<String, u32>,
}

impl Btf<'static> {
    /// The kernel's own types, from `/sys/kernel/btf/vmlinux`.
    pub(crate) fn vmlinux() -> Result<Self, BtfError> {
        Self::read(Path::new("/sys/kernel/btf/vmlinux"), None)
    }
}

impl<'base> Btf<'base> {
    /// A module's types, from `/sys/kernel/btf/NAME`; they exist once the
    /// module is loaded, on kernels from 5.11.
    pub(crate) fn module(name: &str, base: &'base Btf<'base>) -> Result<Self, BtfError> {
        Self::read(&Path::new("/sys/kernel/btf").join(name), Some(base))
    }

    fn read(path: &Path, base: Option<&'base Btf<'base>>) -> Result<Self, BtfError> {
        let data = fs::read(path)
            .map_err(|source| BtfError::Read { path: path.display().to_string(), source })?;
        Self::parse(data, base)
            .map_err(|what| BtfError::Malformed { path: path.display().to_string(), what })
    }

    fn parse(data: Vec<u8>, base: Option<&'base Btf<'base>>) -> Result<Self, &'static str> {
        let header = |at| u32_at(&data, at).ok_or("header is cut");
        if data.len() < 24 || u16::from_ne_bytes([data[0], data[1]]) != MAGIC {
            return Err("wrong magic");
        }
        let header_len = header(4)? as usize;
        let types_at = header_len + header(8)? as usize;
        let types_end = types_at + header(12)? as usize;
        let strings_at = header_len + header(16)? as usize;
        let strings_end = strings_at + header(20)? as usize;
        if types_end > data.len() || strings_end > data.len() {
            return Err("sections reach past the end");
        }
        let mut btf = Self {
            first_string: base.map_or(0, Btf::next_string),
            first_type: base.map_or(1, Btf::next_type),
            base,
            data,
            strings: (strings_at, strings_end),
            types: Vec::new(),
            named: HashMap::new(),
            typedefs: HashMap::new(),
            functions: HashMap::new(),
        };
        btf.index(types_at, types_end)?;
        Ok(btf)
    }

    fn index(&mut self, mut at: usize, end: usize) -> Result<(), &'static str> {
        while at < end {
            let read = |offset| u32_at(&self.data, at + offset).ok_or("type is cut");
            let ty =
                Type { name: read(0)?, info: read(4)?, size_or_type: read(8)?, extra: at + 12 };
            at = ty.extra + extra_len(ty.kind(), ty.len());
            let id = self.next_type();
            let name = self.string(ty.name).to_owned();
            let kind = ty.kind();
            self.types.push(ty);
            if name.is_empty() {
                continue;
            }
            match kind {
                KIND_STRUCT | KIND_UNION | KIND_ENUM | KIND_ENUM64 => {
                    self.named.entry(name).or_insert(id);
                }
                KIND_TYPEDEF => {
                    self.typedefs.entry(name).or_insert(id);
                }
                KIND_FUNC => {
                    self.functions.entry(name).or_insert(id);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn next_type(&self) -> u32 {
        self.first_type + u32::try_from(self.types.len()).unwrap_or(u32::MAX)
    }

    fn next_string(&self) -> u32 {
        self.first_string + u32::try_from(self.strings.1 - self.strings.0).unwrap_or(u32::MAX)
    }

    /// The type with an id, and the object that holds it.
    fn ty(&self, id: u32) -> Option<(&Type, &Btf<'_>)> {
        if id < self.first_type {
            return self.base?.ty(id);
        }
        Some((self.types.get((id - self.first_type) as usize)?, self))
    }

    fn string(&self, offset: u32) -> &str {
        if offset < self.first_string {
            return self.base.map_or("", |base| base.string(offset));
        }
        let bytes = &self.data[self.strings.0..self.strings.1];
        let tail = bytes.get((offset - self.first_string) as usize..).unwrap_or_default();
        let end = tail.iter().position(|b| *b == 0).unwrap_or(0);
        std::str::from_utf8(&tail[..end]).unwrap_or("")
    }

    /// Skips typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<(&Type, &Btf<'_>)> {
        for _ in 0..MAX_DEPTH {
            let (ty, home) = self.ty(id)?;
            match ty.kind() {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    id = ty.size_or_type;
                }
                _ => return Some((ty, home)),
            }
        }
        None
    }

    fn find(&self, name: &str) -> Option<u32> {
        self.named.get(name).copied().or_else(|| self.base?.find(name))
    }

    fn size(&self, id: u32) -> Option<u32> {
        let (ty, home) = self.resolve(id)?;
        match ty.kind() {
            KIND_INT | KIND_STRUCT | KIND_UNION | KIND_ENUM | KIND_ENUM64 => Some(ty.size_or_type),
            KIND_PTR => Some(8),
            KIND_ARRAY => {
                let element = u32_at(&home.data, ty.extra)?;
                let count = u32_at(&home.data, ty.extra + 8)?;
                self.size(element)?.checked_mul(count)
            }
            _ => None,
        }
    }

    /// Size of a struct in bytes.
    pub(crate) fn struct_size(&self, name: &str) -> Result<u32, FieldError> {
        self.find(name)
            .and_then(|id| self.size(id))
            .ok_or_else(|| FieldError::NoStruct(name.to_owned()))
    }

    /// The id of a struct.
    pub(crate) fn struct_id(&self, name: &str) -> Option<u32> {
        self.find(name)
    }

    /// The id of a function; `None` when the kernel has none of that name.
    pub(crate) fn function_id(&self, name: &str) -> Option<u32> {
        self.functions.get(name).copied()
    }

    /// Whether the kernel knows a struct of that name.
    pub(crate) fn has_struct(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Locates `path` ("a.b.c") in a struct, looking into unnamed members.
    pub(crate) fn field(&self, name: &str, path: &str) -> Result<Field, FieldError> {
        let mut id = self.find(name).ok_or_else(|| FieldError::NoStruct(name.to_owned()))?;
        let no_field = || FieldError::NoField(name.to_owned(), path.to_owned());
        let mut bits = 0;
        for part in path.split('.') {
            let (member, offset_bits) = self.member(id, part, 0).ok_or_else(no_field)?;
            id = member;
            bits += offset_bits;
        }
        if bits % 8 != 0 {
            return Err(FieldError::BitField(name.to_owned(), path.to_owned()));
        }
        let size = self.size(id).ok_or_else(no_field)?;
        let is_pointer = self.resolve(id).is_some_and(|(ty, _)| ty.kind() == KIND_PTR);
        Ok(Field { offset: bits / 8, size, is_pointer })
    }

    /// A member's type and offset in bits.
    fn member(&self, id: u32, wanted: &str, depth: usize) -> Option<(u32, u32)> {
        if depth > MAX_DEPTH {
            return None;
        }
        let (ty, home) = self.resolve(id)?;
        if !matches!(ty.kind(), KIND_STRUCT | KIND_UNION) {
            return None;
        }
        for index in 0..ty.len() {
            let at = ty.extra + index * 12;
            let name = home.string(u32_at(&home.data, at)?);
            let member = u32_at(&home.data, at + 4)?;
            let raw = u32_at(&home.data, at + 8)?;
            let offset = if ty.kind_flag() { raw & 0x00ff_ffff } else { raw };
            if name == wanted {
                return Some((member, offset));
            }
            if name.is_empty()
                && let Some((inner, inner_offset)) = self.member(member, wanted, depth + 1)
            {
                return Some((inner, offset + inner_offset));
            }
        }
        None
    }

    /// Names and values of an enum; empty when there is none of that name.
    pub(crate) fn enumerators(&self, name: &str) -> Vec<(String, u32)> {
        let Some((ty, home)) = self.find(name).and_then(|id| self.ty(id)) else {
            return Vec::new();
        };
        if ty.kind() != KIND_ENUM {
            return Vec::new();
        }
        (0..ty.len())
            .filter_map(|index| {
                let at = ty.extra + index * 8;
                let name = home.string(u32_at(&home.data, at)?);
                Some((name.to_owned(), u32_at(&home.data, at + 4)?))
            })
            .collect()
    }

    /// The id of the type that stands for a tracepoint.
    pub(crate) fn tracepoint_id(&self, name: &str) -> Option<u32> {
        self.typedefs.get(&format!("btf_trace_{name}")).copied()
    }

    /// How many arguments a tracepoint passes, without the program's own
    /// first one; `None` when there is no such tracepoint.
    pub(crate) fn tracepoint_arguments(&self, name: &str) -> Option<usize> {
        let (pointer, _) = self.resolve(self.tracepoint_id(name)?)?;
        let (function, _) = self.resolve(pointer.size_or_type)?;
        (function.kind() == KIND_FUNC_PROTO).then(|| function.len().saturating_sub(1))
    }

    /// How many arguments a function takes; `None` when there is no such
    /// function.
    pub(crate) fn function_arguments(&self, name: &str) -> Option<usize> {
        let (function, _) = self.ty(*self.functions.get(name)?)?;
        let (prototype, _) = self.resolve(function.size_or_type)?;
        (prototype.kind() == KIND_FUNC_PROTO).then(|| prototype.len())
    }
}

/// Bytes of kind-specific data behind a type's three words.
fn extra_len(kind: u32, len: usize) -> usize {
    match kind {
        KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
        KIND_ARRAY => 12,
        KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => len * 12,
        KIND_ENUM | KIND_FUNC_PROTO => len * 8,
        _ => 0,
    }
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types: 1 int u32; 2 union {u32 inner}; 3 struct outer {u32 first; union
    /// (unnamed)}; 4 enum color {red = 3}.
    fn sample() -> Vec<u8> {
        let strings = b"\0u32\0inner\0outer\0first\0color\0red\0";
        let at = |name: &str| {
            let needle = format!("\0{name}\0");
            let position = strings.windows(needle.len()).position(|w| w == needle.as_bytes());
            u32::try_from(position.unwrap() + 1).unwrap()
        };
        let words: Vec<u32> = vec![
            at("u32"),
            KIND_INT << 24,
            4,
            32,
            0,
            KIND_UNION << 24 | 1,
            4,
            at("inner"),
            1,
            0,
            at("outer"),
            KIND_STRUCT << 24 | 2,
            8,
            at("first"),
            1,
            0,
            0,
            2,
            32,
            at("color"),
            KIND_ENUM << 24 | 1,
            4,
            at("red"),
            3,
        ];
        let mut data = Vec::new();
        data.extend(MAGIC.to_ne_bytes());
        data.extend([1, 0]);
        let types_len = u32::try_from(words.len() * 4).unwrap();
        for word in [24, 0, types_len, types_len, u32::try_from(strings.len()).unwrap()] {
            data.extend(u32::to_ne_bytes(word));
        }
        data.extend(words.iter().flat_map(|w| w.to_ne_bytes()));
        data.extend(strings);
        data
    }

    #[test]
    fn fields_are_found_inside_unnamed_unions() {
        let btf = Btf::parse(sample(), None).unwrap();
        let field = btf.field("outer", "inner").unwrap();
        assert_eq!(field, Field { offset: 4, size: 4, is_pointer: false });
        assert_eq!(btf.struct_size("outer"), Ok(8));
        assert_eq!(btf.enumerators("color"), [("red".to_owned(), 3)]);
    }

    #[test]
    fn missing_things_say_what_is_missing() {
        let btf = Btf::parse(sample(), None).unwrap();
        let error = btf.field("outer", "nothing").unwrap_err();
        assert_eq!(error.to_string(), "outer has no field nothing in this kernel");
        let error = btf.field("nobody", "x").unwrap_err();
        assert_eq!(error.to_string(), "struct nobody is not in this kernel's BTF");
    }

    #[test]
    fn cut_or_foreign_data_is_an_error_not_a_panic() {
        let whole = sample();
        for len in 0..whole.len() {
            let _ = Btf::parse(whole[..len].to_vec(), None);
        }
        assert!(Btf::parse(vec![0; 64], None).is_err());
    }
}
