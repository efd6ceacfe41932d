//! Facts that one thread reads and another uses. Whoever uses them never waits
//! for a reading.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{ClusterFacts, RemoteFacts};
use crate::identity::ListedPods;

/// The latest facts, and whether newer ones are wanted.
#[derive(Debug, Default)]
pub struct SharedFacts {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    facts: Arc<RemoteFacts>,
    cluster: Arc<ClusterFacts>,
    listed: Arc<ListedPods>,
    published: bool,
    wanted: bool,
    /// A pod or container has no name yet.
    missing: bool,
    over: bool,
}

impl SharedFacts {
    /// The facts as they were read last.
    pub(in crate::identity) fn latest(&self) -> Arc<RemoteFacts> {
        Arc::clone(&self.lock().facts)
    }

    /// What the API server has told; nothing where it is not asked.
    pub(crate) fn cluster(&self) -> Arc<ClusterFacts> {
        Arc::clone(&self.lock().cluster)
    }

    /// Replaces what the API server has told.
    pub fn publish_cluster(&self, facts: ClusterFacts) {
        let facts = Arc::new(facts);
        let before = std::mem::replace(&mut self.lock().cluster, facts);
        // May be large.
        drop(before);
    }

    /// What the container runtime listed; nothing where it is not asked.
    pub(in crate::identity) fn listed(&self) -> Arc<ListedPods> {
        Arc::clone(&self.lock().listed)
    }

    /// Replaces what the container runtime listed.
    pub fn publish_listed(&self, pods: ListedPods) {
        let pods = Arc::new(pods);
        let before = std::mem::replace(&mut self.lock().listed, pods);
        // May be large.
        drop(before);
    }

    /// Says that a name is missing which the container runtime may know.
    pub(in crate::identity) fn say_missing(&self) {
        self.lock().missing = true;
        self.changed.notify_all();
    }

    /// Waits until a name is missing; `false`: there shall be no further reading.
    #[must_use]
    pub fn wait_until_missing(&self) -> bool {
        let waited = self.changed.wait_while(self.lock(), |state| !state.missing && !state.over);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.missing = false;
        !state.over
    }

    /// Asks for a new reading.
    pub(in crate::identity) fn want(&self) {
        self.lock().wanted = true;
        self.changed.notify_all();
    }

    /// Replaces the facts.
    pub fn publish(&self, facts: RemoteFacts) {
        let facts = Arc::new(facts);
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.facts, facts);
        state.published = true;
        drop(state);
        // May be large.
        drop(before);
        self.changed.notify_all();
    }

    /// Waits for the first reading, at most `longest`.
    pub fn wait_for_first(&self, longest: Duration) {
        drop(self.wait_while(longest, |state| !state.published && !state.over));
    }

    /// No further reading: whoever waits for a wish is told so.
    pub fn end(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }

    /// Waits until a reading is wanted, at most `longest`; whether one is. `None`:
    /// there shall be no further one.
    #[must_use]
    pub fn wait(&self, longest: Duration) -> Option<bool> {
        let mut state = self.wait_while(longest, |state| !state.wanted && !state.over);
        let wanted = std::mem::take(&mut state.wanted);
        (!state.over).then_some(wanted)
    }

    /// Lets a time pass; `false`: there shall be no further reading.
    #[must_use]
    pub fn pause(&self, time: Duration) -> bool {
        !self.wait_while(time, |state| !state.over).over
    }

    fn wait_while(
        &self,
        longest: Duration,
        condition: impl Fn(&State) -> bool,
    ) -> MutexGuard<'_, State> {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.lock(), longest, |state| condition(state))
            .unwrap_or_else(PoisonError::into_inner);
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No holder of the lock leaves anything half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
