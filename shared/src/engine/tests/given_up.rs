//! Claims whose reply is lost: the caller gets an error that nothing ran, so the key must not stay blocked.

use super::*;
use crate::reconcile::{Evidence, Operations, Reconciled, Resolver};
use crate::store::{Store, StoreError, Written};

/// Every attempt by the SDK loses the reply.
const LOST: Fault = Fault::LoseReply;

#[tokio::test(start_paused = true)]
async fn a_claim_whose_reply_was_lost_does_not_block_its_key() {
    let world = World::new([LOST]);
    let call = world.call(Uncertain::Reconcile, "a");
    assert!(matches!(world.pay(&call).await, Err(Error::StoreUnavailable(StoreError::Uncertain(_)))));
    let released = world.record(&call).await.unwrap();
    assert!(matches!(released.state, State::Released { .. }), "{released:?}");
    // Immediately, and with another request, because nothing has run.
    let paid = world.elsewhere([]).pay(&world.call(Uncertain::Reconcile, "b")).await;
    assert!(
        matches!(&paid, Ok(Outcome::Executed(answered)) if answered.transaction == released.transaction),
        "{paid:?}"
    );
    assert_eq!(world.memory.applied(EFFECT), 1);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_lost_before_it_arrived_leaves_nothing_behind() {
    let world = World::new([Fault::LoseRequest]);
    let call = world.call(Uncertain::Reconcile, "a");
    assert!(matches!(world.pay(&call).await, Err(Error::StoreUnavailable(_))));
    assert_eq!(world.record(&call).await, None);
}

/// An earlier attempt may have had its effects, so "nothing was executed" would be false.
#[tokio::test(start_paused = true)]
async fn a_takeover_whose_reply_was_lost_leaves_the_outcome_as_unknown_as_it_was() {
    for uncertain in [REPEAT, Uncertain::Reconcile] {
        let world = World::new([]);
        let call = world.call(uncertain, "a");
        let Ok(Claimed::Acquired(_dead)) = world.engine.claim(&call).await else { panic!("must acquire") };
        tokio::time::advance(TIMEOUT + Duration::from_secs(1)).await;
        let call = world.call(uncertain, "a");
        let elsewhere = world.elsewhere([Fault::None, LOST]);
        let retried = elsewhere.engine.run_or_reconcile(&call, |_| async { Verdict::Success(1) }, &Says(None)).await;
        assert!(matches!(retried, Err(Error::StoreUnavailable(_))));
        assert_eq!(world.record(&call).await.unwrap().state, State::Unknown(None), "{uncertain:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reconciler_whose_takeover_lost_its_reply_does_not_block_the_next() {
    let world = World::new([]);
    let call = world.call(Uncertain::Reconcile, "a");
    world.ends_with(&call, Verdict::Unknown("no answer".into())).await.unwrap();
    let record = world.record(&call).await.unwrap();
    let (operations, deadline) = (operations(&call), world.engine.now().plus(TIMEOUT));
    let lost = world.elsewhere([LOST]);
    let says = Says(Some(7));
    assert!(lost.engine.reconcile(&record, &operations, deadline, None, &says).await.is_err());
    let record = world.record(&call).await.unwrap();
    let reconciled = world.engine.reconcile(&record, &operations, deadline, None, &says).await;
    assert!(matches!(reconciled, Ok(Reconciled::Happened)), "{reconciled:?}");
}

/// The writes after evidence that the effect was prevented: one lets this call run again, the other a later call.
#[tokio::test(start_paused = true)]
async fn what_goes_on_after_evidence_blocks_nobody_when_its_reply_is_lost() {
    for lost in [Fault::LoseReply, Fault::LoseRequest] {
        let world = World::new([]);
        let call = world.call(Uncertain::Reconcile, "a");
        world.ends_with(&call, Verdict::Unknown("no answer".into())).await.unwrap();
        let before = world.record(&call).await.unwrap();
        let run = |_| async { panic!("its claim was not answered") };
        let restarted = world.elsewhere([Fault::None, Fault::None, lost]);
        let restarted = restarted.engine.run_or_reconcile::<u64, _, _>(&call, run, &Says(None)).await;
        assert!(matches!(restarted, Err(Error::StoreUnavailable(_))), "{restarted:?}");
        let after = world.record(&call).await.unwrap();
        assert!(after.holder().is_none() && after.transaction != before.transaction, "{lost:?}: {after:?}");

        let world = World::new([]);
        world.ends_with(&call, Verdict::Unknown("no answer".into())).await.unwrap();
        let record = world.record(&call).await.unwrap();
        let deadline = world.engine.now().plus(TIMEOUT);
        let reopened = world.elsewhere([Fault::None, lost]);
        let reopened = reopened.engine.reconcile(&record, &operations(&call), deadline, None, &Says(None)).await;
        assert!(matches!(reopened, Err(Error::StoreUnavailable(_))), "{reopened:?}");
        assert_eq!(world.record(&call).await.unwrap().holder(), None, "{lost:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_the_deadline_at_hand_the_caller_hears_that_nothing_ran_even_if_that_cannot_be_recorded() {
    let world = World::new([]);
    let call = world.call(Uncertain::Reconcile, "a");
    let Ok(Claimed::Acquired(claim)) = world.elsewhere([Fault::None, Fault::Refuse]).engine.claim(&call).await else {
        panic!("must acquire")
    };
    tokio::time::advance(TIMEOUT).await;
    let outcome = claim.run::<u64, _, _>(|_| async { panic!("no time") }).await;
    assert!(matches!(outcome, Err(Error::DeadlineAtHand { .. })), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_release_whose_reply_was_lost_is_made_again() {
    for lost in [Fault::LoseReply, Fault::LoseRequest] {
        let world = World::new([Fault::None, lost]);
        let call = world.call(Uncertain::Reconcile, "a");
        let ended = world.ends_with(&call, Verdict::NotExecuted(5)).await;
        assert!(matches!(ended, Ok(Outcome::NotExecuted(5))), "{lost:?}: {ended:?}");
        assert!(matches!(world.record(&call).await.unwrap().state, State::Released { .. }));
    }
}

/// Commits, then reports an effect as refused because of the commit's own write.
#[derive(Clone)]
struct SeesItsOwnEffects(MemoryStore);

impl Store for SeesItsOwnEffects {
    type Effect = Effect;

    fn max_response_bytes(effects: &[Effect]) -> usize {
        MemoryStore::max_response_bytes(effects)
    }

    async fn write(&self, write: &Write, effects: Vec<Effect>) -> Result<Written, StoreError> {
        let has_effects = !effects.is_empty();
        let written = self.0.write(write, effects).await?;
        Ok(match written {
            Written::Applied if has_effects => {
                Written::EffectRefused(crate::store::RefusedEffect { index: 0, found: None })
            }
            other => other,
        })
    }

    async fn read(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.0.read(id).await
    }

    async fn read_parts(&self, record: &Record, parts: u32) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.read_parts(record, parts).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_refused_by_its_own_effects_is_found_out_to_have_happened_and_rings_no_alarm() {
    let (world, late) = (World::new([]), Late::default());
    let engine = Engine::builder(SeesItsOwnEffects(world.memory.clone()));
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

/// A resolver with fixed evidence: it happened, with this answer, or it was prevented.
struct Says(Option<u64>);

impl Resolver<Effect, u64> for Says {
    async fn resolve(&self, _: &Record, _: Attempt<Effect>) -> Evidence<u64> {
        match self.0 {
            Some(answer) => Evidence::Happened(answer),
            None => Evidence::Prevented,
        }
    }
}
