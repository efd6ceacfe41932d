//! `dnsprobe doctor`: what can be seen on this kernel, how, and why not
//! better.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write},
    path::PathBuf,
};

use clap::Args;
use serde::Serialize;

use super::{EXIT_FOUND, EXIT_OK, Format, NodePlaces};
use crate::{
    cri::{self, Listing},
    identity::{Identity, escape},
    kernel::{self, RoleReport, RoleState, Session},
    output::json,
};

/// What dnsprobe can see on this kernel: attaches every hook, reports, and
/// leaves nothing attached.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Exit codes: 0 every role is attached or not needed; 1 a role is missing; 2 doctor itself failed.

Examples:
  dnsprobe doctor
  dnsprobe doctor -o json")]
pub(super) struct Options {
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    node: NodePlaces,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    kind: &'static str,
    kernel: String,
    complete: bool,
    roles: &'a [RoleReport],
    cgroups: String,
    pod_names: String,
    container_runtime: String,
}

pub(super) fn run(options: &Options) -> anyhow::Result<u8> {
    let session = {
        // The ring buffer belongs to an event loop even when nobody waits.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let _inside = runtime.enter();
        Session::start(&kernel::Options {
            sample_bits: None,
            ports: vec![53],
            trace: true,
            questions: true,
            capture: Some(kernel::MAX_CAPTURE_BYTES),
            root_cgroup: 0,
        })?
    };
    let identity = Identity::new(options.node.identity());
    let complete = session.roles().iter().all(|r| !matches!(r.state, RoleState::Missing { .. }));
    let report = Report {
        schema: json::SCHEMA,
        kind: "doctor",
        kernel: kernel_release(),
        complete,
        roles: session.roles(),
        cgroups: identity.cgroup_access().to_string(),
        pod_names: pod_names(&options.node.log_dir()),
        container_runtime: container_runtime(options.node.cri_socket()),
    };
    let text = match options.output {
        Format::Json => serde_json::to_string(&report)? + "\n",
        Format::Table => table(&report),
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(if complete { EXIT_OK } else { EXIT_FOUND })
}

fn table(report: &Report<'_>) -> String {
    let mut text = format!("kernel {}\n\n", report.kernel);
    let _ = writeln!(text, "{:<18} {:<12} BY", "ROLE", "STATE");
    for role in report.roles {
        let (state, by) = match &role.state {
            RoleState::Attached { mechanism, symbols } if symbols.is_empty() => {
                ("attached", mechanism.to_string())
            }
            RoleState::Attached { mechanism, symbols } => {
                ("attached", format!("{mechanism} on {}", symbols.join(", ")))
            }
            RoleState::NotNeeded { reason } => ("not needed", reason.clone()),
            RoleState::Missing { .. } => ("MISSING", format!("not seen: {}", role.role.without())),
        };
        let _ = writeln!(text, "{:<18} {state:<12} {by}", role.role);
        if role.passed_over.is_empty() {
            if let RoleState::Missing { reason } = &role.state {
                let _ = writeln!(text, "{:31} because {reason}", "");
            }
        } else {
            for passed_over in &role.passed_over {
                let _ = writeln!(text, "{:31} not {passed_over}", "");
            }
        }
    }
    let _ = writeln!(text, "\ncgroups    {}", report.cgroups);
    let _ = writeln!(text, "pod names  {}", report.pod_names);
    let _ = writeln!(text, "runtime    {}", report.container_runtime);
    let _ = writeln!(
        text,
        "\n{}",
        if report.complete {
            "Everything can be seen."
        } else {
            "Not everything can be seen; reports say so, and what depends on it stays unexplained."
        }
    );
    text
}

fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |release| release.trim().to_owned())
}

fn pod_names(log_dir: &std::path::Path) -> String {
    match fs::read_dir(log_dir) {
        Ok(entries) => format!("{} ({} pods)", log_dir.display(), entries.count()),
        Err(error) => format!("none: {}: {error}", log_dir.display()),
    }
}

/// Who may be asked for names that no file has.
fn container_runtime(socket: Option<PathBuf>) -> String {
    let Some(socket) = socket else {
        return "nobody is asked: there is no CRI socket, or none shall be".to_owned();
    };
    let shown = escape(socket.as_os_str().as_encoded_bytes());
    match cri::list(&socket) {
        Ok(Listing { runtime, pods }) => {
            format!("{shown} ({runtime}: {} pods, {} containers)", pods.pods(), pods.containers())
        }
        Err(error) => format!("none: {shown}: {error}"),
    }
}
