//! Settings as text, from a TOML file and from the environment. What a value means
//! is for the option that it is the default of.

use std::{any::TypeId, collections::BTreeMap, ffi::OsString};

use anyhow::{Context, bail, ensure};
use clap::{Arg, ArgAction, Command};
use toml::{Table, Value};

/// What names in the environment begin with.
const PREFIX: &str = "DNSPROBE_";
/// The file that is read when `--config` names none.
pub(super) const CONFIG: &str = "DNSPROBE_CONFIG";
/// Options that say where settings come from, or are none.
const NO_SETTINGS: [&str; 4] = ["config", "print-config", "duration", "help"];

/// What was given for each setting, by its option's long name.
pub(super) type Given = BTreeMap<String, Vec<String>>;

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// The option's long name, which is the key in the file.
    pub(super) name: String,
    /// The option's id.
    pub(super) id: String,
    /// What it takes.
    pub(super) kind: Kind,
}

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `true` or `false`.
    Switch,
    /// One value.
    One,
    /// A list.
    Several,
}

impl Key {
    fn of(arg: &Arg) -> Option<Self> {
        let name = arg.get_long().filter(|name| !NO_SETTINGS.contains(name))?;
        let kind = if arg.get_value_parser().type_id() == TypeId::of::<bool>() {
            Kind::Switch
        } else if matches!(arg.get_action(), ArgAction::Append) {
            Kind::Several
        } else {
            Kind::One
        };
        Some(Self { name: name.to_owned(), id: arg.get_id().as_str().to_owned(), kind })
    }

    /// Its name in the environment.
    pub(super) fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }
}

/// Every setting of a command, in the order of its options.
pub(super) fn keys(command: &Command) -> Vec<Key> {
    command.get_arguments().filter_map(Key::of).collect()
}

/// What a file gives.
///
/// # Errors
/// When it is no TOML, has a key that is no setting, or a value of a wrong shape.
pub(super) fn from_file(text: &str, keys: &[Key]) -> anyhow::Result<Given> {
    let table: Table = text.parse().context("this is no TOML")?;
    let mut given = Given::new();
    for (name, value) in table {
        let Some(key) = keys.iter().find(|key| key.name == name) else {
            let names = keys.iter().map(|key| key.name.clone());
            bail!("there is no setting {name:?}{}", suggestion(&name, names));
        };
        let values = match (key.kind, &value) {
            (Kind::Several, Value::Array(list)) => list.iter().map(text_of).collect(),
            (Kind::Switch, Value::Boolean(_)) | (Kind::One | Kind::Several, _) => {
                text_of(&value).map(|text| vec![text])
            }
            (Kind::Switch, _) => None,
        };
        let shape = match key.kind {
            Kind::Switch => "either true or false",
            Kind::One => "one text or number",
            Kind::Several => "a list of texts or numbers",
        };
        given.insert(name, values.with_context(|| format!("{} takes {shape}", key.name))?);
    }
    Ok(given)
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(switch) => Some(switch.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

/// What the environment gives. An empty variable gives nothing.
///
/// # Errors
/// When a variable with our prefix is no setting, or no text.
pub(super) fn from_environment(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    keys: &[Key],
) -> anyhow::Result<Given> {
    let mut given = Given::new();
    for (variable, value) in variables {
        let Some(variable) = variable.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        if variable == CONFIG || is_of_a_service(variable) {
            continue;
        }
        let Some(key) = keys.iter().find(|key| key.variable() == variable) else {
            let names = keys.iter().map(Key::variable);
            bail!("{variable} is no setting{}", suggestion(variable, names));
        };
        let value = value.into_string().ok().with_context(|| format!("{variable} is no text"))?;
        if value.is_empty() {
            continue;
        }
        let values = match key.kind {
            Kind::Several => value.split(',').map(|part| part.trim().to_owned()).collect(),
            Kind::Switch | Kind::One => vec![value],
        };
        given.insert(key.name.clone(), values);
    }
    Ok(given)
}

/// Whether Kubernetes sets it in every container, for a Service whose name begins
/// with `dnsprobe` (kubernetes, pkg/kubelet/envvars/envvars.go).
fn is_of_a_service(variable: &str) -> bool {
    let is_port = |rest: &str| {
        let mut parts = rest.split('_');
        let number = parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
        number && parts.next().is_some_and(|part| matches!(part, "TCP" | "UDP" | "SCTP"))
    };
    variable.ends_with("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || variable.ends_with("_PORT")
        || variable.split_once("_PORT_").is_some_and(|(_, rest)| is_port(rest))
}

/// The name that was meant, if one is like it.
fn suggestion(wrong: &str, names: impl Iterator<Item = String>) -> String {
    names
        .map(|name| (strsim::jaro_winkler(wrong, &name), name))
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map_or_else(String::new, |(_, name)| format!("; did you mean {name}?"))
}

/// Gives each option what was given for it as its default.
///
/// # Errors
/// When an option refuses a value, with the option's own reason.
pub(super) fn as_defaults(
    mut command: Command,
    given: &Given,
    keys: &[Key],
) -> anyhow::Result<Command> {
    for key in keys {
        let Some(values) = given.get(&key.name) else { continue };
        check(&command, key, values)?;
        command = command.mut_arg(&key.id, |arg| arg.default_values(values.clone()));
    }
    Ok(command)
}

fn check(command: &Command, key: &Key, values: &[String]) -> anyhow::Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    ensure!(
        key.kind != Kind::Several || !values.iter().any(|value| value.contains(',')),
        "{}: no value of a list may have a comma",
        key.name
    );
    let argument = format!("--{}={}", key.name, values.join(","));
    let parsed = command.clone().try_get_matches_from([command.get_name(), &argument]);
    if let Err(error) = parsed {
        let text = error.to_string();
        let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("For more"));
        let said: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        bail!("{}: {}", key.name, said.join("; ").trim_start_matches("error: "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Vec<Key> {
        [("max-owners", Kind::One), ("ports", Kind::Several), ("no-servers", Kind::Switch)]
            .map(|(name, kind)| Key { name: name.into(), id: name.replace('-', "_"), kind })
            .to_vec()
    }

    fn environment(variables: &[(&str, &str)]) -> anyhow::Result<Given> {
        from_environment(variables.iter().map(|(n, v)| ((*n).into(), (*v).into())), &keys())
    }

    #[test]
    fn a_file_gives_numbers_texts_lists_and_switches() {
        let given =
            from_file("max-owners = 7\nports = [53, \"54\"]\nno-servers = true", &keys()).unwrap();
        assert_eq!(given["max-owners"], ["7"]);
        assert_eq!(given["ports"], ["53", "54"]);
        assert_eq!(given["no-servers"], ["true"]);
        assert_eq!(from_file("ports = 53", &keys()).unwrap()["ports"], ["53"]);
        assert!(from_file("ports = []", &keys()).unwrap()["ports"].is_empty());
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
        let error = |text: &str| from_file(text, &keys()).unwrap_err().to_string();
        assert_eq!(
            error("max-owner = 7"),
            "there is no setting \"max-owner\"; did you mean max-owners?"
        );
        assert_eq!(
            error("max_owners = 7"),
            "there is no setting \"max_owners\"; did you mean max-owners?"
        );
        assert_eq!(error("colour = 7"), "there is no setting \"colour\"");
        assert_eq!(error("[serve]\nports = 7"), "there is no setting \"serve\"");
        let error = environment(&[("DNSPROBE_MAX_OWNER", "7")]).unwrap_err().to_string();
        assert_eq!(error, "DNSPROBE_MAX_OWNER is no setting; did you mean DNSPROBE_MAX_OWNERS?");
    }

    #[test]
    fn a_value_of_the_wrong_shape_is_refused() {
        let error = |text: &str| from_file(text, &keys()).unwrap_err().to_string();
        assert_eq!(error("max-owners = [1]"), "max-owners takes one text or number");
        assert_eq!(error("no-servers = \"yes\""), "no-servers takes either true or false");
        assert_eq!(error("ports = [[1]]"), "ports takes a list of texts or numbers");
        assert_eq!(error("ports = "), "this is no TOML");
    }

    #[test]
    fn the_environment_gives_what_it_names_and_services_are_none_of_it() {
        let given = environment(&[
            ("DNSPROBE_PORTS", "53, 54"),
            ("DNSPROBE_MAX_OWNERS", ""),
            ("DNSPROBE_CONFIG", "/x"),
            ("DNSPROBE_SERVICE_HOST", "10.0.0.1"),
            ("DNSPROBE_METRICS_SERVICE_PORT_HTTP", "80"),
            ("DNSPROBE_PORT", "tcp://10.0.0.1:80"),
            ("DNSPROBE_PORT_80_TCP_PROTO", "tcp"),
            ("HOME", "/"),
        ])
        .unwrap();
        assert_eq!(given, Given::from([("ports".into(), vec!["53".into(), "54".into()])]));
        assert!(environment(&[("DNSPROBE_PORT_OF_CALL", "7")]).is_err());
    }
}
