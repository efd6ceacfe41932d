//! What there is to be read at this moment.

use std::{
    collections::VecDeque,
    num::NonZeroU8,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    engine::{Transaction, Verdict},
    kernel::{Counters, Fill, Processors, ProgramCost, RoleReport},
    metrics::{
        Format, Limits, NameCounts, OwnCost, Owners, Patterns, Plans, Pushes, Reloads, Samples,
        Scrape, Shed, Shedding, collect,
    },
    stats::{ServiceCounts, Snapshot},
};

/// Verdicts that are kept.
const RECENT: usize = 100;
/// Verdicts that wait to be sent to a collector, at most.
const UNSENT: usize = 1_000;

/// What is published, and how much of it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Time between two readings.
    pub interval: Duration,
    /// Who has metrics of their own.
    pub limits: Limits,
    /// Whether metrics tell an owner's servers apart.
    pub servers: bool,
    /// Names that metrics tell, at most: of lost queries, and of sampled ones.
    pub top_names: usize,
    /// Of 2^this processes one is sampled at a time; `None`: nobody is.
    pub sample_bits: Option<NonZeroU8>,
}

/// What a reading says that is in no snapshot.
#[derive(Debug, Default)]
pub struct Besides {
    /// Where queries to services went.
    pub services: Vec<ServiceCounts>,
    /// Queries that are missing there, because there were too many backends.
    pub backends_full: u64,
    /// Transactions that were too many for the sample.
    pub samples_left_out: u64,
    /// How full the programs' tables are.
    pub tables: Vec<Fill>,
    /// What each kernel program cost, where the kernel keeps that.
    pub programs: Vec<ProgramCost>,
}

/// The last of everything.
#[derive(Debug)]
pub struct Published {
    options: Options,
    hooks: Vec<RoleReport>,
    /// The last reading, the one before, and when the last was made.
    last: Option<Reading>,
    before: Option<Arc<Snapshot>>,
    verdicts: VecDeque<Verdict>,
    verdicts_not_printed: u64,
    lines_lost: u64,
    lost_names: NameCounts,
    besides: Besides,
    patterns: Patterns,
    samples: Samples,
    owners: Owners,
    reloads: Reloads,
    plans: Plans,
    processors: Processors,
    shedding: Shedding,
    /// Where there is a collector: verdicts it has not got, oldest first.
    unsent: Option<VecDeque<Verdict>>,
    pushes: Pushes,
}

#[derive(Debug)]
struct Reading {
    snapshot: Arc<Snapshot>,
    at: Instant,
}

/// [`Published`], for everybody.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<Published>>);

impl Shared {
    /// Nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self(Arc::new(Mutex::new(Published {
            options,
            hooks: Vec::new(),
            last: None,
            before: None,
            verdicts: VecDeque::new(),
            verdicts_not_printed: 0,
            lines_lost: 0,
            lost_names: NameCounts::default(),
            besides: Besides::default(),
            patterns: Patterns::default(),
            samples: Samples::default(),
            owners: Owners::default(),
            reloads: Reloads::default(),
            plans: Plans::default(),
            processors: Processors::default(),
            shedding: Shedding::default(),
            unsent: None,
            pushes: Pushes::default(),
        })))
    }

    /// For as short as possible.
    pub fn lock(&self) -> MutexGuard<'_, Published> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Published {
    /// Everything is attached, in this way.
    pub fn watching(&mut self, hooks: &[RoleReport]) {
        self.hooks = hooks.to_vec();
        self.plans.attached += 1;
    }

    /// The hooks were to be planned anew, and could not be attached.
    pub fn plan_refused(&mut self) {
        self.plans.refused += 1;
    }

    /// Everything was read that is in no snapshot.
    pub fn read_besides(&mut self, besides: Besides) {
        self.besides = besides;
    }

    /// A transaction, of a sampled process or of any.
    pub fn sampled(&mut self, transaction: &Transaction) {
        if let Some(bits) = self.options.sample_bits {
            self.samples.answered(transaction, bits, self.options.top_names > 0);
        }
    }

    /// What the last reading said that is in no snapshot.
    #[must_use]
    pub fn besides(&self) -> &Besides {
        &self.besides
    }

    /// What sampled processes looked up; `None`: nobody is sampled.
    #[must_use]
    pub fn samples(&self) -> Option<&Samples> {
        self.options.sample_bits.map(|_| &self.samples)
    }

    /// So much is left out now.
    pub fn shed(&mut self, shed: &[Shed], share: f64, limit: Option<f64>) {
        let before = self.shedding.shed.len();
        let times = self.shedding.times + u64::from(shed.len() > before);
        self.shedding = Shedding { shed: shed.to_vec(), share, limit, times };
    }

    /// What is left out.
    #[must_use]
    pub fn shedding(&self) -> &Shedding {
        &self.shedding
    }

    /// From now on so much is published.
    pub fn limit(&mut self, options: Options) {
        self.options = options;
    }

    /// Somebody asked for the settings to be read again; whether they could be.
    pub fn settings_read(&mut self, applied: bool) {
        self.reloads.count(applied);
    }

    /// The counters were read.
    pub fn reading(&mut self, snapshot: &Arc<Snapshot>) {
        self.patterns.read(snapshot, &self.besides.services);
        self.samples.read(snapshot, self.besides.samples_left_out);
        let reading = Reading { snapshot: Arc::clone(snapshot), at: Instant::now() };
        self.before = self.last.replace(reading).map(|reading| reading.snapshot);
    }

    /// Something was decided; `printed`: whether it was passed on.
    pub fn verdict(&mut self, verdict: &Verdict, printed: bool) {
        self.verdicts_not_printed += u64::from(!printed);
        self.patterns.decided(verdict);
        if verdict.loss && self.options.top_names > 0 {
            self.lost_names.count(verdict.query.question.as_ref().map(|question| &question.name));
        }
        if self.verdicts.len() == RECENT {
            self.verdicts.pop_front();
        }
        self.verdicts.push_back(verdict.clone());
        if let Some(unsent) = &mut self.unsent {
            unsent.push_back(verdict.clone());
            self.pushes.verdicts_dropped += u64::from(unsent.len() > UNSENT);
            unsent.truncate(UNSENT);
        }
    }

    /// There is a collector: verdicts are kept until it has them.
    pub fn keep_for_pushing(&mut self) {
        self.unsent.get_or_insert_default();
    }

    /// What a collector is to get: the last reading, and the verdicts it has not got,
    /// which are the caller's from now on.
    pub fn to_push(&mut self) -> (Option<(Arc<Snapshot>, Limits)>, VecDeque<Verdict>) {
        let Some(snapshot) = self.snapshot() else { return (None, VecDeque::new()) };
        let reading = (Arc::clone(snapshot), self.options.limits.clone());
        (Some(reading), self.unsent.as_mut().map(std::mem::take).unwrap_or_default())
    }

    /// Whether a collector took it, and the verdicts that it has not got.
    pub fn pushed(&mut self, taken: bool, mut left: VecDeque<Verdict>) {
        self.pushes.sent += u64::from(taken);
        self.pushes.failed += u64::from(!taken);
        if let Some(unsent) = &mut self.unsent {
            left.append(unsent);
            self.pushes.verdicts_dropped += left.len().saturating_sub(UNSENT) as u64;
            left.truncate(UNSENT);
            *unsent = left;
        }
    }

    /// How often a collector was sent to.
    #[must_use]
    pub fn pushes(&self) -> Pushes {
        self.pushes
    }

    /// So many lines could not be written, of verdicts that counted as printed.
    pub fn lines_lost(&mut self, lines: u64) {
        self.lines_lost = lines;
    }

    /// Why what is here is of no use: not yet, or not any more.
    ///
    /// # Errors
    /// With the reason, when that is so.
    pub fn ready(&self) -> Result<(), String> {
        /// Readings that may fail to come.
        const PATIENCE: u32 = 3;
        let Some(last) = &self.last else {
            return Err("the counters have not been read yet".to_owned());
        };
        let (age, limit) = (last.at.elapsed(), self.options.interval * PATIENCE);
        if age > limit.max(Duration::from_secs(5)) {
            return Err(format!("the last reading is {:.0} s old", age.as_secs_f64()));
        }
        Ok(())
    }

    /// The page of metrics; nothing before the first reading.
    pub fn metrics(&mut self, format: Format, own: OwnCost) -> Option<Vec<u8>> {
        let counters = &Counters::read_again(&mut self.processors);
        let snapshot = Arc::clone(self.snapshot()?);
        let scrape = Scrape {
            snapshot: &snapshot,
            counters,
            hooks: &self.hooks,
            limits: &self.options.limits,
            servers: self.options.servers && !self.shedding.shed.contains(&Shed::Servers),
            verdicts_not_printed: self.verdicts_not_printed + self.lines_lost,
            services: &self.besides.services,
            backends_full: self.besides.backends_full,
            patterns: &self.patterns,
            samples: self.options.sample_bits.map(|_| &self.samples),
            lost_names: &self.lost_names,
            top_names: self.options.top_names,
            reloads: self.reloads,
            plans: self.plans,
            pushes: self.unsent.is_some().then_some(self.pushes),
            tables: &self.besides.tables,
            programs: &self.besides.programs,
            shedding: &self.shedding,
            own,
        };
        Some(collect(&scrape, &mut self.owners, format))
    }

    /// The last reading.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.last.as_ref().map(|reading| &reading.snapshot)
    }

    /// The one before.
    #[must_use]
    pub fn before(&self) -> Option<&Arc<Snapshot>> {
        self.before.as_ref()
    }

    /// How the hooks stand.
    #[must_use]
    pub fn hooks(&self) -> &[RoleReport] {
        &self.hooks
    }

    /// The last verdicts, latest first.
    pub fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        self.verdicts.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::{clash, snapshot};

    fn options() -> Options {
        Options {
            interval: Duration::from_secs(5),
            limits: Limits::default(),
            servers: true,
            top_names: 0,
            sample_bits: None,
        }
    }

    #[test]
    fn it_is_ready_with_the_first_reading() {
        let shared = Shared::new(options());
        let mut published = shared.lock();
        assert!(published.ready().unwrap_err().contains("not been read yet"));
        let metrics =
            |published: &mut Published| published.metrics(Format::Text, OwnCost::default());
        assert_eq!(metrics(&mut published), None);
        published.reading(&Arc::new(snapshot()));
        assert_eq!(published.ready(), Ok(()));
        let page = String::from_utf8(metrics(&mut published).unwrap()).unwrap();
        assert!(page.contains("dnsprobe_queries_total"));
    }

    #[test]
    fn verdicts_wait_for_the_collector_in_their_order_and_not_without_end() {
        let shared = Shared::new(options());
        let mut published = shared.lock();
        published.verdict(&clash(), true);
        published.keep_for_pushing();
        published.reading(&Arc::new(snapshot()));
        let verdict = |id| {
            let mut verdict = clash();
            verdict.query.id = id;
            verdict
        };
        published.verdict(&verdict(1), true);
        let (reading, taken) = published.to_push();
        assert!(reading.is_some());
        published.verdict(&verdict(2), true);
        published.pushed(false, taken);
        let (_, both) = published.to_push();
        assert_eq!(both.iter().map(|it| it.query.id).collect::<Vec<_>>(), [1, 2]);
        published.pushed(true, VecDeque::new());
        (0..=UNSENT).for_each(|_| published.verdict(&verdict(3), true));
        assert_eq!(published.to_push().1.len(), UNSENT);
        assert_eq!(published.pushes(), Pushes { sent: 1, failed: 1, verdicts_dropped: 1 });
    }

    #[test]
    fn the_last_verdicts_are_kept_and_the_others_only_counted() {
        let shared = Shared::new(options());
        let mut published = shared.lock();
        for number in 0..RECENT + 5 {
            published.verdict(&clash(), number < 3);
        }
        assert_eq!(published.verdicts().count(), RECENT);
        assert_eq!(published.verdicts_not_printed, RECENT as u64 + 2);
    }
}
