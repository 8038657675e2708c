//! A producer of one's own: the lines of a file, read only as fast as they are taken in.
//!
//!     cargo run -p examples --bin lines -- README.md

use std::{convert::Infallible, env, error::Error, io};

use stage_core::{Batch, Consumer, Demand, Flow, Pipeline, Producer, Transform, Window};
use tokio::{
    fs::File,
    io::{AsyncBufReadExt, BufReader, Lines},
};

/// Produces the lines of a file.
struct FileLines(Lines<BufReader<File>>);

impl Producer for FileLines {
    type Event = String;
    type Error = io::Error;

    async fn produce(&mut self, demand: Demand, batch: &mut Batch<String>) -> io::Result<Flow> {
        while batch.len() < demand.get() {
            match self.0.next_line().await? {
                Some(line) => batch.push(line),
                None => return Ok(Flow::End),
            }
        }
        Ok(Flow::More)
    }
}

/// Turns each line into its words: one event into none, one or many.
struct Words;

impl Transform<String> for Words {
    type Out = String;
    type Error = Infallible;

    async fn transform(
        &mut self,
        lines: &mut Batch<String>,
        words: &mut Batch<String>,
    ) -> Result<(), Infallible> {
        let all = lines.iter().flat_map(|line| line.split_whitespace());
        words.extend(all.map(str::to_owned));
        Ok(())
    }
}

/// Finds the longest word.
#[derive(Default)]
struct Longest(String);

impl Consumer<String> for Longest {
    type Error = Infallible;

    async fn consume(&mut self, words: &mut Batch<String>) -> Result<(), Infallible> {
        let longest = words.drain().max_by_key(String::len).unwrap_or_default();
        if longest.len() > self.0.len() {
            self.0 = longest;
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Infallible> {
        println!("the longest word: {}", self.0);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).unwrap_or_else(|| "README.md".to_owned());
    let file = BufReader::new(File::open(path).await?);
    let mut pipeline = Pipeline::new();
    let lines = pipeline.produce(FileLines(file.lines()));
    let words = pipeline.transform(Words, lines.subscribe(Window::new(100)));
    pipeline.consume(Longest::default(), words.subscribe(Window::new(1_000)));
    Ok(pipeline.run().await?)
}
