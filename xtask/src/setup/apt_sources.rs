//! Reads the system's package sources, to find the Debian mirrors it uses.
//!
//! Guest kernels come from other Debian releases than the machine's own. Their
//! suites are on the same mirrors, so the mirror addresses are taken from the
//! system's configuration and only the suites are exchanged.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// One entry of the system's package sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Source {
    uri: String,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
}

/// The two Debian archives: suites like `bookworm-backports` are on the first,
/// suites like `bookworm-security` on the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Archive {
    Main,
    Security,
}

impl Source {
    /// The same mirror with other suites, in the deb822 format.
    pub(super) fn with_suites(&self, suites: &[&str]) -> String {
        let signed_by = match &self.signed_by {
            Some(keyring) => format!("Signed-By: {keyring}\n"),
            None => String::new(),
        };
        format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\n{signed_by}\n",
            self.uri,
            suites.join(" ")
        )
    }
}

/// The name of this system's release, such as `bookworm`.
pub(super) fn codename() -> Result<String> {
    let os_release = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
    codename_in(&os_release).map(str::to_owned).context("/etc/os-release names no VERSION_CODENAME")
}

fn codename_in(os_release: &str) -> Option<&str> {
    os_release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"'))
}

/// The system's source for an archive, judged by the suites of its own
/// release.
pub(super) fn find<'a>(
    sources: &'a [Source],
    codename: &str,
    archive: Archive,
) -> Option<&'a Source> {
    let wanted = |suite: &String| match archive {
        Archive::Main => [codename, "stable"].contains(&suite.as_str()),
        Archive::Security => {
            ["stable-security".to_owned(), format!("{codename}-security")].contains(suite)
        }
    };
    sources.iter().find(|s| s.components.iter().any(|c| c == "main") && s.suites.iter().any(wanted))
}

/// Every entry of `sources.list` and `sources.list.d`.
pub(super) fn read_system(apt_directory: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    if let Ok(text) = fs::read_to_string(apt_directory.join("sources.list")) {
        sources.extend(parse_one_line_format(&text));
    }
    let Ok(directory) = fs::read_dir(apt_directory.join("sources.list.d")) else {
        return Ok(sources);
    };
    for entry in directory {
        let path = entry?.path();
        let extension = path.extension().unwrap_or_default().to_os_string();
        let parse: fn(&str) -> Vec<Source> = match extension.to_str() {
            Some("sources") => parse_deb822,
            Some("list") => parse_one_line_format,
            _ => continue,
        };
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        sources.extend(parse(&text));
    }
    Ok(sources)
}

/// Lines such as `deb [signed-by=/k.gpg] http://mirror/debian bookworm main`.
fn parse_one_line_format(text: &str) -> Vec<Source> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim().strip_prefix("deb")?;
    // `deb-src` has no kernels.
    let line = line.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match line.strip_prefix('[') {
        Some(inside) => inside.split_once(']')?,
        None => ("", line),
    };
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Source {
        uri: words.next()?,
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by: signed_by.map(str::to_owned),
    })
}

/// Stanzas of `Field: value` lines, separated by empty lines.
fn parse_deb822(text: &str) -> Vec<Source> {
    let without_comments: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
    without_comments.split(|line| line.trim().is_empty()).flat_map(parse_stanza).collect()
}

fn parse_stanza(lines: &[&str]) -> Vec<Source> {
    let words = |name: &str| -> Vec<String> {
        field(lines, name).split_whitespace().map(str::to_owned).collect()
    };
    if !words("Types").iter().any(|kind| kind == "deb") || words("Enabled") == ["no"] {
        return Vec::new();
    }
    words("URIs")
        .into_iter()
        .map(|uri| Source {
            uri,
            suites: words("Suites"),
            components: words("Components"),
            // A key inside the stanza (several lines) cannot be named here;
            // apt's trusted keys are used for it instead.
            signed_by: words("Signed-By").into_iter().find(|k| k.starts_with('/')),
        })
        .collect()
}

/// A field's value with its continuation lines.
fn field(lines: &[&str], name: &str) -> String {
    let mut value = String::new();
    let mut inside = false;
    for line in lines {
        if line.starts_with([' ', '\t']) {
            if inside {
                value.push_str(line);
            }
            continue;
        }
        inside = false;
        if let Some((key, rest)) = line.split_once(':')
            && key.eq_ignore_ascii_case(name)
        {
            inside = true;
            value.push_str(rest);
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
Types: deb
# http://snapshot.test/20250520
URIs: http://mirror.test/debian
Suites: bookworm
 bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/d.gpg

Types: deb deb-src
URIs: http://mirror.test/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.test/debian
Suites: bookworm
Components: main
";

    #[test]
    fn stanzas_give_both_archives() {
        let sources = parse_deb822(DEB822);
        assert_eq!(sources.len(), 2);
        let main = find(&sources, "bookworm", Archive::Main).unwrap();
        assert_eq!(main.uri, "http://mirror.test/debian");
        assert_eq!(main.suites, ["bookworm", "bookworm-updates"]);
        let security = find(&sources, "bookworm", Archive::Security).unwrap();
        assert_eq!(security.uri, "http://mirror.test/debian-security");
        assert_eq!(security.signed_by, None);
    }

    #[test]
    fn one_line_entries_are_understood() {
        let text = "\
# comment
deb-src http://mirror.test/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.test/debian bookworm main # why
deb http://vendor.test/apt stable-x main
";
        let sources = parse_one_line_format(text);
        assert_eq!(sources.len(), 2);
        assert_eq!(sources[0].signed_by.as_deref(), Some("/k.gpg"));
        assert_eq!(sources[0].components, ["main"]);
    }

    #[test]
    fn other_vendors_are_not_taken_for_debian() {
        let vendor = parse_one_line_format("deb http://vendor.test/apt nodistro main\n");
        assert_eq!(find(&vendor, "bookworm", Archive::Main), None);
        assert_eq!(find(&vendor, "bookworm", Archive::Security), None);
    }

    #[test]
    fn suites_are_exchanged_and_the_keyring_kept() {
        let sources = parse_deb822(DEB822);
        assert_eq!(
            sources[0].with_suites(&["trixie-backports"]),
            "Types: deb\nURIs: http://mirror.test/debian\nSuites: trixie-backports\n\
             Components: main\nSigned-By: /usr/share/keyrings/d.gpg\n\n"
        );
    }

    #[test]
    fn the_codename_is_read_with_or_without_quotes() {
        assert_eq!(codename_in("A=1\nVERSION_CODENAME=bookworm\n"), Some("bookworm"));
        assert_eq!(codename_in("VERSION_CODENAME=\"trixie\"\n"), Some("trixie"));
        assert_eq!(codename_in("NAME=x\n"), None);
    }
}
