//! What is counted about a file.

use std::{collections::BTreeMap, fmt};

/// Why a step is done otherwise here, on purpose.
pub(crate) type Reason = &'static str;

/// Each step is in exactly one of `identical`, `different`, `unexplained` and `disputed`.
#[derive(Default)]
pub(crate) struct Tally {
    name: &'static str,
    pub(crate) scenarios: usize,
    pub(crate) steps: usize,
    pub(crate) identical: usize,
    /// Of these, those that name a subscription that there is not. GenStage's dispatcher raises an
    /// error, and its stage keeps them from it; ours ignores them.
    pub(crate) ignored: usize,
    /// Of these, those where the replay gave up events in the place of GenStage's dispatcher: ours
    /// keeps them.
    pub(crate) gave_up: usize,
    /// Of these, those where the replay lends a hand, by what it does, and all of them.
    aids: BTreeMap<&'static str, usize>,
    aided: usize,
    /// Steps that differ by design. Each has at least one reason.
    pub(crate) different: usize,
    pub(crate) reasons: BTreeMap<Reason, usize>,
    /// Steps that differ for no reason that is listed, and those after them in their scenarios.
    pub(crate) unexplained: usize,
    /// Steps from where GenStage is known to be wrong, by what is wrong.
    pub(crate) disputed: BTreeMap<String, Disputed>,
}

/// Steps that are not held against anybody.
#[derive(Default)]
pub(crate) struct Disputed {
    pub(crate) steps: usize,
    /// Those that are the same all the same.
    pub(crate) same: usize,
}

impl Tally {
    pub(crate) fn of(name: &'static str) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    /// Counts a step that is as recorded, but for `reasons`.
    pub(crate) fn count(&mut self, reasons: &[Reason]) {
        self.steps += 1;
        if reasons.is_empty() {
            self.identical += 1;
        } else {
            self.different += 1;
        }
        for reason in reasons {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }

    /// Takes note of what the replay did in a step that is identical.
    pub(crate) fn note_aids(&mut self, aids: &[&'static str]) {
        for aid in aids {
            *self.aids.entry(aid).or_default() += 1;
        }
        self.aided += usize::from(!aids.is_empty());
    }

    pub(crate) fn count_disputed(&mut self, quirk: &str, same: bool) {
        self.steps += 1;
        let disputed = self.disputed.entry(quirk.to_owned()).or_default();
        disputed.steps += 1;
        disputed.same += usize::from(same);
    }

    /// Counts what is left of a scenario whose next step differs for no reason that is listed.
    pub(crate) fn give_up(&mut self, steps: usize) {
        self.steps += steps;
        self.unexplained += steps;
    }

    /// How many steps are from where GenStage is known to be wrong.
    pub(crate) fn set_aside(&self) -> usize {
        self.disputed.values().map(|disputed| disputed.steps).sum()
    }

    /// How many of the undisputed steps are identical. All of none are.
    pub(crate) fn share(&self) -> f64 {
        self.share_of(self.identical)
    }

    fn share_of(&self, steps: usize) -> f64 {
        match self.steps - self.set_aside() {
            0 => 1.0,
            undisputed => steps as f64 / undisputed as f64,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<21} {:>9} {:>6} {:>9} {:>8.2} % {:>9} {:>8}",
            self.name,
            self.scenarios,
            self.steps,
            self.identical,
            self.share() * 100.0,
            self.different,
            self.set_aside(),
        )?;
        for (steps, what) in [
            (
                self.ignored,
                "errors (no such subscription), and change nothing",
            ),
            (
                self.gave_up,
                "cancels after which the replay gives up what a lane keeps here",
            ),
        ] {
            if steps > 0 {
                writeln!(f, "  {steps:>5} of the identical are {what}")?;
            }
        }
        if self.aided > 0 {
            let unaided = self.identical - self.aided;
            let share = self.share_of(unaided) * 100.0;
            writeln!(
                f,
                "  {unaided:>5} identical, and no hand lent: {share:.2} %"
            )?;
        }
        for (aid, steps) in &self.aids {
            writeln!(f, "  {steps:>5} of the identical with one: {aid}")?;
        }
        if self.unexplained > 0 {
            writeln!(f, "  {:>5} DIFFER WITHOUT A REASON", self.unexplained)?;
        }
        for (reason, steps) in &self.reasons {
            writeln!(f, "  {steps:>5} differ: {reason}")?;
        }
        for (quirk, Disputed { steps, same }) in &self.disputed {
            writeln!(
                f,
                "  {steps:>5} disputed: {quirk} (and {same} of them are the same)"
            )?;
        }
        Ok(())
    }
}

pub(crate) fn print(tallies: &[Tally]) {
    println!("file                  scenarios  steps identical undisputed different disputed");
    for tally in tallies {
        print!("{tally}");
    }
    let steps: usize = tallies.iter().map(|tally| tally.steps).sum();
    let identical: usize = tallies.iter().map(|tally| tally.identical).sum();
    let different: usize = tallies.iter().map(|tally| tally.different).sum();
    let disputed: usize = tallies.iter().map(Tally::set_aside).sum();
    let unexplained: usize = tallies.iter().map(|tally| tally.unexplained).sum();
    print!("{steps} steps = {identical} identical + {different} different + {disputed} disputed");
    if unexplained > 0 {
        print!(" + {unexplained} unexplained");
    }
    println!();
}
