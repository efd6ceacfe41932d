//! `dnsprobe explain`: what an error message is worth, and what to ask next.

use std::io::{self, BufRead, Read, Write};

use anyhow::Context;
use clap::Args;

use super::{EXIT_FOUND, EXIT_OK, Format};
use crate::{
    messages::Log,
    output::{Terminal, explanation},
};

/// Longest line that is looked at; the rest of a longer one is skipped.
const LINE_BYTES: u64 = 16 * 1024;

/// Turns a client's error message, or lines of CoreDNS' log, into the first
/// question to ask: what the message means, what it does not prove, and which
/// dnsprobe command settles it.
///
/// Asks nobody and needs no privileges. Every message it knows is in
/// docs/messages.md.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Exit codes: 0 a message was recognised; 1 none was; 2 could not run.

Examples:
  dnsprobe explain 'curl: (6) Could not resolve host: cart.shop'
  dnsprobe explain 'lookup cart on 10.96.0.10:53: read udp 10.244.0.9:4->10.96.0.10:53: i/o timeout'
  kubectl logs -n kube-system deploy/coredns | dnsprobe explain
  dnsprobe explain -o json < app.log")]
pub(super) struct Options {
    /// The message; without it, or with `-`, lines from standard input.
    #[arg(allow_hyphen_values = true)]
    message: Option<String>,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(super) fn run(options: &Options) -> anyhow::Result<u8> {
    let mut log = Log::default();
    match options.message.as_deref() {
        Some(message) if message != "-" => {
            message.split('\n').for_each(|line| log.line(line.as_bytes()));
        }
        _ => read(&mut io::stdin().lock(), &mut log).context("cannot read standard input")?,
    }
    let text = match options.output {
        Format::Json => explanation::json(&log)?,
        Format::Table => explanation::text(&log, &Terminal::of_stdout()),
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(if log.entries().is_empty() { EXIT_FOUND } else { EXIT_OK })
}

/// Reads lines of any length in bounded memory.
fn read(input: &mut impl BufRead, log: &mut Log) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else {
            skip_line(input)?;
        }
        log.line(&line);
    }
}

/// Skips to behind the next line feed.
fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        match buffer.iter().position(|&byte| byte == b'\n') {
            Some(at) => {
                input.consume(at + 1);
                return Ok(());
            }
            None => {
                let all = buffer.len();
                input.consume(all);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_length_are_read() {
        let message = "lookup a on 10.0.0.1:53: no such host";
        let text = format!("{message}\n{}{message}\n\n{message}", "x".repeat(100_000));
        let mut log = Log::default();
        read(&mut text.as_bytes(), &mut log).unwrap();
        assert_eq!((log.lines(), log.unrecognised()), (4, 1));
        assert_eq!((log.entries().len(), log.entries()[0].times), (1, 2));
    }
}
