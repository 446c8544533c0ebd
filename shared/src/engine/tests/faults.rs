//! Every single fault and every pair of faults in the writes of each flow and of the retries after it, each in a
//! process without a cache: replays come from the store.

use super::*;
use crate::reconcile::Evidence;
use crate::reconcile::tests::{OtherSide, retry, scheduled};

#[derive(Clone, Debug)]
enum Flow {
    FirstRun(Uncertain),
    Replay,
    Takeover,
    /// A retry reconciles with this evidence.
    Reconcile(Evidence<u64>),
    /// A reconciler uses this evidence, and a retry follows.
    Schedule(Evidence<u64>),
    SingleWrite {
        over_a_release: bool,
    },
}

impl Flow {
    fn all() -> Vec<Self> {
        let evidence =
            [Evidence::Happened(7), Evidence::Refused(402), Evidence::Prevented, Evidence::Unclear("not found".into())];
        let mut all = vec![Self::FirstRun(REPEAT), Self::FirstRun(Uncertain::Reconcile), Self::Replay, Self::Takeover];
        all.extend([false, true].map(|over_a_release| Self::SingleWrite { over_a_release }));
        all.extend(evidence.clone().map(Self::Reconcile));
        all.extend(evidence.map(Self::Schedule));
        all
    }

    /// Sets up the record before the flow.
    async fn begin(&self, world: &World) {
        let call = world.call(Uncertain::Reconcile, "a");
        match self {
            Self::FirstRun(_) | Self::SingleWrite { over_a_release: false } => {}
            Self::Replay => drop(world.pay(&call).await.unwrap()),
            Self::Takeover => {
                let _died = world.claim(&call).await;
            }
            Self::Reconcile(_) | Self::Schedule(_) => {
                world.ends_with(&call, Verdict::Unknown("no answer".into())).await.unwrap();
            }
            Self::SingleWrite { over_a_release: true } => {
                world.ends_with(&call, Verdict::NotExecuted(0)).await.unwrap();
            }
        }
        tokio::time::advance(TIMEOUT + Duration::from_secs(1)).await;
    }

    async fn call(&self, world: &World) -> Result<Outcome<u64>, Error> {
        match self {
            Self::FirstRun(uncertain) => world.pay(&world.call(*uncertain, "a")).await,
            Self::Replay | Self::Takeover => world.pay(&world.call(REPEAT, "a")).await,
            Self::SingleWrite { .. } => {
                let call = world.call(Uncertain::Reconcile, "a");
                let run = |attempt: Attempt<Effect>| async move {
                    attempt.add_effect(Effect::named(EFFECT));
                    Verdict::Success(world.runs.fetch_add(1, Ordering::SeqCst))
                };
                world.engine.run_single_write(&call, run).await
            }
            Self::Reconcile(evidence) => retry(world, "a", &OtherSide::says(evidence.clone())).await,
            Self::Schedule(evidence) => {
                // If this fails, it succeeds the next time.
                drop(scheduled(world, &OtherSide::says(evidence.clone())).await);
                world.pay(&world.call(Uncertain::Reconcile, "a")).await
            }
        }
    }

    /// How often the effect is applied in the end; `None` if that depends on the faults.
    fn effects(&self) -> Option<u64> {
        match self {
            Self::FirstRun(Uncertain::Reconcile) => None,
            Self::FirstRun(Uncertain::Repeat { .. }) | Self::Replay | Self::Takeover | Self::SingleWrite { .. } => {
                Some(1)
            }
            Self::Reconcile(evidence) | Self::Schedule(evidence) => match evidence {
                Evidence::Happened(_) | Evidence::Prevented => Some(1),
                Evidence::Refused(_) | Evidence::Unclear(_) => Some(0),
            },
        }
    }

    fn is_unclear(&self) -> bool {
        matches!(self, Self::Reconcile(Evidence::Unclear(_)) | Self::Schedule(Evidence::Unclear(_)))
    }
}

/// The maximum number of writes: those of the longest flow, of its retry, and of a replay.
const WRITES: usize = 8;

#[tokio::test(start_paused = true)]
async fn no_pair_of_faults_applies_an_effect_twice() {
    for flow in Flow::all() {
        for plan in Fault::pairs(WRITES) {
            let shown = format!("{flow:?} {plan:?}");
            let beginning = World::new([]);
            flow.begin(&beginning).await;
            let world = beginning.elsewhere(plan);
            let mut answers = Vec::new();
            for _ in 0..WRITES + 2 {
                answers.extend(answer(&flow.call(&world.restarted()).await));
                tokio::time::advance(TIMEOUT + Duration::from_secs(1)).await;
            }
            let applied = world.memory.applied(EFFECT);
            assert!(world.engine.store().is_used_up(), "{shown}: not every fault was met");
            assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{shown}: {answers:?}");
            assert!(flow.effects().is_none_or(|effects| applied == effects) && applied <= 1, "{shown}: {applied}");
            assert!(!answers.is_empty() || flow.is_unclear() || flow.effects().is_none(), "{shown}");
            assert!(answers.is_empty() || !flow.is_unclear(), "{shown}: {answers:?}");
        }
    }
}
