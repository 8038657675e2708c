use std::fmt;

use crate::testing::Rule;

/// Why a rule does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It is broken: what was seen, and what was missing.
    Failed(String),
    /// It could not be checked, for this reason.
    Skipped(String),
}

/// What came of checking one rule.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The rule.
    pub rule: &'static Rule,
    /// Whether it holds.
    pub result: Result<(), Broken>,
}

/// What came of checking a stage.
#[derive(Clone, Debug, Default)]
#[must_use = "a report says whether the stage may be used"]
pub struct Report {
    /// The rules that hold.
    pub passed: Vec<&'static Rule>,
    /// The rules that are broken, and how.
    pub failed: Vec<(&'static Rule, String)>,
    /// The rules that could not be checked, and why.
    pub skipped: Vec<(&'static Rule, String)>,
}

impl Report {
    pub(crate) fn add(&mut self, Outcome { rule, result }: Outcome) {
        match result {
            Ok(()) => self.passed.push(rule),
            Err(Broken::Failed(how)) => self.failed.push((rule, how)),
            Err(Broken::Skipped(why)) => self.skipped.push((rule, why)),
        }
    }

    /// Whether no rule is broken.
    pub fn is_good(&self) -> bool {
        self.failed.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for rule in &self.passed {
            writeln!(f, "passed   {:4} {}", rule.id, rule.statement)?;
        }
        for (rule, why) in &self.skipped {
            writeln!(f, "skipped  {:4} {}: {why}", rule.id, rule.statement)?;
        }
        for (rule, how) in &self.failed {
            writeln!(f, "FAILED   {:4} {}: {how}", rule.id, rule.statement)?;
        }
        Ok(())
    }
}
