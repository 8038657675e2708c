//! Standard error as a person sees it: lines of the log and, on a terminal, a view that stands below them
//! and moves in place.

use std::{
    env,
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use console::Term;

/// Standard error, for all who write to it while a view may stand there. Whatever cannot be written is not,
/// and nobody learns of it: nothing depends on what a person sees.
#[derive(Clone, Debug)]
pub(crate) struct Screen {
    view: Arc<Mutex<View>>,
    can_move: bool,
}

/// What stands at the bottom. Each line ends with a line break, and the cursor is at the left below the last: so
/// nothing is out of place after what others write there, as the `^C` of who stops the program, and a terminal that
/// becomes wider does not join them.
#[derive(Debug)]
struct View {
    /// Written to at once, when it is flushed.
    term: Term,
    lines: Vec<String>,
}

/// How many characters there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// Writes beside the view of a screen, to wherever that is.
#[derive(Debug)]
pub(crate) struct Beside<W> {
    screen: Screen,
    writer: W,
}

impl Screen {
    pub(crate) fn standard_error() -> Self {
        let view = View {
            term: Term::buffered_stderr(),
            lines: Vec::new(),
        };
        Self {
            view: Arc::new(Mutex::new(view)),
            can_move: io::stderr().is_terminal() && !is_dumb(),
        }
    }

    /// Whether a view can be shown that moves in place.
    pub(crate) fn can_move(&self) -> bool {
        self.can_move
    }

    /// How large a view may be now.
    pub(crate) fn size(&self) -> Size {
        let (height, width) = Term::stderr().size();
        Size {
            width: width.into(),
            // The cursor stands below it.
            height: usize::from(height).saturating_sub(1),
        }
    }

    /// Shows these lines, in the place of those that were shown before. They fit, and are
    /// [printable](crate::figures::printable).
    pub(crate) fn show(&self, lines: Vec<String>) {
        let mut view = self.lock();
        // Nobody has to read it.
        let _ = view.erase().and_then(|()| view.draw(lines));
    }

    /// Has something written to standard error, or to what may be the same terminal, by whole lines: above the
    /// view, if there is one. The closure must not log.
    pub(crate) fn beside<T>(&self, write: impl FnOnce() -> T) -> T {
        let mut view = self.lock();
        if view.lines.is_empty() {
            drop(view);
            return write();
        }
        let lines = view.lines.clone();
        // As above.
        let _ = view.erase().and_then(|()| view.flush());
        let written = write();
        let _ = view.draw(lines);
        written
    }

    /// Takes the view away, and writes these lines as any others: they stay.
    pub(crate) fn leave(&self, lines: Vec<String>) {
        let mut view = self.lock();
        // As above.
        let _ = view.erase().and_then(|()| view.draw(lines));
        view.lines.clear();
    }

    /// Writes to `writer` by [`beside`](Self::beside).
    pub(crate) fn writer<W: Write>(&self, writer: W) -> Beside<W> {
        Beside {
            screen: self.clone(),
            writer,
        }
    }

    fn lock(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    /// Takes it away.
    fn erase(&mut self) -> io::Result<()> {
        let lines = std::mem::take(&mut self.lines);
        if lines.is_empty() {
            return Ok(());
        }
        self.term.move_cursor_up(lines.len())?;
        self.term.clear_to_end_of_screen()
    }

    /// Puts it where the cursor is, and all that was done since the last time on the terminal.
    fn draw(&mut self, lines: Vec<String>) -> io::Result<()> {
        for line in &lines {
            self.term.write_line(line)?;
        }
        self.lines = lines;
        self.flush()
    }

    /// Has the terminal take all that was said to it.
    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.term.flush();
        if flushed.is_err() {
            // It would keep that, and all that is to come.
            self.term = Term::buffered_stderr();
        }
        flushed
    }
}

impl<W: Write> Write for Beside<W> {
    /// Writes and flushes all of it, at once.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let Self { screen, writer } = self;
        screen.beside(|| {
            writer.write_all(lines)?;
            writer.flush()?;
            Ok(lines.len())
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the terminal says that it cannot move its cursor, or nothing.
fn is_dumb() -> bool {
    let term = env::var_os("TERM");
    match term {
        Some(term) => term.is_empty() || term == "dumb",
        None => cfg!(unix),
    }
}
