use std::{
    collections::BTreeMap,
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::Notify;

use crate::{AddError, BoxError, desk::Desk};

/// What one stage does, from its start to its end.
pub(crate) type Task = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// The stages of one pipeline by name: those that wait to be started and those that run.
#[derive(Default)]
pub(crate) struct Crew {
    state: Mutex<State>,
    /// Wakes whoever runs the pipeline: there are stages to start.
    pub(crate) news: Notify,
}

#[derive(Default)]
struct State {
    stages: BTreeMap<Arc<str>, Role>,
    waiting: Vec<(Arc<str>, Task)>,
    groups: Vec<Weak<dyn Close>>,
    stopping: bool,
}

/// What a stage is to its pipeline, with the desk of its outlet.
pub(crate) enum Role {
    Producer(Arc<dyn Front>),
    Transform(Arc<dyn Front>),
    Consumer,
}

/// The desk of an outlet, whatever its events are.
pub(crate) trait Front: Send + Sync {
    /// Tells the stage to make no more events.
    fn stop(&self);

    /// Whether anybody has subscribed, or may.
    fn is_in_use(&self) -> bool;
}

/// Something that brings new stages until it is closed.
pub(crate) trait Close: Send + Sync {
    fn close(&self);
}

impl<L: Send> Front for Desk<L> {
    fn stop(&self) {
        Self::stop(self);
    }

    fn is_in_use(&self) -> bool {
        Self::is_in_use(self)
    }
}

impl Crew {
    /// Adds a stage, to be started.
    pub(crate) fn add(&self, name: String, role: Role, task: Task) -> Result<(), AddError> {
        let mut state = self.lock();
        if state.stopping {
            return Err(AddError::Stopping);
        }
        if state.stages.contains_key(name.as_str()) {
            return Err(AddError::NameTaken { name });
        }
        let name = Arc::<str>::from(name);
        state.stages.insert(Arc::clone(&name), role);
        state.waiting.push((name, task));
        drop(state);
        self.news.notify_one();
        Ok(())
    }

    /// A name like `wish` that no stage has.
    pub(crate) fn free_name(&self, wish: &str) -> String {
        let state = self.lock();
        let numbered = (2..).map(|n| format!("{wish}-{n}"));
        let mut names = std::iter::once(wish.to_owned()).chain(numbered);
        names
            .find(|name| !state.stages.contains_key(name.as_str()))
            .expect("there are more numbers than stages")
    }

    /// Takes the stages that wait to be started.
    pub(crate) fn take_waiting(&self) -> Vec<(Arc<str>, Task)> {
        mem::take(&mut self.lock().waiting)
    }

    /// Frees the name of a stage that has ended.
    pub(crate) fn ended(&self, name: &str) {
        self.lock().stages.remove(name);
    }

    pub(crate) fn close_when_stopping(&self, group: Weak<dyn Close>) {
        let mut state = self.lock();
        state.groups.retain(|group| group.strong_count() > 0);
        state.groups.push(group);
    }

    /// Tells every producer to make no more, and lets no stage in from now on.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        let producers: Vec<_> = state.stages.values().filter_map(Role::producer).collect();
        let groups = mem::take(&mut state.groups);
        drop(state);
        for producer in producers {
            producer.stop();
        }
        for group in groups.iter().filter_map(Weak::upgrade) {
            group.close();
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// A stage with an outlet that nobody has subscribed to.
    pub(crate) fn deserted(&self) -> Option<String> {
        let state = self.lock();
        let mut stages = state.stages.iter();
        let deserted = stages.find(|(_, role)| role.front().is_some_and(|desk| !desk.is_in_use()));
        deserted.map(|(name, _)| name.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Role {
    fn front(&self) -> Option<&Arc<dyn Front>> {
        match self {
            Self::Producer(desk) | Self::Transform(desk) => Some(desk),
            Self::Consumer => None,
        }
    }

    fn producer(&self) -> Option<Arc<dyn Front>> {
        match self {
            Self::Producer(desk) => Some(Arc::clone(desk)),
            Self::Transform(_) | Self::Consumer => None,
        }
    }
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().stages.keys()).finish()
    }
}
