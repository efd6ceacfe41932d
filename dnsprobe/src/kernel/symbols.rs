//! Kernel addresses and function names (`/proc/kallsyms`). The file has hundreds of
//! thousands of lines, and the kernel takes a third of a second in an emulated
//! guest to write them all: it is read no further than has to be, and as a whole
//! only when an address is to be named.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek},
};

/// The kernel's functions, by address.
pub(crate) struct Symbols {
    /// Opened at the start: whether addresses are shown depends on the
    /// privileges of that moment (kernel/kallsyms.c, `kallsyms_show_value`).
    file: Option<File>,
    table: Option<Table>,
}

impl Symbols {
    pub(crate) fn open() -> Self {
        Self { file: File::open("/proc/kallsyms").ok(), table: None }
    }

    /// No names at all.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { file: None, table: None }
    }

    /// The file from its start; nothing where it could not be opened.
    fn text(&mut self) -> impl BufRead {
        let file = self.file.as_mut().and_then(|file| file.rewind().ok().map(|()| file));
        let file: Box<dyn Read + '_> = match file {
            Some(file) => Box::new(file),
            None => Box::new(std::io::empty()),
        };
        BufReader::with_capacity(1 << 16, file)
    }

    fn table(&mut self) -> &Table {
        if self.table.is_none() {
            self.table = Some(Table::read(self.text()));
        }
        // Unreadable names leave bare addresses, which are still true.
        self.table.get_or_insert_default()
    }

    /// `name+0x1a` for an address; the bare number where names are hidden
    /// (`kernel.kptr_restrict`).
    pub(crate) fn describe(&mut self, address: u64) -> String {
        match self.table().function_at(address) {
            Some((name, offset)) => format!("{name}+{offset:#x}"),
            None => format!("{address:#x}"),
        }
    }

    /// Where functions lie, `[start, end)`; zeros for one that is not known. Each is
    /// the first of several names that the kernel has.
    pub(crate) fn ranges<const N: usize>(&mut self, wanted: [&[&str]; N]) -> [[u64; 2]; N] {
        ranges(self.text(), wanted)
    }
}

/// All functions, ordered by address.
#[derive(Default)]
struct Table {
    /// One behind the other, each with a line feed behind it.
    names: String,
    /// Address, and where the name begins.
    functions: Vec<(u64, u32)>,
}

impl Table {
    fn read(text: impl BufRead) -> Self {
        let mut table = Self::default();
        each_function(text, |address, name| {
            if let Ok(start) = u32::try_from(table.names.len()) {
                table.names.push_str(name);
                table.names.push('\n');
                table.functions.push((address, start));
            }
            true
        });
        table.functions.sort_unstable();
        table
    }

    /// The function that holds an address, and the distance from its start.
    fn function_at(&self, address: u64) -> Option<(&str, u64)> {
        let after = self.functions.partition_point(|(start, _)| *start <= address);
        let (start, name) = self.functions.get(after.checked_sub(1)?)?;
        let name = self.names.get(*name as usize..)?.lines().next()?;
        Some((name, address - start))
    }
}

/// See [`Symbols::ranges`]. The text is in order of addresses, modules last, and
/// read no further than the last one found.
fn ranges<const N: usize>(text: impl BufRead, wanted: [&[&str]; N]) -> [[u64; 2]; N] {
    let mut found = [[0_u64; 2]; N];
    let mut rank = [usize::MAX; N];
    each_function(text, |address, name| {
        for [start, end] in &mut found {
            if *start != 0 && *end == 0 && address > *start {
                *end = address;
            }
        }
        for (index, names) in wanted.iter().enumerate() {
            if let Some(place) = names.iter().position(|wanted| *wanted == name)
                && place < rank[index]
            {
                rank[index] = place;
                found[index] = [address, 0];
            }
        }
        found.iter().any(|[_, end]| *end == 0)
    });
    for [start, end] in &mut found {
        // The last function there is.
        *end = (*end).max(*start);
    }
    found
}

/// Calls `function` with the address and name of each function, until it says
/// `false`. Hidden addresses (all zero) are passed over.
fn each_function(mut text: impl BufRead, mut function: impl FnMut(u64, &str) -> bool) {
    let mut line = Vec::new();
    loop {
        line.clear();
        if !matches!(text.read_until(b'\n', &mut line), Ok(1..)) {
            return;
        }
        if let Some((address, name)) = parse(&line)
            && !function(address, name)
        {
            return;
        }
    }
}

/// A line `ffffffff81000100 T name`, with `[module]` behind it perhaps; `None` for
/// data.
fn parse(line: &[u8]) -> Option<(u64, &str)> {
    let (address, rest) = line.split_at_checked(line.iter().position(|byte| *byte == b' ')?)?;
    let [b' ', b't' | b'T' | b'w' | b'W', b' ', name @ ..] = rest else { return None };
    let end = name.iter().position(u8::is_ascii_whitespace).unwrap_or(name.len());
    let address = u64::from_str_radix(str::from_utf8(address).ok()?, 16).ok()?;
    (address != 0).then_some((address, str::from_utf8(&name[..end]).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "ffffffff81000000 D data\nffffffff81000100 T nf_hook_slow\n\
                        ffffffff81000100 t alias\nffffffff81000180 t other\n\
                        ffffffffc0000000 t confirm\t[nf_conntrack]\n";

    fn symbols() -> Symbols {
        Symbols { file: None, table: Some(Table::read(TEXT.as_bytes())) }
    }

    #[test]
    fn an_address_inside_a_function_has_its_name() {
        assert_eq!(symbols().describe(0xffff_ffff_8100_0190), "other+0x10");
        assert_eq!(symbols().describe(0xffff_ffff_c000_0001), "confirm+0x1");
        assert_eq!(symbols().describe(0x10), "0x10");
    }

    #[test]
    fn a_range_ends_at_the_next_function() {
        let found = ranges(TEXT.as_bytes(), [&["nf_hook_slow"], &["absent"], &["confirm"]]);
        assert_eq!(found[0], [0xffff_ffff_8100_0100, 0xffff_ffff_8100_0180]);
        assert_eq!(found[1], [0, 0]);
        assert_eq!(found[2], [0xffff_ffff_c000_0000; 2], "the last one, whose end is not known");
    }

    #[test]
    fn of_several_names_the_first_counts_wherever_it_is() {
        let found = ranges(TEXT.as_bytes(), [&["other", "nf_hook_slow"], &["alias", "absent"]]);
        assert_eq!(found[0][0], 0xffff_ffff_8100_0180);
        assert_eq!(found[1], [0xffff_ffff_8100_0100, 0xffff_ffff_8100_0180]);
    }

    #[test]
    fn no_more_is_read_than_is_needed() {
        let mut rest = TEXT.as_bytes();
        ranges(&mut rest, [&["nf_hook_slow"]]);
        assert_eq!(rest, b"ffffffffc0000000 t confirm\t[nf_conntrack]\n");
    }

    #[test]
    fn hidden_addresses_and_rubbish_give_no_functions() {
        let text = "0000000000000000 T nf_hook_slow\n\n T\nx T y\nffffffff81000100 T\n";
        assert!(Table::read(text.as_bytes()).functions.is_empty());
        assert_eq!(ranges(text.as_bytes(), [&["nf_hook_slow"]]), [[0, 0]]);
    }
}
