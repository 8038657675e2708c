//! What a test that fails says of the plan that it ran with. Each test here runs itself once more, in a
//! process of its own, where it fails.

use super::*;

/// Set where a test is to fail.
const INSIDE: &str = "KINESIS_FAKE_TEST_FAILS";

fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Whether that test fails in a process of its own, and what its runner prints then.
fn run_inside(test: &str) -> (bool, String) {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("telling::{test}")])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(printed.contains("running 1 test"), "{printed}");
    (!output.status.success(), printed.into_owned())
}

fn assert_plan_is_told(test: &str, struck: u32) {
    let (failed, printed) = run_inside(test);
    assert!(failed, "{printed}");
    let told = format!(
        "faults of seed 77:\n    seen   fired  fault\n{struck:>8}{struck:>8}  \
         Fault::refusal(Operation::ListShards, \"InternalFailure\").always()\n"
    );
    assert_eq!(printed.matches(&told).count(), 1, "{printed}");
}

fn planned() -> Fake {
    let fault = Fault::refusal(Operation::ListShards, "InternalFailure").always();
    Fake::builder()
        .follow(FaultPlan::new(77).with(fault))
        .build()
}

#[tokio::test]
async fn a_panic_in_the_test() {
    if !is_inside() {
        return assert_plan_is_told("a_panic_in_the_test", 1);
    }
    let fake = planned();
    fake.list_shards(None).await.unwrap();
}

/// Without a plan, what was injected is told; beside one, both are.
#[tokio::test]
async fn a_panic_where_faults_were_injected() {
    if !is_inside() {
        let (failed, printed) = run_inside("a_panic_where_faults_were_injected");
        let told = "faults:\n    seen   fired  fault\n       1       1  \
                    Fault::refusal(Operation::ListShards, \"InternalFailure\")\n";
        assert!(failed, "{printed}");
        assert_eq!(printed.matches(told).count(), 1, "{printed}");
        return;
    }
    let fake = Fake::new(1);
    fake.inject(Fault::refusal(Operation::ListShards, "InternalFailure"));
    fake.list_shards(None).await.unwrap();
}

#[tokio::test]
async fn a_panic_where_faults_were_injected_beside_a_plan() {
    if !is_inside() {
        let (failed, printed) = run_inside("a_panic_where_faults_were_injected_beside_a_plan");
        assert!(failed, "{printed}");
        for told in [
            "faults of seed 77:",
            "Fault::refusal(Operation::ListShards, \"InternalFailure\").always()\n",
            "Fault::hung(Operation::GetRecords)\n",
        ] {
            assert_eq!(printed.matches(told).count(), 1, "{printed}");
        }
        return;
    }
    let fake = planned();
    fake.inject(Fault::hung(Operation::GetRecords));
    fake.list_shards(None).await.unwrap();
}

/// Nothing went wrong on purpose: there is nothing to tell.
#[tokio::test]
async fn a_panic_without_faults() {
    if !is_inside() {
        let (failed, printed) = run_inside("a_panic_without_faults");
        assert!(failed && !printed.contains("fired"), "{printed}");
        return;
    }
    let _fake = Fake::new(1);
    panic!("as it must");
}

/// The fake is dropped by this thread, which does not panic.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_on_another_thread() -> Result<(), String> {
    if !is_inside() {
        assert_plan_is_told("a_panic_on_another_thread", 1);
        return Ok(());
    }
    let fake = planned();
    let clone = fake.clone();
    let task = tokio::spawn(async move {
        clone.list_shards(None).await.unwrap();
    });
    task.await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn an_error_that_is_returned() -> Result<(), ApiError> {
    if !is_inside() {
        assert_plan_is_told("an_error_that_is_returned", 1);
        return Ok(());
    }
    let fake = planned();
    fake.run(async { fake.list_shards(None).await.map(drop) })
        .await
}

#[tokio::test]
async fn a_panic_of_a_task_that_has_no_fake() {
    if !is_inside() {
        return assert_plan_is_told("a_panic_of_a_task_that_has_no_fake", 0);
    }
    let fake = planned();
    fake.run(async {
        let task = std::thread::spawn(|| panic!("as it must"));
        task.join().map_err(|_| "a thread panicked")
    })
    .await
    .ok();
    drop(fake);
    panic!("it has failed");
}

#[tokio::test(start_paused = true)]
async fn a_time_out() -> Result<(), tokio::time::error::Elapsed> {
    if !is_inside() {
        assert_plan_is_told("a_time_out", 0);
        return Ok(());
    }
    let fake = planned();
    let test = fake.run(std::future::pending::<()>());
    tokio::time::timeout(Duration::from_secs(60), test).await
}

/// It fails for another reason, after what ran within the fake has succeeded.
#[tokio::test]
async fn a_success_is_not_told() -> Result<(), &'static str> {
    if !is_inside() {
        let (failed, printed) = run_inside("a_success_is_not_told");
        assert!(failed && !printed.contains("seed 77"), "{printed}");
        return Ok(());
    }
    let fake = planned();
    fake.run(async {}).await;
    let number: Result<u32, &str> = fake.run(async { Ok(7) }).await;
    number?;
    Err("as it must")
}
