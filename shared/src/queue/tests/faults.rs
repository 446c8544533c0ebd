use super::*;

const FAULTS: [Fault; 5] =
    [Fault::None, Fault::Refuse, Fault::LoseRequest, Fault::LoseReply, Fault::RepeatAfterLostReply];

/// Every pair of faults over the writes of a batch that is delivered until nothing of it is returned.
#[tokio::test]
async fn no_pair_of_faults_loses_a_message_or_applies_its_effect_twice() {
    for (position, first) in (0..5).flat_map(|position| FAULTS.map(|fault| (position, fault))) {
        for (distance, second) in (0..4).flat_map(|distance| FAULTS.map(|fault| (distance, fault))) {
            let mut plan = vec![Fault::None; position];
            plan.push(first);
            plan.extend(vec![Fault::None; distance]);
            plan.push(second);
            let shown = format!("{plan:?}");
            in_one_trip_all_are_settled(plan.clone(), &shown).await;
            under_claims_none_is_forgotten(plan, &shown).await;
        }
    }
}

/// Two messages, one of them sent twice.
fn messages() -> Vec<SqsMessage> {
    [("m-1", 1), ("m-2", 2), ("m-3", 1)].map(|(id, key)| message(id, &format!(r#"{{"id":{key}}}"#))).into()
}

async fn in_one_trip_all_are_settled(plan: Vec<Fault>, shown: &str) {
    let (queue, memory) = world(plan);
    let queue = queue.one_trip().concurrency(1);
    let mut open = messages();
    for _ in 0..4 {
        let again = returned(&queue, open.clone()).await;
        open.retain(|message| again.iter().any(|id| message.message_id.as_deref() == Some(id)));
    }
    assert!(open.is_empty(), "{shown}: {open:?}");
    assert_eq!([memory.applied("1"), memory.applied("2")], [1, 1], "{shown}");
}

async fn under_claims_none_is_forgotten(plan: Vec<Fault>, shown: &str) {
    let (queue, memory) = world(plan);
    let queue = queue.concurrency(1);
    let again = returned(&queue, messages()).await;
    for (key, ids) in [("1", &["m-1", "m-3"][..]), ("2", &["m-2"])] {
        let applied = memory.applied(key);
        assert!(applied <= 1, "{shown}");
        let all_return = ids.iter().all(|id| again.iter().any(|other| other == id));
        assert!(applied == 1 || all_return, "{shown}: message {key} is neither done nor returned");
    }
}
