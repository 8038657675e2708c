use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    thread,
};

/// Calls sources one by one, each whether or not the one before it panicked. The first panic goes on
/// when this is dropped.
#[derive(Default)]
pub(super) struct OneByOne {
    panic: Option<Box<dyn Any + Send>>,
}

impl OneByOne {
    pub(super) fn call(&mut self, source: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(source)) {
            self.panic.get_or_insert(panic);
        }
    }
}

impl Drop for OneByOne {
    fn drop(&mut self) {
        if let Some(panic) = self.panic.take()
            && !thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}
