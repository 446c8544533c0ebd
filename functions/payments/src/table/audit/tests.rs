//! Tests on an embedded DynamoDB.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use idempotency::engine::{Claimed, Clock};
use idempotency::protocol::{EpochMs, Fingerprinter, Key, Principal, Resolution, Uncertain};
use idempotency::store::memory::MemoryStore;
use idempotency::{Call, Engine, Operation, Verdict};
use uuid::Uuid;

use super::super::tests::{commit, table};
use super::*;
use crate::{Action, ActionKind, Preview, Proposal, RecordSnapshot, samples};

pub(crate) fn entry(at: u64, actor: &str, record: &str) -> AuditEntry {
    AuditEntry {
        id: Uuid::now_v7(),
        at,
        kind: AuditKind::Settled(ActionKind::Fail),
        record: record.into(),
        transaction: Some(samples::transaction(1)),
        attempt: Some(3),
        actor: actor.into(),
        requested_by: Some("oskar".into()),
        request: Some("request-1".into()),
        reason: Some("<b>the bank says no</b>".into()),
        evidence: None,
        provider: Some("It gave no answer.".into()),
    }
}

pub(crate) fn preview(now: u64) -> Preview {
    Preview {
        token: Uuid::now_v7(),
        actor: "olga".into(),
        proposal: Proposal {
            record: "idempotency:r".into(),
            shown: RecordSnapshot { version: "v".into(), status: "UNKNOWN".into(), attempt: 2, updated: 5 },
            action: Action::Succeed { reference: "pi_1".into(), verified: true },
            reason: "the provider shows it".into(),
        },
        created: now,
        used: None,
        approval: None,
    }
}

async fn all(table: &Table, filter: &AuditFilter, limit: usize) -> Vec<Vec<AuditEntry>> {
    let (mut pages, mut next) = (Vec::new(), None);
    loop {
        let page = table.audit_page(filter, next, limit).await.unwrap();
        pages.push(page.entries);
        match page.next {
            Some(cursor) => next = AuditCursor::parse(&cursor.to_string()),
            None => return pages,
        }
    }
}

#[tokio::test]
async fn the_audit_is_read_newest_first_and_by_pages() {
    let table = table().await;
    let entries: Vec<_> = [900, 1_000, 2_000, 3_000, 10_000].map(|at| entry(at, "olga", "r")).into();
    for entry in &entries {
        commit(&table, vec![table.audited(entry)]).await.unwrap();
    }
    let pages = all(&table, &AuditFilter::default(), 2).await;
    let newest_first: Vec<_> = entries.iter().rev().cloned().collect();
    assert_eq!(pages.concat(), newest_first);
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    let since = AuditFilter { since: 2_000, ..AuditFilter::default() };
    assert_eq!(all(&table, &since, 10).await.concat(), newest_first[..3]);
}

#[tokio::test]
async fn the_audit_is_filtered_by_actor_and_by_record() {
    let table = table().await;
    for (at, actor, record) in [(1, "olga", "r"), (2, "otto", "r"), (3, "olga", "s")] {
        table.audit(&entry(at, actor, record)).await.unwrap();
    }
    let times = |actor: Option<&str>, record: Option<&str>| {
        let filter = AuditFilter { actor: actor.map(Into::into), record: record.map(Into::into), since: 0 };
        let table = &table;
        async move { all(table, &filter, 10).await.concat().iter().map(|entry| entry.at).collect::<Vec<_>>() }
    };
    assert_eq!(times(Some("olga"), None).await, [3, 1]);
    assert_eq!(times(None, Some("r")).await, [2, 1]);
    assert_eq!(times(Some("olga"), Some("r")).await, [1]);
    assert_eq!(times(Some("nobody"), None).await, [0_u64; 0]);
}

#[tokio::test]
async fn an_entry_cannot_be_changed() {
    let table = table().await;
    let first = entry(1, "olga", "r");
    table.audit(&first).await.unwrap();
    table.audit(&first).await.expect("the same again is a repeat");
    let changed = AuditEntry { actor: "otto".into(), ..first.clone() };
    assert!(table.audit(&changed).await.is_err());
    assert!(commit(&table, vec![table.audited(&changed)]).await.is_err());
    assert_eq!(all(&table, &AuditFilter::default(), 10).await.concat(), [first]);
}

#[tokio::test]
async fn a_preview_is_used_once_by_its_actor_and_in_time() {
    let (table, now) = (table().await, 1_795_494_059_250);
    let preview = preview(now);
    assert!(commit(&table, vec![table.preview_used(&preview, now)]).await.is_err(), "not stored");
    table.store_preview(&preview).await.unwrap();
    assert_eq!(table.preview(preview.token).await.unwrap().as_ref(), Some(&preview));

    let others = Preview { actor: "otto".into(), ..preview.clone() };
    assert!(commit(&table, vec![table.preview_used(&others, now)]).await.is_err(), "another's");
    assert!(commit(&table, vec![table.preview_used(&preview, preview.expires())]).await.is_err(), "too late");
    commit(&table, vec![table.preview_used(&preview, preview.expires() - 1)]).await.unwrap();
    assert!(commit(&table, vec![table.preview_used(&preview, now)]).await.is_err(), "used");
    let used = table.preview(preview.token).await.unwrap().unwrap();
    assert_eq!(used.used, Some(preview.expires() - 1));
    assert_eq!(table.preview(Uuid::now_v7()).await.unwrap(), None);
}

#[tokio::test]
async fn every_action_is_read_back_as_it_was_previewed() {
    let table = table().await;
    let actions = [
        Action::Succeed { reference: "pi_1".into(), verified: false },
        Action::Fail { evidence: "\"quoted\"\nand <i>more</i>".into() },
        Action::Release,
    ];
    for action in actions {
        let mut preview = preview(1);
        preview.proposal.action = action;
        table.store_preview(&preview).await.unwrap();
        assert_eq!(table.preview(preview.token).await.unwrap(), Some(preview));
    }
}

/// A clock that the test sets, in epoch milliseconds.
#[derive(Clone, Default)]
struct Hand(Arc<AtomicU64>);

impl Clock for Hand {
    fn now(&self) -> EpochMs {
        EpochMs(self.0.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn a_late_owner_is_in_the_audit_with_its_result() {
    let (table, hand) = (table().await, Hand::default());
    let engine = Engine::builder(MemoryStore::new())
        .clock(hand.clone())
        .observer(crate::FencedAttempts::new(table.clone(), "payments-api"))
        .build();
    let call = || {
        let uncertain = Uncertain::Repeat { within: Duration::MAX };
        let operation = Operation::new("payments", "POST /payments").uncertain(uncertain);
        let (principal, key) = (Principal::new("ann").unwrap(), Key::new("k").unwrap());
        let deadline = engine.now().plus(Duration::from_secs(10));
        Call::new(operation, principal, key, Fingerprinter::new().finish(), deadline)
    };
    let Claimed::Acquired(late) = engine.claim(&call()).await.unwrap() else { panic!("must acquire") };
    let (record, transaction) = (late.record().id.as_str().to_owned(), late.record().transaction);
    hand.0.store(60_000, Ordering::SeqCst);
    engine.run(&call(), async |_| Verdict::Failed(402_u16)).await.unwrap();
    late.commit(Resolution::Success, 201_u16, Vec::new()).await.unwrap();

    let entries = all(&table, &AuditFilter::default(), 10).await.concat();
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    let expected = (AuditKind::FencedAttempt, record, Some(transaction), Some(1), "payments-api", 60_000);
    let found = (entry.kind, entry.record.clone(), entry.transaction, entry.attempt, entry.actor.as_str(), entry.at);
    assert_eq!(found, expected);
    let evidence = entry.evidence.as_deref().unwrap();
    assert!(evidence.contains("The late attempt succeeded; the record was FAILED (attempt 2)"), "{evidence}");
}
