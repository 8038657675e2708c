use std::fs::File;

/// Open files that are good for nothing but to be closed: where the system allows no more, so many
/// connections can still be taken, and told so.
#[derive(Debug, Default)]
pub(super) struct Spare {
    held: Vec<File>,
    given_up: bool,
}

impl Spare {
    /// Closes them, as another could not be had; whether there were any.
    pub(super) fn give_up(&mut self) -> bool {
        self.given_up = true;
        let held = std::mem::take(&mut self.held);
        !held.is_empty()
    }

    /// Opens those that were given up; whether they are there.
    pub(super) fn regain(&mut self) -> bool {
        while self.held.len() < SPARE {
            match File::open(ANY) {
                Ok(file) => self.held.push(file),
                Err(_) if self.given_up => {
                    // Those that come need them.
                    self.held.clear();
                    return false;
                }
                // What is not there from the start is not missed.
                Err(_) => break,
            }
        }
        self.given_up = false;
        true
    }

    /// Whether they are not there.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up
    }
}

/// For those on the doorstep, and a few that are on their way.
const SPARE: usize = super::doorstep::MOST_THERE + 4;
const ANY: &str = "/dev/null";
