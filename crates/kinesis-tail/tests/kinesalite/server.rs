use std::{
    env,
    fmt::Display,
    io::{self, ErrorKind, Write},
    path::PathBuf,
    process::Stdio,
    sync::Once,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::rig::within_patience;

/// A kinesalite on a free port of the loopback, in memory.
///
/// It is killed with this value. When this process is killed instead, it ends with its standard
/// input.
pub(crate) struct Kinesalite {
    pub(crate) endpoint: String,
    _process: Child,
}

/// What kinesalite's own cli.js does, but for the port and the address, which that cannot leave to
/// the system and to the loopback.
const SERVE: &str = "
    const [directory, options] = process.argv.slice(1)
    const server = require(directory)(JSON.parse(options))
    server.listen(0, '127.0.0.1', () => console.log(server.address().port))
    process.stdin.on('end', () => process.exit()).resume()
";

/// Streams change fast here, and there is no limit that matters.
const OPTIONS: &str =
    r#"{"createStreamMs":50,"updateStreamMs":50,"deleteStreamMs":50,"shardLimit":100}"#;

impl Kinesalite {
    /// `None` where there is no node or no kinesalite.
    ///
    /// # Panics
    ///
    /// If that is so in CI, or kinesalite does not start.
    pub(crate) async fn start() -> Option<Self> {
        let program = cli();
        if !program.is_file() {
            return skip(format_args!(
                "{} is no file: run .ci/kinesalite, or set KINESALITE to kinesalite's cli.js",
                program.display()
            ));
        }
        let directory = program.parent().expect("a file is in a directory");
        let node = Command::new("node")
            .args(["--eval", SERVE])
            .arg(directory)
            .arg(OPTIONS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        match node {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                skip("there is no node: install it, or have it on the PATH")
            }
            node => Some(Self::listening(node.unwrap()).await),
        }
    }

    async fn listening(mut process: Child) -> Self {
        let stdout = process.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let port = within_patience(lines.next_line()).await.unwrap();
        let port = port.expect("kinesalite ends before it listens");
        Self {
            endpoint: format!("http://127.0.0.1:{port}"),
            _process: process,
        }
    }
}

/// Where kinesalite is, or would be.
fn cli() -> PathBuf {
    let installed = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../.ci/work/node_modules/kinesalite/cli.js"
    );
    let path = env::var_os("KINESALITE").map_or_else(|| installed.into(), PathBuf::from);
    // `require` would take a relative path for the name of a package.
    path.canonicalize().unwrap_or(path)
}

fn skip<T>(why: impl Display) -> Option<T> {
    static SAID: Once = Once::new();
    assert!(env::var_os("CI").is_none(), "kinesalite: {why}");
    // Not by a macro, whose output is shown for tests that fail only. A line that nobody can be
    // shown is no reason to fail.
    SAID.call_once(|| drop(writeln!(io::stderr(), "kinesalite: skipped: {why}")));
    None
}
