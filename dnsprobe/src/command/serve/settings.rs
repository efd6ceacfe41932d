//! Where the settings of `serve` come from: a flag goes before the environment, that
//! before the file, that before what is built in. What environment and file give
//! becomes the default of its option, so that all of it is checked in one way.

use std::{
    env,
    ffi::OsString,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{ArgMatches, CommandFactory, FromArgMatches, parser::ValueSource};
use toml::Value;

use super::{
    Options,
    sources::{self, CONFIG, Given, Key, Kind},
};
use crate::command::Cli;

/// The subcommand.
const COMMAND: &str = "serve";
/// What SIGHUP changes. All else needs a restart.
const RELOADED: [&str; 7] = [
    "max-owners",
    "namespaces",
    "no-servers",
    "top-names",
    "verdicts",
    "max-verdicts",
    "max-cpu-percent",
];

/// Every setting in force.
#[derive(Debug)]
pub(super) struct Settings {
    /// As the command takes them.
    pub(super) options: Options,
    all: Vec<Setting>,
}

/// A setting, its value, and who gave it.
#[derive(Clone, Debug, PartialEq)]
struct Setting {
    key: Key,
    /// `None` where there is none.
    value: Option<Value>,
    source: Source,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Flag,
    Environment,
    File,
    BuiltIn,
}

impl Settings {
    /// Those of this process: of its arguments, its environment, and the file that is
    /// there now.
    ///
    /// # Errors
    /// When the file cannot be read, or gives what is no setting.
    pub(super) fn of_process(config: Option<&Path>) -> anyhow::Result<Self> {
        let named = || env::var_os(CONFIG).filter(|name| !name.is_empty()).map(PathBuf::from);
        let file = config.map(Path::to_owned).or_else(named);
        let text = match &file {
            Some(path) => {
                let name = path.display().to_string();
                let text =
                    fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
                Some((name, text))
            }
            None => None,
        };
        let file = text.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        Self::read(env::args_os(), file, env::vars_os())
    }

    /// `arguments` begin with the program's name; `file`: its name and its text.
    fn read(
        arguments: impl IntoIterator<Item = OsString>,
        file: Option<(&str, &str)>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> anyhow::Result<Self> {
        let mut command = Cli::command();
        let mut serve = command.find_subcommand(COMMAND).context("there is no serve")?.clone();
        let keys = sources::keys(&serve);
        let mut of_file = Given::new();
        if let Some((name, text)) = file {
            of_file = sources::from_file(text, &keys).with_context(|| name.to_owned())?;
            serve =
                sources::as_defaults(serve, &of_file, &keys).with_context(|| name.to_owned())?;
        }
        let of_environment = sources::from_environment(environment, &keys)?;
        serve = sources::as_defaults(serve, &of_environment, &keys).context("environment")?;
        command = command.mut_subcommand(COMMAND, |_| serve);
        let matches = command.try_get_matches_from(arguments)?;
        let matches = matches.subcommand_matches(COMMAND).context("this is not serve")?;
        let all = keys
            .into_iter()
            .map(|key| {
                let source = match matches.value_source(&key.id) {
                    Some(ValueSource::CommandLine) => Source::Flag,
                    _ if of_environment.contains_key(&key.name) => Source::Environment,
                    _ if of_file.contains_key(&key.name) => Source::File,
                    _ => Source::BuiltIn,
                };
                Setting { value: value(&key, matches), key, source }
            })
            .collect();
        Ok(Self { options: Options::from_arg_matches(matches)?, all })
    }

    /// All of them, as a file that gives the same, each with where it comes from.
    pub(super) fn print(&self) -> String {
        let mut text =
            String::from("# The settings of `dnsprobe serve` in force, as a file for --config.\n");
        for Setting { key, value, source } in &self.all {
            let from = match source {
                Source::Flag => format!("flag --{}", key.name),
                Source::Environment => format!("environment {}", key.variable()),
                Source::File => "file".to_owned(),
                Source::BuiltIn => "default".to_owned(),
            };
            let line = match value {
                Some(value) => format!("{} = {value}", key.name),
                None => format!("# {}", key.name),
            };
            let what = if value.is_some() { from } else { "not set".to_owned() };
            let _ = writeln!(text, "{line:<44} # {what}");
        }
        text
    }

    /// Takes over what SIGHUP changes, from settings read anew. The names of those
    /// that differ as well and need a restart.
    pub(super) fn take_over(&mut self, new: Self) -> Vec<String> {
        let mut kept = Vec::new();
        for (own, new) in self.all.iter_mut().zip(new.all) {
            if RELOADED.contains(&own.key.name.as_str()) {
                *own = new;
            } else if own.value != new.value {
                kept.push(new.key.name);
            }
        }
        let new = new.options;
        self.options = Options {
            max_owners: new.max_owners,
            namespaces: new.namespaces,
            no_servers: new.no_servers,
            top_names: new.top_names,
            verdicts: new.verdicts,
            max_verdicts: new.max_verdicts,
            max_cpu_percent: new.max_cpu_percent,
            ..self.options.clone()
        };
        kept
    }
}

/// What an option has been given, or has by default.
fn value(key: &Key, matches: &ArgMatches) -> Option<Value> {
    let raw = matches.try_get_raw(&key.id).ok().flatten();
    let values: Vec<String> =
        raw.into_iter().flatten().map(|value| value.to_string_lossy().into_owned()).collect();
    let typed = |text: &String| match (text.parse(), text.parse::<f64>()) {
        (Ok(number), _) => Value::Integer(number),
        (_, Ok(number)) if text.contains('.') && number.is_finite() => Value::Float(number),
        _ => Value::String(text.clone()),
    };
    match key.kind {
        Kind::Several => Some(Value::Array(values.iter().map(typed).collect())),
        Kind::Switch => Some(Value::Boolean(values.first().is_some_and(|value| value == "true"))),
        Kind::One => values.first().map(typed),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::command::serve::Verdicts;

    fn read(flags: &[&str], variables: &[(&str, &str)], file: &str) -> anyhow::Result<Settings> {
        Settings::read(
            ["dnsprobe", COMMAND].iter().chain(flags).map(OsString::from),
            Some(("node.toml", file)),
            variables.iter().map(|(name, value)| (name.into(), value.into())),
        )
    }

    #[test]
    fn a_flag_goes_before_the_environment_that_before_the_file_that_before_the_default() {
        let owners = |flags: &[&str], variables: &[(&str, &str)], file: &str| {
            read(flags, variables, file).unwrap().options.max_owners
        };
        let (flag, variable, file) =
            (["--max-owners=4"], [("DNSPROBE_MAX_OWNERS", "3")], "max-owners = 2");
        assert_eq!(owners(&[], &[], ""), 1_000);
        assert_eq!(owners(&[], &[], file), 2);
        assert_eq!(owners(&[], &variable, file), 3);
        assert_eq!(owners(&flag, &variable, file), 4);
    }

    #[test]
    fn a_switch_of_the_file_can_be_switched_off_again() {
        let file = "no-servers = true\nports = [53, 54]\ninterval = \"9s\"\nverdicts = \"none\"";
        let options = read(&[], &[], file).unwrap().options;
        assert!(options.no_servers && options.verdicts == Verdicts::None);
        assert_eq!(options.watch.traffic.ports, [53, 54]);
        assert_eq!(options.interval, Duration::from_secs(9));
        assert!(!read(&[], &[("DNSPROBE_NO_SERVERS", "false")], file).unwrap().options.no_servers);
        let options = read(&["--no-servers=false", "--ports=5"], &[], file).unwrap().options;
        assert!(!options.no_servers && options.watch.traffic.ports == [5]);
        assert!(read(&["--no-servers"], &[], "").unwrap().options.no_servers);
    }

    #[test]
    fn a_value_that_its_option_refuses_is_refused_with_its_place() {
        let error = |variables: &[(&str, &str)], file: &str| {
            format!("{:#}", read(&[], variables, file).unwrap_err())
        };
        let many = error(&[], "max-owners = \"many\"");
        assert!(many.starts_with("node.toml: max-owners: invalid value 'many'"), "{many}");
        assert!(!many.contains('\n'), "{many}");
        let of_environment = error(&[("DNSPROBE_INTERVAL", "0s")], "");
        assert!(of_environment.starts_with("environment: interval: "), "{of_environment}");
        let verdicts = error(&[], "verdicts = \"all\"");
        assert!(verdicts.contains("json, none"), "{verdicts}");
        assert!(error(&[], "ports = [\"53,54\"]").contains("comma"));
    }

    #[test]
    fn a_sample_is_one_process_of_a_power_of_two() {
        let bits = |number: &str| {
            let flag = format!("--sample-processes={number}");
            read(&[flag.as_str()], &[], "").map(|settings| settings.options.sample_bits())
        };
        assert_eq!(bits("0").unwrap(), None);
        assert_eq!(bits("2").unwrap().unwrap().get(), 1);
        assert_eq!(bits("65536").unwrap().unwrap().get(), 16);
        for wrong in ["1", "3", "131072", "-2", "few"] {
            assert!(bits(wrong).is_err(), "{wrong}");
        }
        assert!(read(&[], &[], "sample-processes = 3").is_err());
    }

    #[test]
    fn what_is_printed_says_where_it_comes_from_and_gives_the_same_again() {
        let settings = read(
            &["--ports=53,54"],
            &[("DNSPROBE_NODE_NAME", "7")],
            "namespaces = [\"a\"]\nno-servers = true\nmax-cpu-percent = 2.5",
        )
        .unwrap();
        let printed = settings.print();
        let has = |start: &str, end: &str| {
            let found = printed.lines().any(|line| line.starts_with(start) && line.ends_with(end));
            assert!(found, "{start} {end}\n{printed}");
        };
        has("ports = [53, 54] ", "# flag --ports");
        has("node-name = 7 ", "# environment DNSPROBE_NODE_NAME");
        has("namespaces = [\"a\"] ", "# file");
        has("no-servers = true ", "# file");
        has("max-cpu-percent = 2.5 ", "# file");
        has("max-owners = 1000 ", "# default");
        has("# host-root ", "# not set");
        assert!(!printed.contains("config =") && !printed.contains("duration"));
        let again = read(&[], &[], &printed).unwrap();
        let values = |settings: &Settings| -> Vec<Option<Value>> {
            settings.all.iter().map(|setting| setting.value.clone()).collect()
        };
        assert_eq!(values(&again), values(&settings));
    }

    #[test]
    fn reloading_takes_caps_and_filters_and_names_what_needs_a_restart() {
        let mut settings = read(&["--max-verdicts=5"], &[], "max-owners = 2").unwrap();
        let new = "max-owners = 3\nnamespaces = [\"shop\"]\nmax-verdicts = 9\nports = [54]\n\
                   top-names = 8\nmax-cpu-percent = 7";
        let kept = settings.take_over(read(&["--max-verdicts=5"], &[], new).unwrap());
        assert_eq!(kept, ["ports"]);
        let options = &settings.options;
        assert_eq!((options.max_owners, options.max_verdicts, options.top_names), (3, 5, 8));
        assert_eq!(options.cpu_limit(), Some(0.07));
        assert_eq!(options.namespaces, ["shop"]);
        assert_eq!(options.watch.traffic.ports, [53]);
        assert!(settings.print().contains("ports = [53]"));
        // And what still differs is named again.
        assert_eq!(settings.take_over(read(&[], &[], new).unwrap()), ["ports"]);
    }

    #[test]
    fn everything_that_is_reloaded_is_a_setting() {
        let settings = read(&[], &[], "").unwrap();
        for name in RELOADED {
            assert!(settings.all.iter().any(|setting| setting.key.name == name), "{name}");
        }
    }
}
