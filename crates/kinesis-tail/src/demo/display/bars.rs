use super::{View, lag, state};
use crate::{
    demo::{allowed_in_flight, publisher::RECORDS},
    figures::{cut, printable},
    screen::Screen,
};

/// Shows views as bars that move in place.
#[derive(Debug)]
pub(in crate::demo) struct Bars {
    screen: Screen,
    /// What is shown.
    lines: Vec<String>,
}

impl Bars {
    pub(super) fn on(screen: Screen) -> Self {
        Self {
            screen,
            lines: Vec::new(),
        }
    }

    pub(super) fn show(&mut self, view: &View) {
        let size = self.screen.size();
        let lines = lines(view).into_iter().take(size.height);
        self.lines = lines.map(|line| cut(line, size.width)).collect();
        self.screen.show(self.lines.clone());
    }
}

impl Drop for Bars {
    /// Leaves them where they are, with the cursor below.
    fn drop(&mut self) {
        self.screen.leave(std::mem::take(&mut self.lines));
    }
}

/// A shard's bar is as long as what may be in flight in all, and filled as far as the shard's records are: they
/// are on their way through all stages, not only in the shard's own window.
fn lines(view: &View) -> Vec<String> {
    let seconds = view.elapsed.as_secs_f64();
    let published = format!("published {}  {seconds:.1} s", view.published);
    let allowed = allowed_in_flight();
    let mut lines = vec![
        bar("received", view.received, RECORDS, &published),
        bar("in flight", view.in_flight, allowed, ""),
    ];
    for shard in &view.shards {
        let status = &shard.status;
        let doing = format!(
            "read {}  lag {}  throttled {}  {}",
            status.records_read,
            lag(shard),
            status.throttled,
            state(shard)
        );
        lines.push(bar(
            &status.shard.to_string(),
            status.in_flight,
            allowed,
            &doing,
        ));
    }
    lines
}

/// How long a bar is.
const LENGTH: u64 = 30;

fn bar(name: &str, now: u64, full: u64, words: &str) -> String {
    let filled = (now.min(full) * LENGTH / full.max(1)) as usize;
    let (filled, empty) = ("#".repeat(filled), "-".repeat(LENGTH as usize - filled));
    printable(&format!(
        "{name:>20} {filled}{empty} {now:>5}/{full:<5} {words}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_full_as_it_says() {
        let bar = |now| bar("received", now, 60, "x").trim_start().to_owned();
        assert_eq!(bar(0), format!("received {}     0/60    x", "-".repeat(30)));
        let half = ["#".repeat(15), "-".repeat(15)].concat();
        assert_eq!(bar(31), format!("received {half}    31/60    x"));
        assert_eq!(
            bar(70),
            format!("received {}    70/60    x", "#".repeat(30))
        );
    }
}
