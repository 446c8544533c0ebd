//! Claims whose reply is lost: the caller gets an error that nothing ran, so the key must not stay blocked.

use super::*;
use crate::reconcile::tests::OtherSide;
use crate::reconcile::{Evidence, Operations, Reconciled};
use crate::store::{RefusedEffect, StoreError, Written};

/// Every attempt by the SDK loses the reply.
const LOST: Fault = Fault::LoseReply;

#[tokio::test(start_paused = true)]
async fn a_claim_whose_reply_was_lost_does_not_block_its_key() {
    let (world, call) = World::with_call(Uncertain::Reconcile, [LOST]);
    assert!(matches!(world.pay(&call).await, Err(Error::StoreUnavailable(StoreError::Uncertain(_)))));
    let released = world.record(&call).await.unwrap();
    assert!(matches!(released.state, State::Released { .. }), "{released:?}");
    // Immediately, and with another request, because nothing has run.
    let paid = world.elsewhere([]).pay(&world.call(Uncertain::Reconcile, "b")).await;
    let Ok(Outcome::Executed(answered)) = paid else { panic!("{paid:?}") };
    assert_eq!(answered.transaction, released.transaction);
    assert_eq!(world.memory.applied(EFFECT), 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_lost_before_it_arrived_leaves_nothing_behind() {
    let (world, call) = World::with_call(Uncertain::Reconcile, [Fault::LoseRequest]);
    assert!(matches!(world.pay(&call).await, Err(Error::StoreUnavailable(_))));
    assert_eq!(world.record(&call).await, None);
}

/// An earlier attempt may have had its effects, so "nothing was executed" would be false.
#[tokio::test(start_paused = true)]
async fn a_takeover_whose_reply_was_lost_leaves_the_outcome_as_unknown_as_it_was() {
    for uncertain in [REPEAT, Uncertain::Reconcile] {
        let (world, call) = World::with_call(uncertain, []);
        let _dead = world.late_claim(&call).await;
        let call = world.call(uncertain, "a");
        let elsewhere = world.elsewhere([Fault::None, LOST]);
        let retried = elsewhere.engine.run_or_reconcile(&call, |_| async { Verdict::Success(1) }, &prevented()).await;
        assert!(matches!(retried, Err(Error::StoreUnavailable(_))));
        assert_eq!(world.record(&call).await.unwrap().state, State::Unknown(None), "{uncertain:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reconciler_whose_takeover_lost_its_reply_does_not_block_the_next() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    world.ends_with(&call, Verdict::Unknown("no answer".into())).await.unwrap();
    let record = world.record(&call).await.unwrap();
    let (operations, deadline) = (operations(&call), world.engine.now().plus(TIMEOUT));
    let lost = world.elsewhere([LOST]);
    let says = OtherSide::says(Evidence::Happened(7));
    assert!(lost.engine.reconcile(&record, &operations, deadline, None, &says).await.is_err());
    let record = world.record(&call).await.unwrap();
    let reconciled = world.engine.reconcile(&record, &operations, deadline, None, &says).await;
    assert!(matches!(reconciled, Ok(Reconciled::Happened)), "{reconciled:?}");
}

/// The writes after evidence that the effect was prevented: one lets this call run again, the other a later call.
#[tokio::test(start_paused = true)]
async fn what_goes_on_after_evidence_blocks_nobody_when_its_reply_is_lost() {
    for lost in [Fault::LoseReply, Fault::LoseRequest] {
        let (world, call) = World::with_call(Uncertain::Reconcile, []);
        world.ends_with(&call, Verdict::Unknown("no answer".into())).await.unwrap();
        let before = world.record(&call).await.unwrap();
        let run = |_| async { panic!("its claim was not answered") };
        let restarted = world.elsewhere([Fault::None, Fault::None, lost]);
        let restarted = restarted.engine.run_or_reconcile::<u64, _, _>(&call, run, &prevented()).await;
        assert!(matches!(restarted, Err(Error::StoreUnavailable(_))), "{restarted:?}");
        let after = world.record(&call).await.unwrap();
        assert!(after.holder().is_none() && after.transaction != before.transaction, "{lost:?}: {after:?}");

        let world = World::new([]);
        world.ends_with(&call, Verdict::Unknown("no answer".into())).await.unwrap();
        let record = world.record(&call).await.unwrap();
        let deadline = world.engine.now().plus(TIMEOUT);
        let reopened = world.elsewhere([Fault::None, lost]);
        let reopened = reopened.engine.reconcile(&record, &operations(&call), deadline, None, &prevented()).await;
        assert!(matches!(reopened, Err(Error::StoreUnavailable(_))), "{reopened:?}");
        assert_eq!(world.record(&call).await.unwrap().holder(), None, "{lost:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_the_deadline_at_hand_the_caller_hears_that_nothing_ran_even_if_that_cannot_be_recorded() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    let claim = world.elsewhere([Fault::None, Fault::Refuse]).claim(&call).await;
    tokio::time::advance(TIMEOUT).await;
    let outcome = claim.run::<u64, _, _>(|_| async { panic!("no time") }).await;
    assert!(matches!(outcome, Err(Error::DeadlineAtHand { .. })), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_release_whose_reply_was_lost_is_made_again() {
    for lost in [Fault::LoseReply, Fault::LoseRequest] {
        let (world, call) = World::with_call(Uncertain::Reconcile, [Fault::None, lost]);
        let ended = world.ends_with(&call, Verdict::NotExecuted(5)).await;
        assert!(matches!(ended, Ok(Outcome::NotExecuted(5))), "{lost:?}: {ended:?}");
        assert!(matches!(world.record(&call).await.unwrap().state, State::Released { .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_refused_by_its_own_effects_is_found_out_to_have_happened_and_rings_no_alarm() {
    let (world, late) = (World::new([]), Late::default());
    // Commits, then reports the effect as refused because of the commit's own write.
    let sees_its_own_effects = |write: &Write, written| match (written, &write.record.state) {
        (Written::Applied, State::Success(_)) => Ok(Written::EffectRefused(RefusedEffect { index: 0, found: None })),
        (other, _) => Ok(other),
    };
    let engine = Engine::builder(Altered::new(world.memory.clone(), sees_its_own_effects));
    let engine = engine.clock(TokioClock::start()).observer(late.clone()).build();
    let call = world.call(Uncertain::Reconcile, "a");
    let run = |attempt: Attempt<Effect>| async move {
        attempt.add_effect(Effect::only_once(EFFECT));
        Verdict::Success(1)
    };
    let outcome = engine.run::<u64, _, _>(&call, run).await;
    assert!(matches!(outcome, Ok(Outcome::Executed(_))), "{outcome:?}");
    assert_eq!(late.0.lock().unwrap().len(), 0, "nobody was late");
}

fn operations(call: &Call) -> Operations {
    Operations::new().with(call.operation().clone(), |_| true)
}

fn prevented() -> OtherSide {
    OtherSide::says(Evidence::Prevented)
}
