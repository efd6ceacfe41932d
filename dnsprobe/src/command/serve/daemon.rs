//! What `serve` does with what comes in: publishes it, prints lost queries, and obeys
//! signals.

use std::{
    io::{self, Write},
    time::Instant,
};

use anyhow::Context;

use super::{Verdicts, rate::Rate, settings::Settings};
use crate::{
    command::watch::Handler,
    engine::{Transaction, Verdict},
    kernel::RoleReport,
    output::json,
    serve::{Server, Shared},
    stats::Snapshot,
};

/// The daemon.
pub(super) struct Daemon {
    settings: Settings,
    published: Shared,
    /// Until it serves.
    server: Option<Server>,
    rate: Rate,
}

impl Daemon {
    /// `server` is bound and does not serve yet.
    pub(super) fn new(settings: Settings, published: Shared, server: Server) -> Self {
        let rate = Rate::new(settings.options.max_verdicts, Instant::now());
        Self { settings, published, server: Some(server), rate }
    }

    /// Reads file and environment again.
    fn read_settings(&mut self) -> anyhow::Result<()> {
        let new = Settings::of_process(self.settings.options.config.as_deref())?;
        for name in self.settings.take_over(new) {
            eprintln!("dnsprobe: {name} differs now; it stays as it was until a restart");
        }
        let options = &self.settings.options;
        self.rate.per_second = options.max_verdicts;
        self.published.lock().limit(options.published());
        Ok(())
    }
}

impl Handler for Daemon {
    fn watching(&mut self, hooks: &[RoleReport]) -> anyhow::Result<()> {
        self.published.lock().watching(hooks);
        let Some(server) = self.server.take() else { return Ok(()) };
        let address = server.address()?;
        server.start().context("cannot serve")?;
        eprintln!("dnsprobe: serving on http://{address}/");
        Ok(())
    }

    fn transaction(&mut self, _: &Transaction) -> anyhow::Result<()> {
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> anyhow::Result<()> {
        // A full disk or a log collector that is gone is no reason to stop watching.
        let print = self.settings.options.verdicts == Verdicts::Json;
        let printed = !print
            || self.rate.allows(Instant::now())
                && json::write(json::Record::Verdict(verdict), &mut io::stdout().lock()).is_ok();
        self.published.lock().verdict(verdict, printed);
        Ok(())
    }

    fn snapshot(&mut self, snapshot: &Snapshot, _: bool) -> anyhow::Result<()> {
        self.published.lock().reading(snapshot);
        // As above.
        let _ = io::stdout().lock().flush();
        Ok(())
    }

    fn reads_at_once(&self) -> bool {
        true
    }

    fn reloads(&self) -> bool {
        true
    }

    fn reload(&mut self) {
        let result = self.read_settings();
        self.published.lock().settings_read(result.is_ok());
        match result {
            Ok(()) => eprintln!("dnsprobe: the settings were read again"),
            Err(error) => eprintln!("dnsprobe: the settings stay as they were: {error:#}"),
        }
    }
}
