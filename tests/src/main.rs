//! `lab`: the test lab of dnsprobe as a program. See `lab --help`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use dnsprobe_tests::client::{
    forge, hostile, keyed, pair, preempt, query, resolver, spray, steady, tcp,
};
use dnsprobe_tests::command::{attribution, bench, clean, demo, load, native, run, soak};
use dnsprobe_tests::lab::{Programs, hold, respond};

/// A mini node with real faults, for testing dnsprobe.
///
/// `prepare` compiles the resolver clients; do it once on the machine, since a
/// guest has no time for it. The other commands need root. `run` and `demo`
/// change the machine they run on and belong into a guest.
#[derive(Debug, Parser)]
#[command(name = "lab", version)]
struct Cli {
    /// The dnsprobe to test; the one beside this program when not given.
    #[arg(long, global = true, value_name = "PATH")]
    dnsprobe: Option<PathBuf>,
    /// Directory of the compiled resolver clients; beside this program when
    /// not given.
    #[arg(long, global = true, value_name = "DIR")]
    clients: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compile the resolver clients (needs gcc, musl-gcc and go).
    Prepare,
    /// List the scenarios and the kernels they run on.
    List(run::ListArgs),
    /// Build the mini node on this machine and run scenarios.
    Run(run::Args),
    /// Tell the story of `cargo xtask demo` on this machine.
    Demo,
    /// Test dnsprobe on the machine's own kernel, in namespaces of its own.
    Native,
    /// Ask for long at an even rate while nothing is wrong: dnsprobe must find
    /// nothing.
    Clean(clean::Args),
    /// Compare whom dnsprobe holds every query for with who asked it.
    Attribution(attribution::Args),
    /// Measure what watching costs, by the machine's own clock.
    Bench(bench::Args),
    /// Ask a real server faster and faster, without and with dnsprobe.
    Load(load::Args),
    /// Watch for long while clients ask and pods come and go: dnsprobe must neither
    /// grow nor be noticed.
    Soak(soak::Args),
    /// Ask as a client would and print what was measured.
    #[command(subcommand)]
    Client(ClientCommand),
    /// Hold packets of an NFQUEUE and let them go together.
    Hold(hold::Args),
    /// Answer every query, with a fault.
    Respond(respond::Args),
}

#[derive(Debug, Subcommand)]
enum ClientCommand {
    /// Queries one after the other, or in a burst.
    Query(query::Args),
    /// A and AAAA at once from one socket.
    Pair(pair::Args),
    /// A and AAAA at once, again and again, at an even rate.
    Steady(steady::Args),
    /// Queries over TCP.
    Tcp(tcp::Args),
    /// Queries whose names say who asks.
    Keyed(keyed::Args),
    /// Two threads, of which one takes the processor from the other.
    Preempt(preempt::Args),
    /// One datagram to each of many ports.
    Spray(spray::Args),
    /// Broken messages.
    Hostile(hostile::Args),
    /// Answers to somebody else's queries.
    Forge(forge::Args),
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let programs = programs(&cli)?;
    match cli.command {
        Command::Prepare => resolver::prepare(&programs.clients)?,
        Command::List(args) => run::list(&args),
        Command::Run(args) => return run::run(&args, &programs),
        Command::Demo => return demo::run(&programs),
        Command::Clean(args) => return clean::run(&args, &programs),
        Command::Attribution(args) => return attribution::run(&args, &programs),
        Command::Bench(args) => return bench::run(&args, &programs),
        Command::Load(args) => return load::run(&args, &programs),
        Command::Soak(args) => return soak::run(&args, &programs),
        Command::Native => return native::run(&programs),
        Command::Client(ClientCommand::Query(args)) => print(&query::run(&args)?)?,
        Command::Client(ClientCommand::Pair(args)) => print(&pair::run(&args)?)?,
        Command::Client(ClientCommand::Steady(args)) => print(&steady::run(&args)?)?,
        Command::Client(ClientCommand::Tcp(args)) => print(&tcp::run(&args)?)?,
        Command::Client(ClientCommand::Keyed(args)) => print(&keyed::run(&args)?)?,
        Command::Client(ClientCommand::Preempt(args)) => print(&preempt::run(&args)?)?,
        Command::Client(ClientCommand::Spray(args)) => print(&spray::run(&args)?)?,
        Command::Client(ClientCommand::Hostile(args)) => print(&hostile::run(&args)?)?,
        Command::Client(ClientCommand::Forge(args)) => print(&forge::run(&args)?)?,
        Command::Hold(args) => hold::run(&args)?,
        Command::Respond(args) => respond::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print(report: &dnsprobe_tests::client::Report) -> Result<()> {
    println!("{}", serde_json::to_string(report)?);
    Ok(())
}

fn programs(cli: &Cli) -> Result<Programs> {
    let lab = std::env::current_exe()?;
    let beside = lab.parent().context("this program is in no directory")?;
    Ok(Programs {
        dnsprobe: cli.dnsprobe.clone().unwrap_or_else(|| beside.join("dnsprobe")),
        clients: cli.clients.clone().unwrap_or_else(|| beside.join("lab-clients")),
        lab,
    })
}
