use crate::{Batch, BoxError, Transform};

/// What is made of one event, at once: nothing, one event or several.
///
/// A step costs a nanosecond or less where it runs in the task of another stage: put it behind a producer or a
/// transform by [`then`](crate::Producer::then), or before a consumer by [`after`](crate::Consumer::after).
/// Several in a row are one loop over a batch: one `then` after the other, or a tuple of up to six, in which there may be
/// tuples. Steps that are to have a task and a window of their own are a stage:
/// [`Pipeline::transform`](crate::Pipeline::transform) takes such tuples, and a step of one's own as a tuple of one.
///
/// [`map`](crate::map), [`try_map`](crate::try_map), [`filter`](crate::filter),
/// [`filter_map`](crate::filter_map) and [`flat_map`](crate::flat_map) are steps, and one of one's own takes a few lines:
///
/// ```
/// use stage_core::{Pipeline, Producer, Step, Window, filter, for_each, from_iter, map};
/// use std::num::ParseIntError;
///
/// /// Parses lines, and leaves out empty ones.
/// struct Parse;
///
/// impl Step<&'static str> for Parse {
///     type Out = u64;
///     type Error = ParseIntError;
///
///     fn step(&mut self, line: &str, mut put: impl FnMut(u64)) -> Result<(), ParseIntError> {
///         if !line.is_empty() {
///             put(line.parse()?);
///         }
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), stage_core::PipelineError> {
/// let mut pipeline = Pipeline::new();
/// let lines = from_iter(["3", "", "4"]);
/// // In one task:
/// let odd = pipeline.produce(lines.then(Parse).then(filter(|n: &u64| n % 2 == 1)));
/// // In another:
/// let squares = pipeline.transform((map(|n: u64| n * n),), odd.subscribe(Window::new(10)));
/// pipeline.consume(for_each(|n: u64| println!("{n}")), squares.subscribe(Window::new(10)));
/// pipeline.run().await
/// # }
/// ```
///
/// # Receipts
///
/// An event is settled as what was made of it: acked once all of that is, at once if it is nothing, and nacked
/// if one of those is or the step fails. Behind a producer, what was made of the events before the one that it failed on is
/// handed out, as what a producer makes before it fails. Elsewhere all of the portion is nacked, as by a transform or a
/// consumer that fails. One that panics nacks all that it was called for.
///
/// # What is in its way
///
/// A step runs in a loop over a batch, so one that takes long, or blocks its thread, belongs into a
/// [`Transform`]. It cannot wait.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a step that takes `{In}`",
    label = "is to be a `Step<{In}>`",
    note = "`map`, `try_map`, `filter`, `filter_map` and `flat_map` make steps of closures, with the type of the event that they are given",
    note = "what waits, as `map_async`, is a `Transform`: a stage of its own"
)]
pub trait Step<In>: Send + 'static {
    /// What it makes.
    type Out: Send + 'static;
    /// Why it may fail. The stage that it runs in has failed then.
    type Error: Into<BoxError> + Send;

    /// Makes events of one, in order, by `put`. What it has put by the time it fails is dropped.
    fn step(&mut self, event: In, put: impl FnMut(Self::Out)) -> Result<(), Self::Error>;

    /// The same for a step that makes exactly one of each, and does not fail: a loop over a batch need not look at each
    /// then what has come of it, which takes a third of the time or less. `None` if it is not such a step, or nobody has said so.
    ///
    /// ```
    /// use stage_core::Step;
    /// use std::convert::Infallible;
    ///
    /// struct Number { next: u64 }
    ///
    /// impl Number {
    ///     fn number(&mut self, line: String) -> (u64, String) {
    ///         self.next += 1;
    ///         (self.next, line)
    ///     }
    /// }
    ///
    /// impl Step<String> for Number {
    ///     type Out = (u64, String);
    ///     type Error = Infallible;
    ///
    ///     fn step(&mut self, line: String, mut put: impl FnMut(Self::Out)) -> Result<(), Infallible> {
    ///         put(self.number(line));
    ///         Ok(())
    ///     }
    ///
    ///     fn one_for_one(&mut self) -> Option<impl FnMut(String) -> Self::Out> {
    ///         Some(|line| self.number(line))
    ///     }
    /// }
    /// ```
    fn one_for_one(&mut self) -> Option<impl FnMut(In) -> Self::Out> {
        None::<fn(In) -> Self::Out>
    }
}

/// Does a step, and what follows with each event that it puts, until that fails.
#[inline]
fn with_each<In, S: Step<In>>(
    step: &mut S,
    event: In,
    mut follow: impl FnMut(S::Out) -> Result<(), BoxError>,
) -> Result<(), BoxError> {
    let mut followed = Ok(());
    let put = |made| {
        if followed.is_ok() {
            followed = follow(made);
        }
    };
    step.step(event, put).map_err(Into::into)?;
    followed
}

macro_rules! one_by_one {
    ($event:ident, $put:ident: $last:ident) => {
        with_each($last, $event, |made| {
            $put(made);
            Ok(())
        })
    };
    ($event:ident, $put:ident: $first:ident $($then:ident)+) => {
        with_each($first, $event, |made| one_by_one!(made, $put: $($then)+))
    };
}

macro_rules! one_of_one {
    ($event:expr; $step:ident) => {
        $step($event)
    };
    ($event:expr; $step:ident $($then:ident)+) => {
        one_of_one!($step($event); $($then)+)
    };
}

/// Steps in a row are a step, and a stage.
macro_rules! in_a_row {
    ($($name:ident: $Step:ident<$In:ty>),+ => $Out:ty) => {
        impl<In, $($Step: Step<$In>),+> Step<In> for ($($Step,)+) {
            type Out = $Out;
            type Error = BoxError;

            #[inline]
            fn step(&mut self, event: In, mut put: impl FnMut($Out)) -> Result<(), BoxError> {
                let ($($name,)+) = self;
                one_by_one!(event, put: $($name)+)
            }

            #[inline]
            fn one_for_one(&mut self) -> Option<impl FnMut(In) -> $Out> {
                let ($($name,)+) = self;
                $(let mut $name = $name.one_for_one()?;)+
                Some(move |event| one_of_one!(event; $($name)+))
            }
        }

        impl<In: Send, $($Step: Step<$In>),+> Transform<In> for ($($Step,)+) {
            type Out = $Out;
            type Error = BoxError;

            async fn transform(
                &mut self,
                batch: &mut Batch<In>,
                out: &mut Batch<$Out>,
            ) -> Result<(), BoxError> {
                batch.step_into(self, out)
            }
        }
    };
}

in_a_row!(a: A<In> => A::Out);
in_a_row!(a: A<In>, b: B<A::Out> => B::Out);
in_a_row!(a: A<In>, b: B<A::Out>, c: C<B::Out> => C::Out);
in_a_row!(a: A<In>, b: B<A::Out>, c: C<B::Out>, d: D<C::Out> => D::Out);
in_a_row!(a: A<In>, b: B<A::Out>, c: C<B::Out>, d: D<C::Out>, e: E<D::Out> => E::Out);
in_a_row!(a: A<In>, b: B<A::Out>, c: C<B::Out>, d: D<C::Out>, e: E<D::Out>, f: F<E::Out> => F::Out);
