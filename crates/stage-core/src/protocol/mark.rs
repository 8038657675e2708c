/// Names a notice that travels among a stage's events, and must not overtake those before it.
///
/// What the notice says is the stage's to know. A [`Buffer`](super::Buffer) and a
/// [`Dispatcher`](super::Dispatcher) only keep its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(pub u64);
