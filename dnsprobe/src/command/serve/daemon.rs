//! What `serve` does with what comes in: publishes it, prints lost queries, obeys
//! signals, and says when the hooks are to be planned anew.

use std::{
    io,
    num::NonZeroU8,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;

use super::{Verdicts, lines::Lines, rate::Rate, settings::Settings};
use crate::{
    command::{
        privileges::Attaching,
        watch::{Detail, Handler},
    },
    engine::{Transaction, Verdict},
    identity::{Identify, RemoteAddress},
    kernel::{self, Reading, RoleReport},
    metrics::Shed,
    otlp::push,
    output::json,
    serve::{Besides, Governor, Planning, Server, Shared, own_cost},
    stats::{ServiceCounts, Snapshot},
};

/// The daemon.
pub(super) struct Daemon {
    settings: Settings,
    published: Shared,
    /// Once there are privileges no more: a thread keeps those that it began with.
    lines: Option<Lines>,
    /// Until it serves.
    server: Option<Server>,
    rate: Rate,
    planning: Planning,
    governor: Governor,
    /// What the hooks in force keep of queries.
    detail: Detail,
    /// Processor time of the kernel programs, where the kernel measures it.
    programs: Duration,
    started: Instant,
}

impl Daemon {
    /// `server` is bound and does not serve yet.
    pub(super) fn new(settings: Settings, published: Shared, server: Server) -> Self {
        let options = &settings.options;
        let names_can_go = options.attaches_again() && !options.without_names;
        let can_shed = |shed: &Shed| *shed != Shed::Names || names_can_go;
        let can_shed = Shed::ALL.into_iter().filter(can_shed).collect();
        let now = Instant::now();
        let mut daemon = Self {
            rate: Rate::new(options.max_verdicts, now),
            planning: Planning::new(kernel::hooked_modules()),
            governor: Governor::new(options.cpu_limit(), can_shed),
            detail: Detail::Names,
            programs: Duration::ZERO,
            started: now,
            settings,
            published,
            lines: None,
            server: Some(server),
        };
        daemon.detail = daemon.detail();
        daemon.publish_shedding();
        daemon
    }

    /// What is to be kept of queries now.
    pub(super) fn detail(&self) -> Detail {
        let without = self.settings.options.without_names || self.sheds(Shed::Names);
        if without { Detail::Counts } else { Detail::Names }
    }

    /// Has a line printed; whether there is room for it.
    fn print(&self, record: json::Record<'_>) -> bool {
        let mut line = Vec::new();
        json::write(record, &mut line).is_ok()
            && self.lines.as_ref().is_some_and(|lines| lines.write(line))
    }

    fn sheds(&self, what: Shed) -> bool {
        self.governor.shed().contains(&what)
    }

    fn publish_shedding(&self) {
        let limit = self.settings.options.cpu_limit();
        self.published.lock().shed(self.governor.shed(), self.governor.share(), limit);
    }

    /// Holds what was used against the limit.
    fn govern(&mut self) {
        let own = Duration::from_secs_f64(own_cost().cpu_seconds.max(0.0));
        if self.governor.measure(own + self.programs, self.started.elapsed()) {
            let names: Vec<&str> = self.governor.shed().iter().map(|shed| shed.as_str()).collect();
            let left_out = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            let percent = self.governor.share() * 100.0;
            eprintln!("dnsprobe: uses {percent:.1} % of a processor; leaves out {left_out} now");
        }
        self.publish_shedding();
    }

    /// Reads file and environment again.
    fn read_settings(&mut self) -> anyhow::Result<()> {
        let new = Settings::of_process(self.settings.options.config.as_deref())?;
        for name in self.settings.take_over(new) {
            eprintln!("dnsprobe: {name} differs now; it stays as it was until a restart");
        }
        let options = &self.settings.options;
        self.rate.per_second = options.max_verdicts;
        self.governor.set_limit(options.cpu_limit());
        self.published.lock().limit(options.published());
        Ok(())
    }
}

impl Handler for Daemon {
    fn watching(&mut self, hooks: &[RoleReport]) -> anyhow::Result<()> {
        self.published.lock().watching(hooks);
        let Some(server) = self.server.take() else { return Ok(()) };
        self.lines = Some(Lines::to(io::stdout()).context("cannot start a thread")?);
        let address = server.address()?;
        server.start().context("cannot serve")?;
        eprintln!("dnsprobe: serving on http://{address}/");
        let options = &self.settings.options;
        if let Some(endpoint) = options.otlp_endpoint.clone() {
            self.published.lock().keep_for_pushing();
            tokio::spawn(push(endpoint, options.interval, self.published.clone()));
        }
        Ok(())
    }

    fn transaction(&mut self, transaction: &Transaction) -> anyhow::Result<()> {
        self.published.lock().sampled(transaction);
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> anyhow::Result<()> {
        let wanted = self.settings.options.verdicts == Verdicts::Json;
        let printed = wanted
            && !self.sheds(Shed::Lines)
            && self.rate.allows(Instant::now())
            && self.print(json::Record::Verdict(verdict));
        let printed = printed || !wanted;
        self.published.lock().verdict(verdict, printed);
        Ok(())
    }

    fn snapshot(&mut self, snapshot: &Arc<Snapshot>, _: bool) -> anyhow::Result<()> {
        self.published.lock().reading(snapshot);
        self.published.lock().lines_lost(self.lines.as_ref().map_or(0, Lines::lost));
        self.govern();
        Ok(())
    }

    fn attaching(&self) -> Attaching {
        if self.settings.options.attaches_again() { Attaching::Again } else { Attaching::Once }
    }

    fn plan_anew(&mut self) -> Option<Detail> {
        let modules = self.planning.due(Instant::now(), kernel::hooked_modules());
        if !self.settings.options.attaches_again() {
            if let Some(why) = modules {
                eprintln!("dnsprobe: {why}; the hooks stay as they are without --attach-again");
                self.plan_refused();
            }
            return None;
        }
        if let Some(why) = &modules {
            eprintln!("dnsprobe: {why}; planning the hooks anew");
        }
        let detail = self.detail();
        // Asked for once: where it is refused all stays as it was.
        let other_detail = std::mem::replace(&mut self.detail, detail) != detail;
        let anew = modules.is_some() || other_detail;
        if anew {
            // What attaching takes is not what watching takes.
            self.governor.forget();
        }
        anew.then_some(detail)
    }

    fn plan_refused(&mut self) {
        self.published.lock().plan_refused();
    }

    fn reading(&mut self, reading: &Reading, identify: &mut dyn Identify) {
        let time_ns = reading.programs.iter().map(|cost| cost.time_ns).sum();
        self.programs = Duration::from_nanos(time_ns);
        let ipvs = kernel::ipvs_backends(&self.settings.options.watch.traffic.ports);
        let remote = |address| {
            identify.remote(RemoteAddress { netns: 0, address, at_ns: RemoteAddress::NOW })
        };
        let services = ServiceCounts::join(&reading.backends, &ipvs, remote);
        self.published.lock().read_besides(Besides {
            services,
            backends_full: reading.backends_full,
            samples_left_out: reading.samples_left_out,
            tables: reading.tables.clone(),
            programs: reading.programs.clone(),
        });
    }

    fn sample_bits(&self) -> Option<NonZeroU8> {
        self.settings.options.sample_bits().filter(|_| !self.sheds(Shed::Names))
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
