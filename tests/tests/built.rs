//! The functions as `sam build` leaves them for the upload.

use tests::local_stack::{Setup, payment};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the programs of `sam build`; .ci/run builds them and runs it"]
async fn the_programs_of_sam_build_charge_post_and_reconcile() {
    let stack = Setup::built(".aws-sam/build".into()).start().await;
    let ann = stack.user("ann").await;
    let body = payment("acct-1", "pm_card_visa");
    let first = ann.pay("key-1", &body).await;
    let again = ann.pay("key-1", &body).await;
    assert_eq!((first.status, again.status, again.is_replay()), (201, 201, true), "{first:?} {again:?}");
    assert_eq!(ann.balance("acct-1", "EUR", 1).await, 1999);
    assert_eq!(stack.reconcile().await["errors"], 0);
    assert_eq!(stack.charges().await.len(), 1);
}
