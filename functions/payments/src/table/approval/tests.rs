//! Tests on an embedded DynamoDB.

use super::super::audit::tests::{entry, preview};
use super::super::tests::{commit, table};
use super::*;
use crate::AuditFilter;

const NOW: u64 = 1_795_494_059_250;

/// An approval that was requested from a preview by the operator olga.
async fn requested(table: &Table, now: u64) -> (Preview, Approval) {
    let preview = preview(now);
    table.store_preview(&preview).await.unwrap();
    let approval = Approval::of(&preview, id_at(now), "It gave no answer.".into(), now);
    let entry = AuditEntry { id: preview.token, ..entry(now, "olga", "r") };
    assert!(table.request_approval(&preview, &approval, &entry).await.unwrap());
    (preview, approval)
}

/// Like `Uuid::now_v7` at this time.
fn id_at(now: u64) -> Uuid {
    Uuid::from_u128(u128::from(now) << 80 | Uuid::now_v7().as_u128() & (u128::MAX >> 48))
}

#[tokio::test]
async fn a_preview_leads_to_one_approval_and_is_used_up_by_it() {
    let table = table().await;
    let (preview, approval) = requested(&table, NOW).await;
    assert_eq!(table.approval(approval.id).await.unwrap().as_ref(), Some(&approval));
    let used = table.preview(preview.token).await.unwrap().unwrap();
    assert_eq!((used.used, used.approval), (Some(NOW), Some(approval.id)));
    let audit = table.audit_page(&AuditFilter::default(), None, 10).await.unwrap().entries;
    assert_eq!(audit.iter().map(|entry| entry.id).collect::<Vec<_>>(), [preview.token]);

    let second = Approval::of(&preview, Uuid::now_v7(), "It gave no answer.".into(), NOW);
    let entry = entry(NOW + 1, "olga", "r");
    assert!(!table.request_approval(&preview, &second, &entry).await.unwrap(), "the preview is used");
    assert_eq!(table.approval(second.id).await.unwrap(), None, "nothing of it is written");
    assert!(commit(&table, vec![table.preview_used(&preview, NOW)]).await.is_err());
}

#[tokio::test]
async fn an_approval_is_given_once_by_another_and_in_time() {
    let table = table().await;
    let (_, approval) = requested(&table, NOW).await;
    let give = |by: &'static str, now| vec![table.approved(&approval, by, now)];
    assert!(commit(&table, give("olga", NOW)).await.is_err(), "who asked");
    assert!(commit(&table, give("otto", approval.expires())).await.is_err(), "too late");
    let never = Approval { id: Uuid::now_v7(), ..approval.clone() };
    assert!(commit(&table, vec![table.approved(&never, "otto", NOW)]).await.is_err(), "not asked for");
    commit(&table, give("otto", NOW + 7)).await.unwrap();
    assert!(commit(&table, give("oskar", NOW + 8)).await.is_err(), "used");
    let used = table.approval(approval.id).await.unwrap().unwrap();
    assert_eq!(used, Approval { used: Some(("otto".into(), NOW + 7)), ..approval });
}

#[tokio::test]
async fn what_can_be_approved_is_listed_newest_first_and_nothing_else() {
    let table = table().await;
    let mut open = Vec::new();
    for minutes in [0, 1, 2] {
        open.push(requested(&table, NOW + minutes * 60_000).await.1);
    }
    requested(&table, NOW - Approval::LIFETIME_MS).await;
    let given = requested(&table, NOW + 30_000).await.1;
    commit(&table, vec![table.approved(&given, "otto", NOW + 30_001)]).await.unwrap();
    let ids = |approvals: &[Approval]| approvals.iter().map(|approval| approval.id).collect::<Vec<_>>();
    open.reverse();
    assert_eq!(ids(&table.approvals(NOW, 10).await.unwrap()), ids(&open));
    assert_eq!(ids(&table.approvals(NOW, 2).await.unwrap()), ids(&open[..2]));
    let (later, late) = (NOW + Approval::LIFETIME_MS + 60_000, NOW + 2 * Approval::LIFETIME_MS);
    assert_eq!(ids(&table.approvals(later, 10).await.unwrap()), ids(&open[..1]));
    assert_eq!(table.approvals(late, 10).await.unwrap(), []);
}
