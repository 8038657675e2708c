//! A Kinesis on the loopback, with iterators that live as long as you like.
//!
//! ```sh
//! cargo run -p kinesis-fake --features serve --example server -- 2000
//! ```
//!
//! The number is the life of an iterator in milliseconds; without one it is the service's five
//! minutes. A second number is how many times as fast as usual the clock goes. The first line that is printed is the endpoint. It ends when it is killed.

use std::{error::Error, time::Duration};

use kinesis_fake::{Fake, Limits, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut limits = Limits::default();
    if let Some(millis) = std::env::args().nth(1) {
        limits.iterator_life = Some(Duration::from_millis(millis.parse()?));
    }
    let rate = match std::env::args().nth(2) {
        Some(rate) => rate.parse()?,
        None => 1,
    };
    let fake = Fake::builder()
        .clock_rate(rate)
        .instant()
        .without_stream()
        .wall_clock()
        .limits(limits)
        .build();
    let server = Server::on_loopback(fake).await?;
    println!("{}", server.endpoint());
    server.run().await;
    Ok(())
}
