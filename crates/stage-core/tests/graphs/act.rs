//! What a stage had better not do in a call, and does.

use std::{sync::mpsc, thread, time::Duration};

use proptest::{prelude::*, sample::select};
use stage_core::{Pipeline, Window, for_each, from_iter};
use tokio::{
    runtime::{Builder, Handle, RuntimeFlavor::CurrentThread},
    task::{block_in_place, consume_budget, spawn_blocking, yield_now},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Nothing,
    WaitForTask,
    WaitForThread,
    UseBudgetUp,
    /// From here on only where others can go on meanwhile.
    Block,
    BlockForTask,
    RunPipeline,
    RunPipelineElsewhere,
}

pub(crate) fn acts() -> impl Strategy<Value = Act> {
    use Act::*;
    let all = [
        WaitForTask,
        WaitForThread,
        UseBudgetUp,
        Block,
        BlockForTask,
        RunPipeline,
        RunPipelineElsewhere,
    ];
    prop_oneof![3 => Just(Nothing), 1 => select(all.to_vec())]
}

impl Act {
    pub(crate) async fn perform(self) {
        let is_alone = Handle::current().runtime_flavor() == CurrentThread;
        match self {
            Self::Nothing => {}
            Self::WaitForTask => tokio::spawn(yield_now()).await.unwrap(),
            Self::WaitForThread => spawn_blocking(|| {}).await.unwrap(),
            Self::UseBudgetUp => {
                for _ in 0..200 {
                    consume_budget().await;
                }
            }
            _ if is_alone => {}
            Self::Block => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "it is the thread that is blocked"
                )]
                block_in_place(|| thread::sleep(Duration::from_micros(100)));
            }
            Self::BlockForTask => {
                let (tells, told) = mpsc::channel();
                tokio::spawn(async move {
                    yield_now().await;
                    tells.send(()).unwrap();
                });
                block_in_place(|| told.recv().unwrap());
            }
            Self::RunPipeline => block_in_place(|| Handle::current().block_on(run())),
            Self::RunPipelineElsewhere => block_in_place(|| {
                let elsewhere = Builder::new_current_thread().build();
                elsewhere.unwrap().block_on(run());
            }),
        }
    }
}

async fn run() {
    let mut pipeline = Pipeline::new();
    let numbers = pipeline.produce(from_iter(0..20_u64));
    let nothing = for_each(|_: u64| {});
    pipeline.consume(nothing, numbers.subscribe(Window::new(2)));
    pipeline.run().await.unwrap();
}
