//! A Kinesis stream with a typed transform. Without an argument it reads a stream in memory.
//!
//!     cargo run -p examples --bin orders            # nothing set up
//!     cargo run -p examples --bin orders -- STREAM  # your stream, credentials the AWS way

use std::{convert::Infallible, env, error::Error, sync::Arc};

use kinesis_fake::Fake;
use kinesis_source::{AwsKinesis, KinesisApi, Record, StreamSource};
use serde::Deserialize;
use stage_core::{Batch, Consumer, Pipeline, Transform, Window};

#[derive(Deserialize)]
struct Order {
    customer: String,
    cents: u64,
}

/// Turns records into orders. One that is none fails the stage: a checkpoint never passes it.
struct Parse;

impl Transform<Record> for Parse {
    type Out = Order;
    type Error = serde_json::Error;

    async fn transform(
        &mut self,
        records: &mut Batch<Record>,
        orders: &mut Batch<Order>,
    ) -> Result<(), serde_json::Error> {
        for event in records.iter() {
            orders.push(serde_json::from_slice(&event.data)?);
        }
        Ok(())
    }
}

/// Prints orders. When it returns, the records that they came from are acknowledged.
struct Print;

impl Consumer<Order> for Print {
    type Error = Infallible;

    async fn consume(&mut self, orders: &mut Batch<Order>) -> Result<(), Infallible> {
        for Order { customer, cents } in orders.drain() {
            println!("{customer} ordered for {cents} cents");
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let api: Arc<dyn KinesisApi> = match env::args().nth(1) {
        Some(stream) => Arc::new(AwsKinesis::builder(stream).load().await?),
        None => Arc::new(in_memory()?),
    };
    let mut pipeline = Pipeline::new();
    let (records, handle) = StreamSource::new("orders", api).add_to(&mut pipeline);
    let orders = pipeline.transform(Parse, records.subscribe(Window::new(500)));
    pipeline.consume(Print, orders.subscribe(Window::new(100)));
    // A service would wait for a signal instead: `tokio::signal::ctrl_c()`.
    pipeline
        .run_until(async move { handle.caught_up().await })
        .await?;
    Ok(())
}

fn in_memory() -> Result<Fake, Box<dyn Error>> {
    let fake = Fake::new(2);
    for (customer, cents) in [("ada", 1_250), ("grace", 80), ("ada", 9_900)] {
        let order = serde_json::json!({ "customer": customer, "cents": cents });
        fake.put(customer, order.to_string())?;
    }
    Ok(fake)
}
