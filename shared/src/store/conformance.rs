//! The conformance suite for stores. Run [`all`] against your store, [`watermarks::all`] if it keeps watermarks, and
//! [`unsettled::all`] if it lists its unsettled records.
//!
//! The suite needs the feature `test-util`. Like any test, it panics if a store does not conform.

pub mod unsettled;
pub mod watermarks;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use futures::FutureExt;

use super::{ItemOf, MAX_RECORD_RESPONSE_BYTES, PART_BYTES, Store, Written};
use crate::protocol::{
    Condition, EpochMs, EpochS, Fingerprinter, History, HistoryEntry, HistoryEvent, Holder, InvocationId, Key,
    OwnerToken, Principal, Record, RecordId, RecordVersion, Resolution, Response, Settled, State, Subject, Trace,
    TransactionId, Write, abandon, begin_settled, release, reopen, restart, settle,
};

/// The suite's current time: an hour ahead of the clock, so that a store that deletes by its server's clock does not
/// delete the suite's records.
static NOW: LazyLock<EpochMs> = LazyLock::new(|| EpochMs::from(SystemTime::now()).plus(Duration::from_secs(60 * 60)));

const FIRST: OwnerToken = OwnerToken([1; 16]);
const SECOND: OwnerToken = OwnerToken([2; 16]);

/// Lists checks, each under the name of its function.
macro_rules! checks {
    ($($check:ident($($argument:expr),*)),* $(,)?) => { [$((stringify!($check), $check($($argument),*).boxed_local())),*] };
}

/// Runs the whole suite against a store.
///
/// `effect` creates an effect with its own condition: a second effect of the same name must be refused. The suite uses
/// records and effects with fresh random names, so it may run many times against one table. It writes answers of up to
/// [`Store::max_response_bytes`]. The future is not `Send`: await it in the test, do not spawn it.
///
/// # Panics
/// If the store does not conform, once all checks have run. The message names the checks that failed; each has printed
/// why.
pub async fn all<S: Store>(store: S, effect: impl Fn(String) -> S::Effect) {
    let store = Arc::new(store);
    let checks = checks![
        what_is_not_there_reads_as_nothing(&*store),
        a_record_is_read_back_as_it_was_written(&*store),
        an_answer_of_any_length_is_read_back_whole(&*store),
        the_parts_of_an_answer_are_those_of_its_own_record(&*store),
        a_long_answer_and_the_effects_are_written_together_or_not_at_all(&*store, &effect),
        every_condition_holds_exactly_where_the_protocol_says(&*store),
        a_repeat_of_our_own_write_is_recognised(&*store),
        another_write_that_settles_without_a_claim_is_not_taken_for_our_own(&*store),
        a_refusal_shows_what_is_stored(&*store),
        an_expired_record_counts_as_absent_while_it_is_still_there(&*store),
        a_held_or_unknown_record_never_expires(&*store),
        a_late_owner_cannot_overwrite_the_settled_record(&*store),
        effects_and_record_are_written_together_or_not_at_all(&*store, &effect),
        an_effect_that_is_refused_names_itself(&*store, &effect),
        of_64_claims_at_once_one_wins(&store),
        of_64_takeovers_at_once_one_wins(&store),
    ];
    let (count, mut failed) = (checks.len(), Vec::new());
    for (name, check) in checks {
        if AssertUnwindSafe(check).catch_unwind().await.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{} of {count} checks failed: {}", failed.len(), failed.join(", "));
}

/// Random hexadecimal digits, which compress to no less than half their length, for answers that must still be long
/// when stored.
#[must_use]
pub fn digits(bytes: usize) -> String {
    let mut state = 88_172_645_463_325_252_u64;
    let digits = std::iter::from_fn(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(format!("{state:016x}"))
    });
    let mut text: String = digits.take(bytes / 16 + 1).collect();
    text.truncate(bytes);
    text
}

async fn what_is_not_there_reads_as_nothing<S: Store>(store: &S) {
    assert_eq!(store.read(&fresh_id()).await.expect("readable"), None);
}

async fn a_record_is_read_back_as_it_was_written<S: Store>(store: &S) {
    for state in all_states() {
        let record = place(store, state).await;
        assert_eq!(store.read(&record.id).await.expect("readable"), Some(record));
    }
}

async fn an_answer_of_any_length_is_read_back_whole<S: Store>(store: &S) {
    let (record, part, room) = (MAX_RECORD_RESPONSE_BYTES, PART_BYTES, S::max_response_bytes(&[]));
    for length in [0, 1, record - 1, record, record + 1, part - 1, part, part + 1, 2 * part + 1, room] {
        let claimed = place(store, processing(FIRST, *NOW)).await;
        let settled = Settled { response: long(length).into(), expiration: later() };
        let write = settle(claimed, FIRST, Resolution::Success, settled, *NOW);
        assert_eq!(apply(store, &write).await, Written::Applied, "{length} bytes");
        assert_eq!(whole(store, &write.record.id).await, Some(long(length)), "{length} bytes");
        let again = apply(store, &write).await;
        assert!(matches!(again, Written::Applied | Written::Recognised), "{length} bytes: {again:?}");

        let found = store.read(&write.record.id).await.expect("readable").expect("stored");
        assert_eq!(found.expiration(), write.record.expiration());
    }
}

/// Checks a store that bills a write by the size of the item it finds, as DynamoDB does: a record with a long answer
/// must be small, with its answer in parts.
///
/// # Panics
/// If a record has another form.
pub async fn a_refused_claim_finds_a_small_item<S: Store>(store: &S) {
    for length in [1, MAX_RECORD_RESPONSE_BYTES, MAX_RECORD_RESPONSE_BYTES + 1, PART_BYTES + 1] {
        let claimed = place(store, processing(FIRST, *NOW)).await;
        let settled = Settled { response: long(length).into(), expiration: later() };
        let write = settle(claimed, FIRST, Resolution::Success, settled, *NOW);
        assert_eq!(apply(store, &write).await, Written::Applied, "{length} bytes");
        let found = store.read(&write.record.id).await.expect("readable").expect("stored");
        let in_record = found.settled().is_some_and(|(_, settled)| settled.is_whole());
        assert_eq!(in_record, length <= MAX_RECORD_RESPONSE_BYTES, "{length} bytes");
    }
}

/// If a key expires and is used again, the parts of its earlier answer are replaced and never read for the later one.
async fn the_parts_of_an_answer_are_those_of_its_own_record<S: Store>(store: &S) {
    let settled = |length| Settled { response: long(length).into(), expiration: NOW.seconds() };
    let first = Write { record: record(State::Success(settled(3 * PART_BYTES))), ..begin(FIRST) };
    assert_eq!(apply(store, &first).await, Written::Applied);
    let earlier = store.read(&first.record.id).await.expect("readable").expect("stored");

    let second = Record { id: first.record.id.clone(), ..record(State::Failed(settled(PART_BYTES + 1))) };
    let second = Write { record: second, ..begin(SECOND) };
    assert_eq!(apply(store, &second).await, Written::Applied, "the earlier record and its parts have expired");
    assert_eq!(whole(store, &second.record.id).await, Some(long(PART_BYTES + 1)));
    assert_eq!(store.read_parts(&earlier, 3).await.expect("readable"), None, "parts of another transaction");

    let late = Record { attempt: 3, ..second.record.clone() };
    let late = settle(late, FIRST, Resolution::Success, settled(2 * PART_BYTES), *NOW);
    assert!(matches!(apply(store, &late).await, Written::Refused(_)), "a late owner");
    assert_eq!(whole(store, &second.record.id).await, Some(long(PART_BYTES + 1)));
}

async fn a_long_answer_and_the_effects_are_written_together_or_not_at_all<S: Store>(
    store: &S,
    effect: &impl Fn(String) -> S::Effect,
) {
    let used = fresh_name();
    let first = Write { record: record(State::Success(answer(later()))), ..begin(FIRST) };
    assert_eq!(store.write(&first, vec![effect(used.clone())]).await.expect("answered"), Written::Applied);

    let claimed = place(store, processing(FIRST, *NOW)).await;
    let settled = || Settled { response: long(PART_BYTES + 1).into(), expiration: later() };
    let write = settle(claimed.clone(), FIRST, Resolution::Success, settled(), *NOW);
    let written = store.write(&write, vec![effect(used)]).await.expect("answered");
    assert!(matches!(&written, Written::EffectRefused(refused) if refused.index == 0), "{written:?}");
    assert_eq!(store.read(&claimed.id).await.expect("readable"), Some(claimed), "the record is as it was");
    assert_eq!(store.read_parts(&write.record, 2).await.expect("readable"), None, "no part was written");

    let effects = vec![effect(fresh_name())];
    assert_eq!(store.write(&write, effects).await.expect("answered"), Written::Applied);
    assert_eq!(whole(store, &write.record.id).await, Some(long(PART_BYTES + 1)));
}

/// The answer of a record, from the record or from its parts.
async fn whole<S: Store>(store: &S, id: &RecordId) -> Option<Vec<u8>> {
    let record = store.read(id).await.expect("readable")?;
    match &record.settled()?.1.response {
        Response::Whole(bytes) => Some(bytes.clone()),
        Response::Parts(parts) => store.read_parts(&record, *parts).await.expect("readable"),
    }
}

fn long(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index / 251 + index % 251).to_le_bytes()[0]).collect()
}

/// Tries every condition against every state, and against no record: the store's implementation of a condition (such as
/// an expression) must agree with the protocol's.
async fn every_condition_holds_exactly_where_the_protocol_says<S: Store>(store: &S) {
    let mut found = vec![None];
    found.extend(all_states().into_iter().map(Some));
    for state in found {
        for condition in all_conditions() {
            let stored = match &state {
                Some(state) => Some(place(store, state.clone()).await),
                None => None,
            };
            let target = stored.clone().unwrap_or_else(|| record(State::Unknown(None)));
            // A different attempt number, so that no refusal is mistaken for our own write.
            let write = Write { record: Record { attempt: 99, ..target }, condition };
            let expected = write.condition.holds(stored.as_ref());
            if stored.is_none() && matches!(write.condition, Condition::Owned { .. }) {
                // The end of a claim on a record that is gone is never applied and creates no record.
                assert_eq!(apply(store, &write).await, Written::Refused(None));
                assert_eq!(store.read(&write.record.id).await.expect("readable"), None);
                continue;
            }
            let applied = apply(store, &write).await == Written::Applied;
            assert_eq!(applied, expected, "{:?} of {stored:?}", write.condition);
        }
    }
}

async fn a_repeat_of_our_own_write_is_recognised<S: Store>(store: &S) {
    let begin = begin(FIRST);
    let ends = |claimed: &Record| {
        let settled = |resolution| settle(claimed.clone(), FIRST, resolution, answer(later()), *NOW);
        let restarted = Holder { owner: FIRST, lease: EpochMs(NOW.0 + 5) };
        [
            restart(claimed.clone(), restarted, fresh_transaction(), *NOW),
            reopen(claimed.clone(), FIRST, fresh_transaction(), later(), *NOW),
            settled(Resolution::Success),
            settled(Resolution::Failed),
            release(claimed.clone(), FIRST, later(), *NOW),
            abandon(claimed.clone(), FIRST, *NOW),
        ]
    };
    for end in ends(&begin.record) {
        let begin = Write { record: Record { id: fresh_id(), ..begin.record.clone() }, ..begin.clone() };
        let end = Write { record: Record { id: begin.record.id.clone(), ..end.record }, ..end };
        for write in [&begin, &end] {
            assert_eq!(apply(store, write).await, Written::Applied, "{write:?}");
            let again = apply(store, write).await;
            // After a restart the claim continues, so its write may be applied again without consequence.
            let restarted = matches!(write.record.state, State::Processing(_)) && write.record.attempt > 7;
            assert!(again == Written::Recognised || (restarted && again == Written::Applied), "{write:?}: {again:?}");
        }
        assert_eq!(store.read(&end.record.id).await.expect("readable"), Some(end.record));
    }
}

/// Two calls that settle over one release share its transaction and its next attempt. Their answers may be equal, or
/// stored in equally many parts.
async fn another_write_that_settles_without_a_claim_is_not_taken_for_our_own<S: Store>(store: &S) {
    for (ours, theirs) in [(7, 7), (7, 8), (PART_BYTES + 1, PART_BYTES + 1), (PART_BYTES + 1, PART_BYTES + 2)] {
        let released = place(store, State::Released { expiration: later() }).await;
        let settled = |length, owner| {
            let begin = take_over(&released, owner);
            begin_settled(begin, Resolution::Success, Settled { response: long(length).into(), expiration: later() })
        };
        let (faster, slower) = (settled(theirs, FIRST), settled(ours, SECOND));
        assert_eq!(apply(store, &faster).await, Written::Applied);
        let refused = apply(store, &slower).await;
        assert!(matches!(refused, Written::Refused(Some(_))), "{theirs} and {ours} bytes: {refused:?}");
        assert_eq!(apply(store, &faster).await, Written::Recognised);
    }
}

async fn a_refusal_shows_what_is_stored<S: Store>(store: &S) {
    for state in all_states() {
        let stored = place(store, state).await;
        let late = abandon(stored.clone(), OwnerToken([9; 16]), *NOW);
        assert_eq!(apply(store, &late).await, Written::Refused(Some(Box::new(stored))));
    }
}

async fn an_expired_record_counts_as_absent_while_it_is_still_there<S: Store>(store: &S) {
    let expired = NOW.seconds();
    for state in
        [State::Success(answer(expired)), State::Failed(answer(expired)), State::Released { expiration: expired }]
    {
        let stored = place(store, state).await;
        let claim = Write { record: Record { id: stored.id.clone(), ..begin(SECOND).record }, ..begin(SECOND) };
        assert_eq!(apply(store, &claim).await, Written::Applied);
        assert_eq!(store.read(&stored.id).await.expect("readable"), Some(claim.record));
    }
}

async fn a_held_or_unknown_record_never_expires<S: Store>(store: &S) {
    for state in [processing(FIRST, *NOW), State::Unknown(None), State::Unknown(Some(holder(FIRST, *NOW)))] {
        let stored = place(store, state).await;
        let claim = Write {
            record: Record { id: stored.id.clone(), ..begin(SECOND).record },
            condition: Condition::Vacant { now: EpochS(u64::MAX / 2) },
        };
        assert_eq!(apply(store, &claim).await, Written::Refused(Some(Box::new(stored))));
    }
}

async fn a_late_owner_cannot_overwrite_the_settled_record<S: Store>(store: &S) {
    let first = place(store, processing(FIRST, *NOW)).await;
    let takeover = take_over(&first, SECOND);
    assert_eq!(apply(store, &takeover).await, Written::Applied);
    let late = settle(first, FIRST, Resolution::Failed, answer(later()), *NOW);
    assert_eq!(apply(store, &late).await, Written::Refused(Some(Box::new(takeover.record.clone()))));

    let settled = settle(takeover.record, SECOND, Resolution::Success, answer(later()), *NOW);
    assert_eq!(apply(store, &settled).await, Written::Applied);
    assert_eq!(apply(store, &late).await, Written::Refused(Some(Box::new(settled.record.clone()))));
    assert_eq!(store.read(&late.record.id).await.expect("readable"), Some(settled.record));
}

async fn effects_and_record_are_written_together_or_not_at_all<S: Store>(
    store: &S,
    effect: &impl Fn(String) -> S::Effect,
) {
    let claimed = place(store, processing(FIRST, *NOW)).await;
    let [one, two] = [fresh_name(), fresh_name()];
    let late = settle(claimed.clone(), SECOND, Resolution::Success, answer(later()), *NOW);
    let written = store.write(&late, vec![effect(one.clone())]).await.expect("answered");
    assert_eq!(written, Written::Refused(Some(Box::new(claimed.clone()))), "the effect of a late owner");

    let settle = settle(claimed, FIRST, Resolution::Success, answer(later()), *NOW);
    let effects = || vec![effect(one.clone()), effect(two.clone())];
    assert_eq!(store.write(&settle, effects()).await.expect("answered"), Written::Applied);
    // A store may also recognise the retry by its own token and answer as it did the first time. In either case the
    // effects were not applied again; otherwise they would have been refused.
    let again = store.write(&settle, effects()).await.expect("answered");
    assert!(matches!(again, Written::Applied | Written::Recognised), "{again:?}");

    let single_write =
        Write { record: Record { attempt: 1, ..record(State::Success(answer(later()))) }, ..begin(FIRST) };
    let written = store.write(&single_write, vec![effect(fresh_name())]).await.expect("answered");
    assert_eq!(written, Written::Applied);
    assert_eq!(store.read(&single_write.record.id).await.expect("readable"), Some(single_write.record));
}

async fn an_effect_that_is_refused_names_itself<S: Store>(store: &S, effect: &impl Fn(String) -> S::Effect) {
    let used = fresh_name();
    let first = Write { record: record(State::Success(answer(later()))), ..begin(FIRST) };
    assert_eq!(store.write(&first, vec![effect(used.clone())]).await.expect("answered"), Written::Applied);

    let claimed = place(store, processing(SECOND, *NOW)).await;
    let settle = settle(claimed.clone(), SECOND, Resolution::Success, answer(later()), *NOW);
    let written = store.write(&settle, vec![effect(fresh_name()), effect(used)]).await.expect("answered");
    assert!(matches!(&written, Written::EffectRefused(refused) if refused.index == 1), "{written:?}");
    assert_eq!(store.read(&claimed.id).await.expect("readable"), Some(claimed), "the record is as it was");
}

async fn of_64_claims_at_once_one_wins<S: Store>(store: &Arc<S>) {
    let id = fresh_id();
    let claims = (0..64).map(|_| {
        let record = Record { id: id.clone(), transaction: fresh_transaction(), ..begin(fresh_owner()).record };
        Write { record, ..begin(FIRST) }
    });
    one_of(store, claims.collect()).await;
}

async fn of_64_takeovers_at_once_one_wins<S: Store>(store: &Arc<S>) {
    let first = place(&**store, processing(FIRST, *NOW)).await;
    one_of(store, (0..64).map(|_| take_over(&first, fresh_owner())).collect()).await;
}

async fn one_of<S: Store>(store: &Arc<S>, writes: Vec<Write>) {
    let mut tasks = tokio::task::JoinSet::new();
    for write in writes {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            let written = store.write(&write, Vec::new()).await.expect("answered");
            (write, written)
        });
    }
    let all = tasks.join_all().await;
    let winners: Vec<_> = all.iter().filter(|(_, written)| *written == Written::Applied).collect();
    let [(winner, _)] = winners.as_slice() else { panic!("{} of {} won", winners.len(), all.len()) };
    for (write, written) in &all {
        if write != winner {
            assert_eq!(*written, Written::Refused(Some(Box::new(winner.record.clone()))));
        }
    }
}

fn all_states() -> Vec<State> {
    vec![
        processing(FIRST, *NOW),
        processing(SECOND, EpochMs(NOW.0 + 1)),
        State::Released { expiration: NOW.seconds() },
        State::Released { expiration: later() },
        State::Success(answer(NOW.seconds())),
        State::Success(answer(later())),
        State::Failed(Settled { response: Response::Whole((0..=255).collect()), expiration: later() }),
        State::Unknown(None),
        State::Unknown(Some(holder(FIRST, *NOW))),
    ]
}

fn all_conditions() -> Vec<Condition> {
    let mut conditions = vec![
        Condition::Vacant { now: NOW.seconds() },
        Condition::Vacant { now: EpochS(NOW.seconds().0 - 1) },
        Condition::Owned { owner: FIRST },
        Condition::Owned { owner: SECOND },
    ];
    for state in all_states() {
        let seen = RecordVersion::of(&record(state));
        conditions.push(Condition::Unchanged(RecordVersion { attempt: 8, ..seen.clone() }));
        conditions.push(Condition::Unchanged(RecordVersion { transaction: fresh_transaction(), ..seen.clone() }));
        conditions.push(Condition::Unchanged(seen));
    }
    conditions
}

/// Stores a record in this state.
async fn place<S: Store>(store: &S, state: State) -> Record {
    let write = Write { record: record(state), condition: Condition::Vacant { now: EpochS(0) } };
    assert_eq!(apply(store, &write).await, Written::Applied);
    write.record
}

async fn apply<S: Store>(store: &S, write: &Write) -> Written<ItemOf<S>> {
    store.write(write, Vec::new()).await.expect("answered")
}

fn begin(owner: OwnerToken) -> Write {
    Write { record: record(processing(owner, *NOW)), condition: Condition::Vacant { now: NOW.seconds() } }
}

fn take_over(record: &Record, owner: OwnerToken) -> Write {
    Write {
        record: Record { attempt: record.attempt + 1, state: processing(owner, *NOW), ..record.clone() },
        condition: Condition::Unchanged(RecordVersion::of(record)),
    }
}

fn record(state: State) -> Record {
    Record {
        id: fresh_id(),
        operation: "POST /conformance".into(),
        principal: Some(Principal::new("p").expect("a principal").digest()),
        subject: Subject::new("a thing"),
        fingerprint: Fingerprinter::new().bytes(b"body").finish(),
        transaction: fresh_transaction(),
        attempt: 7,
        created: EpochMs(NOW.0 - 2000),
        updated: EpochMs(NOW.0 - 1000),
        trace: Trace::new([1; 16], [2; 8], true),
        ended_by: match &state {
            State::Processing(_) | State::Unknown(Some(_)) => None,
            State::Released { .. } | State::Success(_) | State::Failed(_) | State::Unknown(None) => Some(FIRST),
        },
        state,
        history: History::default().then(HistoryEntry {
            event: HistoryEvent::Claimed,
            at: EpochMs(NOW.0 - 2000),
            attempt: 7,
            request: InvocationId::parse("01935b4a-7c00-7000-8000-000000000001"),
        }),
    }
}

fn processing(owner: OwnerToken, lease: EpochMs) -> State {
    State::Processing(holder(owner, lease))
}

fn holder(owner: OwnerToken, lease: EpochMs) -> Holder {
    Holder { owner, lease }
}

fn answer(expiration: EpochS) -> Settled {
    Settled { response: b"answer".to_vec().into(), expiration }
}

fn later() -> EpochS {
    EpochS(NOW.seconds().0 + 1)
}

fn fresh_id() -> RecordId {
    let principal = Principal::new("conformance").expect("valid");
    RecordId::new("conformance", &principal, &Key::new(fresh_name()).expect("valid"))
}

fn fresh_name() -> String {
    format!("conformance-{:032x}", u128::from_be_bytes(fresh_owner().0))
}

fn fresh_transaction() -> TransactionId {
    TransactionId::from_bytes(fresh_owner().0)
}

fn fresh_owner() -> OwnerToken {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    OwnerToken(bytes)
}
