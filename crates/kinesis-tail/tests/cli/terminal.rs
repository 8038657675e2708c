//! A terminal to run the program on, and what a person would see there.

use std::{
    fs::File,
    io::{Read, Write},
    num::NonZeroU16,
    os::fd::OwnedFd,
    process::Stdio,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Action, Winsize, tcflow, tcsetwinsize},
};
use tokio::{process::Command, time::sleep};
use vt100::Parser;

use crate::rig::within_patience;

/// A pseudo-terminal, and what stands on its screen.
pub(crate) struct Terminal {
    keyboard: File,
    /// Kept, or the screen would be gone with the program.
    line: OwnedFd,
    screen: Arc<Mutex<Parser>>,
    /// All that was ever written to it.
    written: Arc<Mutex<Vec<u8>>>,
}

/// Lines, without what is blank at their ends and below them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) lines: Vec<String>,
    /// Row and column.
    pub(crate) cursor: (u16, u16),
}

impl Terminal {
    pub(crate) fn new(width: u16, height: u16) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let line = open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let keyboard = File::from(controller);
        let parser = Parser::new(rows(height), rows(width), 0);
        let terminal = Self {
            screen: Arc::new(Mutex::new(parser)),
            written: Arc::default(),
            keyboard,
            line,
        };
        terminal.resize(width, height);
        terminal.show();
        terminal
    }

    /// Shows what is written to it, until there is nobody who could write.
    fn show(&self) {
        let mut output = self.keyboard.try_clone().unwrap();
        let (screen, written) = (Arc::clone(&self.screen), Arc::clone(&self.written));
        thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(some @ 1..) = output.read(&mut bytes) {
                written.lock().unwrap().extend(&bytes[..some]);
                screen.lock().unwrap().process(&bytes[..some]);
            }
        });
    }

    pub(crate) fn resize(&self, width: u16, height: u16) {
        let size = Winsize {
            ws_row: height,
            ws_col: width,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.keyboard, size).unwrap();
        let mut screen = self.screen.lock().unwrap();
        screen.screen_mut().set_size(rows(height), rows(width));
    }

    /// Takes nothing more, as after Ctrl-S.
    pub(crate) fn stand_still(&self) {
        tcflow(&self.line, Action::OOff).unwrap();
    }

    pub(crate) fn press(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).unwrap();
    }

    /// Has standard error of a command go here.
    pub(crate) fn shows_errors_of(&self, command: &mut Command) {
        command.stderr(self.stdio()).env("TERM", "xterm");
    }

    /// Has all that a command says go here.
    pub(crate) fn shows(&self, command: &mut Command) {
        self.shows_errors_of(command);
        command.stdout(self.stdio());
    }

    fn stdio(&self) -> Stdio {
        Stdio::from(self.line.try_clone().unwrap())
    }

    /// Whether anything was ever to move its cursor, or to be shown in another way than text.
    pub(crate) fn has_sequences(&self) -> bool {
        self.written.lock().unwrap().contains(&b'\x1b')
    }

    pub(crate) fn seen(&self) -> Seen {
        let screen = self.screen.lock().unwrap();
        let screen = screen.screen();
        let rows = screen.rows(0, screen.size().1.get());
        let mut lines: Vec<_> = rows.map(|row| row.trim_end().to_owned()).collect();
        while lines.pop_if(|line| line.is_empty()).is_some() {}
        Seen {
            lines,
            cursor: screen.cursor_position(),
        }
    }

    /// Waits until that can be seen, and everything at that moment.
    pub(crate) async fn shows_that(&self, what: impl Fn(&Seen) -> bool) -> Seen {
        let looking = async {
            loop {
                let seen = self.seen();
                if what(&seen) {
                    break seen;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(60), looking).await {
            Ok(seen) => seen,
            Err(_) => panic!("it is not to be seen: {:#?}", self.seen()),
        }
    }

    /// What is seen once nothing has changed for a while, as after a program's end.
    pub(crate) async fn settled(&self) -> Seen {
        within_patience(async {
            let mut before = self.seen();
            loop {
                sleep(Duration::from_millis(300)).await;
                let now = self.seen();
                if now == before {
                    break now;
                }
                before = now;
            }
        })
        .await
    }
}

impl Seen {
    pub(crate) fn has(&self, words: &str) -> bool {
        self.with(words).next().is_some()
    }

    /// The lines with these words.
    pub(crate) fn with<'a>(&'a self, words: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.lines.iter().map(String::as_str);
        lines.filter(move |line| line.contains(words))
    }
}

fn rows(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}
