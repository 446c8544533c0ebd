use super::*;
use crate::protocol::Response;
use crate::store::MAX_RECORD_RESPONSE_BYTES;
use crate::store::conformance::digits;

async fn answers(world: &World, call: &Call, text: &str) -> Result<Outcome<String>, Error> {
    let run = |attempt: Attempt<Effect>| async move {
        attempt.add_effect(Effect::named(EFFECT));
        Verdict::Success(text.to_owned())
    };
    world.engine.run(call, run).await
}

#[tokio::test(start_paused = true)]
async fn a_long_answer_is_replayed_whole_in_another_process() {
    let world = World::new([]);
    for (key, bytes) in [("a", 100), ("b", 20_000), ("c", 500_000), ("d", 3_000_000)] {
        let (call, text) = (world.call(Uncertain::Reconcile, key).with_key(key), digits(bytes));
        let first = answers(&world, &call, &text).await.unwrap();
        assert!(matches!(first, Outcome::Executed(_)), "{bytes} bytes");
        let replayed = answers(&world.elsewhere([]), &call, "another answer").await.unwrap();
        let Outcome::Replayed(Answered { answer, .. }) = replayed else { panic!("{bytes} bytes: not replayed") };
        assert!(answer == text, "{bytes} bytes: another answer");
        let record = world.record(&call).await.unwrap();
        let Some((_, settled)) = record.settled() else { panic!("{bytes} bytes: not settled") };
        let in_record = match &settled.response {
            Response::Whole(bytes) => bytes.len() <= MAX_RECORD_RESPONSE_BYTES,
            Response::Parts(_) => false,
        };
        assert_eq!(in_record, bytes == 100, "{bytes} bytes");
    }
    assert_eq!(world.memory.applied(EFFECT), 4);
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_which_a_part_is_missing_is_an_error_and_never_runs_again() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    answers(&world, &call, &digits(50_000)).await.unwrap();
    world.memory.lose_parts();
    let replayed = answers(&world.elsewhere([]), &call, "must not run").await;
    let incomplete = Error::UnreadableAnswer {
        transaction: world.record(&call).await.unwrap().transaction,
        source: UnreadableAnswer::Incomplete,
    };
    assert_eq!(format!("{replayed:?}"), format!("{:?}", Err::<Outcome<String>, _>(incomplete)));
    assert_eq!(world.memory.applied(EFFECT), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_no_transaction_carries_is_settled_without_it() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    let first = answers(&world, &call, &digits(9_000_000)).await.unwrap();
    assert!(matches!(first, Outcome::Executed(_)));
    let replayed = answers(&world.elsewhere([]), &call, "must not run").await;
    assert!(matches!(replayed, Err(Error::UnreadableAnswer { source: UnreadableAnswer::TooLong, .. })));
    assert_eq!(world.memory.applied(EFFECT), 1);
}

/// The size of an item after an effect's update is not known in advance, so only the store knows what fits.
#[tokio::test(start_paused = true)]
async fn a_settling_write_that_the_store_rejects_is_repeated_with_the_short_form_of_the_answer() {
    for single_write in [false, true] {
        let world = World::new(if single_write { vec![Fault::Reject] } else { vec![Fault::None, Fault::Reject] });
        let (call, text) = (world.call(Uncertain::Reconcile, "a"), digits(50_000));
        let run = |attempt: Attempt<Effect>| {
            attempt.add_effect(Effect::named(EFFECT));
            std::future::ready(Verdict::Success(text.clone()))
        };
        let first = match single_write {
            true => world.engine.run_single_write(&call, run).await,
            false => world.engine.run(&call, run).await,
        };
        let Ok(Outcome::Executed(Answered { answer, .. })) = first else { panic!("{first:.200?}") };
        assert!(answer == text, "its own caller gets the answer");
        assert_eq!(world.memory.applied(EFFECT), 1, "with the effects");
        for elsewhere in [false, true] {
            let world = if elsewhere { &world.elsewhere([]) } else { &world };
            let replayed = answers(world, &call, "must not run").await;
            assert!(matches!(replayed, Err(Error::UnreadableAnswer { source: UnreadableAnswer::TooLong, .. })));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_settling_write_that_is_rejected_in_its_short_form_as_well_leaves_the_outcome_unknown() {
    let (world, call) = World::with_call(Uncertain::Reconcile, [Fault::None, Fault::Reject, Fault::Reject]);
    let first = answers(&world, &call, &digits(50_000)).await;
    assert!(matches!(first, Ok(Outcome::Unknown { .. })), "{first:.200?}");
    assert_eq!(world.memory.applied(EFFECT), 0);
}

#[tokio::test(start_paused = true)]
async fn the_lost_reply_to_a_long_answer_is_recognised() {
    for fault in [Fault::LoseReply, Fault::Repeat] {
        let world = World::new([Fault::None, fault]);
        let (call, text) = (world.call(Uncertain::Reconcile, "a"), digits(50_000));
        let first = answers(&world, &call, &text).await.unwrap();
        assert!(matches!(first, Outcome::Executed(_)), "{fault:?}");
        assert_eq!(world.memory.applied(EFFECT), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_owner_is_answered_with_the_long_answer_that_was_recorded() {
    let (world, call) = World::with_call(REPEAT, []);
    let late = world.late_claim(&call).await;
    let text = digits(50_000);
    answers(&world, &world.call(REPEAT, "a"), &text).await.unwrap();
    let fenced = late.commit(Resolution::Success, String::from("late"), Vec::new()).await.unwrap();
    assert!(matches!(fenced, Outcome::Replayed(Answered { answer, .. }) if answer == text));
}

/// Two processes continue over one release, each with its own answer: of equally many parts, of equally many bytes, or
/// even with the same text. One of them executes the operation, and the other one replays its answer.
#[tokio::test(start_paused = true)]
async fn of_two_calls_in_single_write_over_a_release_one_executes_and_the_other_replays_however_long_the_answers_are() {
    for (bytes, alike) in [(2_000, false), (20_000, false), (2_000, true), (20_000, true)] {
        let (world, call) = World::with_call(Uncertain::Reconcile, []);
        world.ends_with(&call, Verdict::NotExecuted(0)).await.unwrap();

        let both = Arc::new(tokio::sync::Barrier::new(2));
        let (one, other) = (world.elsewhere([]), world.elsewhere([]));
        let settle = |world: &Arc<World>, name: &'static str, text: String| {
            let (world, call, both) = (Arc::clone(world), call.clone(), Arc::clone(&both));
            async move {
                let run = |attempt: Attempt<Effect>| {
                    let (both, text) = (Arc::clone(&both), text.clone());
                    async move {
                        both.wait().await;
                        attempt.add_effect(Effect::named(name));
                        Verdict::Success(text)
                    }
                };
                world.engine.run_single_write(&call, run).await.unwrap()
            }
        };
        let texts = ["1", if alike { "1" } else { "2" }].map(|first| format!("{first}{}", digits(bytes)));
        let [first, second] = texts;
        let outcomes = futures::future::join(settle(&one, "one", first), settle(&other, "other", second)).await;
        let (executed, replayed) = match outcomes {
            (Outcome::Executed(executed), Outcome::Replayed(replayed))
            | (Outcome::Replayed(replayed), Outcome::Executed(executed)) => (executed, replayed),
            both => panic!("{bytes} bytes, alike: {alike}: {both:.200?}"),
        };
        assert!(executed.answer == replayed.answer, "{bytes} bytes, alike: {alike}: two answers");
        assert_eq!(world.memory.applied("one") + world.memory.applied("other"), 1);
    }
}
