//! Kernel addresses and function names (`/proc/kallsyms`), read only when one
//! is asked for: the file has hundreds of thousands of lines.

use std::{fs::File, io::Read};

/// The kernel's functions, by address.
pub(crate) struct Symbols {
    /// Opened at the start: whether addresses are shown depends on the
    /// privileges of that moment (kernel/kallsyms.c, `kallsyms_show_value`).
    file: Option<File>,
    functions: Option<Vec<(u64, String)>>,
}

impl Symbols {
    pub(crate) fn open() -> Self {
        Self { file: File::open("/proc/kallsyms").ok(), functions: None }
    }

    fn functions(&mut self) -> &[(u64, String)] {
        let Self { file, functions } = self;
        functions.get_or_insert_with(|| {
            let mut text = String::new();
            // Unreadable names leave bare addresses, which are still true.
            let read = file.take().map(|mut file| file.read_to_string(&mut text));
            if matches!(read, Some(Ok(_))) { parse(&text) } else { Vec::new() }
        })
    }

    /// `name+0x1a` for an address; the bare number where names are hidden
    /// (`kernel.kptr_restrict`).
    pub(crate) fn describe(&mut self, address: u64) -> String {
        match self.function_at(address) {
            Some((name, offset)) => format!("{name}+{offset:#x}"),
            None => format!("{address:#x}"),
        }
    }

    /// The function that holds an address, and the distance from its start.
    fn function_at(&mut self, address: u64) -> Option<(&str, u64)> {
        let functions = self.functions();
        let after = functions.partition_point(|(start, _)| *start <= address);
        let (start, name) = functions.get(after.checked_sub(1)?)?;
        Some((name, address - start))
    }

    /// Where a function lies, `[start, end)`; zeros when it is not known.
    pub(crate) fn range(&mut self, wanted: &str) -> [u64; 2] {
        let functions = self.functions();
        let Some(index) = functions.iter().position(|(_, name)| name == wanted) else {
            return [0, 0];
        };
        let start = functions[index].0;
        let end = functions[index..].iter().map(|(at, _)| *at).find(|at| *at > start);
        [start, end.unwrap_or(start)]
    }
}

/// Functions of a kallsyms text, ordered by address; empty when addresses are
/// hidden (all zero).
fn parse(text: &str) -> Vec<(u64, String)> {
    let mut functions: Vec<(u64, String)> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            let kind = words.next()?;
            let name = words.next()?;
            (matches!(kind, "t" | "T" | "w" | "W") && address != 0)
                .then(|| (address, name.to_owned()))
        })
        .collect();
    functions.sort();
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols() -> Symbols {
        let text = "ffffffff81000100 T nf_hook_slow\nffffffff81000180 t other\n\
                    ffffffff81000000 D data\nffffffffc0000000 t confirm\t[nf_conntrack]\n";
        Symbols { file: None, functions: Some(parse(text)) }
    }

    #[test]
    fn an_address_inside_a_function_has_its_name() {
        assert_eq!(symbols().describe(0xffff_ffff_8100_0110), "nf_hook_slow+0x10");
        assert_eq!(symbols().describe(0x10), "0x10");
    }

    #[test]
    fn a_range_ends_at_the_next_function() {
        assert_eq!(symbols().range("nf_hook_slow"), [0xffff_ffff_8100_0100, 0xffff_ffff_8100_0180]);
        assert_eq!(symbols().range("absent"), [0, 0]);
    }

    #[test]
    fn hidden_addresses_give_no_functions() {
        assert!(parse("0000000000000000 T nf_hook_slow\n").is_empty());
    }
}
