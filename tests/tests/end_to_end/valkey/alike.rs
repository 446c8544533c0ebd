//! Whatever is written in whatever order, a Valkey server answers as the memory store does. So what the simulation and
//! the other proofs show on the memory store holds on a server as well.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use idempotency::protocol::{
    Condition, EpochMs, Fingerprinter, History, Holder, Key, OwnerToken, Principal, Record, RecordId, RecordVersion,
    Resolution, Settled, State, TransactionId, Write, abandon, begin_settled, extend, mark_unknown, release, reopen,
    restart, settle,
};
use idempotency::store::memory::{self, MemoryStore};
use idempotency::store::unsettled::{ScanPlace, Unsettled};
use idempotency::store::valkey::{Effect, ValkeyStore};
use idempotency::store::{ItemOf, Store, Written};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::server::{Kind, Running};

/// What a process does next, as chosen by these bytes.
type Choice = [u8; 4];

const KEYS: u8 = 2;
const PROCESSES: u8 = 3;

/// `SOAK_ALIKE` is the number of random sequences.
#[test]
fn in_every_order_of_writes_a_server_answers_as_the_memory_store_does() {
    let cases = std::env::var("SOAK_ALIKE").ok().and_then(|number| number.parse().ok()).unwrap_or(60);
    for kind in Kind::all("in_every_order_of_writes_a_server_answers_as_the_memory_store_does") {
        let server = Running::start(kind, &[]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
        let sequences = vec(any::<Choice>(), 1..60);
        let alike = |choices: Vec<Choice>| {
            server.command(&["FLUSHALL"]);
            runtime.block_on(World::new(server.store()).run(&choices));
            Ok(())
        };
        TestRunner::new(config).run(&sequences, alike).unwrap_or_else(|failure| panic!("{kind:?}: {failure}"));
    }
}

/// Both stores, and what each process has seen of each key.
struct World {
    memory: MemoryStore,
    valkey: ValkeyStore,
    now: EpochMs,
    fresh: u8,
    views: Vec<Option<Record>>,
    owners: Vec<OwnerToken>,
    last: Option<Write>,
}

impl World {
    fn new(valkey: ValkeyStore) -> Self {
        let views = usize::from(KEYS * PROCESSES);
        Self {
            memory: MemoryStore::new(),
            valkey,
            // An hour ahead, so that the server has deleted nothing.
            now: EpochMs::from(SystemTime::now()).plus(Duration::from_secs(3600)),
            fresh: 0,
            views: vec![None; views],
            owners: vec![OwnerToken([0; 16]); views],
            last: None,
        }
    }

    async fn run(mut self, choices: &[Choice]) {
        for choice in choices {
            self.step(*choice).await;
        }
    }

    async fn step(&mut self, [what, who, key, how]: Choice) {
        let key = key % KEYS;
        let place = usize::from(key * PROCESSES + who % PROCESSES);
        self.now = self.now.plus(Duration::from_millis(u64::from(how) * 20));
        let write = match what % 13 {
            0 | 1 => {
                self.views[place] = self.memory.read(&id(key)).await.expect("readable");
                return;
            }
            2 => self.last.clone(),
            3 => Some(self.begin(key, place)),
            4 => {
                let begin = self.begin(key, place);
                Some(begin_settled(begin, Resolution::Success, self.answer(how)))
            }
            other => self.continued(other, place, how),
        };
        let Some(write) = write else { return };
        self.last = Some(write.clone());
        let effect = how.is_multiple_of(3).then(|| format!("{}", how / 64));
        self.write(&write, effect).await;
        if write.condition == (Condition::Owned { owner: self.owners[place] }) {
            self.views[place] = self.memory.read(&id(key)).await.expect("readable");
        }
    }

    /// A write over what this process has seen, which may be old.
    fn continued(&mut self, what: u8, place: usize, how: u8) -> Option<Write> {
        let seen = self.views[place].clone()?;
        let (owner, now) = (self.owners[place], self.now);
        let expiration = now.seconds().plus(Duration::from_secs(u64::from(how % 4)));
        Some(match what {
            5 | 6 => self.take_over(seen, place),
            7 => mark_unknown(self.take_over(seen, place)),
            8 => settle(seen, owner, Resolution::Success, self.answer(how), now),
            9 => settle(seen, owner, Resolution::Failed, self.answer(how), now),
            10 => release(seen, owner, expiration, now),
            11 => abandon(seen, owner, now),
            _ if how.is_multiple_of(3) => extend(seen, Holder { owner, lease: now.plus(Duration::from_secs(9)) }, now),
            _ if how % 3 == 1 => reopen(seen, owner, self.transaction(), expiration, now),
            _ => restart(seen, Holder { owner, lease: now }, self.transaction(), now),
        })
    }

    fn begin(&mut self, key: u8, place: usize) -> Write {
        let (owner, transaction, now) = (self.owner(), self.transaction(), self.now);
        self.owners[place] = owner;
        let record = Record {
            id: id(key),
            operation: "POST /orders".into(),
            principal: None,
            subject: None,
            fingerprint: Fingerprinter::new().bytes(&[key]).finish(),
            transaction,
            attempt: 1,
            created: now,
            updated: now,
            trace: None,
            ended_by: None,
            state: State::Processing(Holder { owner, lease: now.plus(Duration::from_secs(2)) }),
            history: History::default(),
        };
        self.views[place] = Some(record.clone());
        Write { record, condition: Condition::Vacant { now: now.seconds() } }
    }

    fn take_over(&mut self, seen: Record, place: usize) -> Write {
        let owner = self.owner();
        self.owners[place] = owner;
        let condition = Condition::Unchanged(RecordVersion::of(&seen));
        let holder = Holder { owner, lease: self.now.plus(Duration::from_secs(2)) };
        let state = match &seen.state {
            State::Unknown(_) => State::Unknown(Some(holder)),
            _ => State::Processing(holder),
        };
        let record = Record { attempt: seen.attempt + 1, updated: self.now, ended_by: None, state, ..seen };
        self.views[place] = Some(record.clone());
        Write { record, condition }
    }

    /// Writes to both, and compares the answers and everything that can be read afterwards.
    async fn write(&self, write: &Write, effect: Option<String>) {
        let name = effect.as_deref();
        let of_memory = name.map(memory::Effect::only_once).into_iter().collect();
        let of_valkey =
            name.map(|name| Effect::insert(format!("{{test}}effect:{name}"), "applied")).into_iter().collect();
        let remembered = shown::<MemoryStore>(self.memory.write(write, of_memory).await.expect("answered"));
        let answered = shown::<ValkeyStore>(self.valkey.write(write, of_valkey).await.expect("answered"));
        assert_eq!(answered, remembered, "{write:#?} with {effect:?}");
        for key in 0..KEYS {
            let (stored, expected) = (self.valkey.read(&id(key)).await, self.memory.read(&id(key)).await);
            assert_eq!(stored.expect("readable"), expected.expect("readable"), "after {write:#?}");
        }
        assert_eq!(unsettled(&self.valkey, self.now).await, unsettled(&self.memory, self.now).await);
    }

    fn answer(&self, how: u8) -> Settled {
        let expiration = self.now.seconds().plus(Duration::from_secs(u64::from(how % 8)));
        Settled { response: vec![how; usize::from(how)].into(), expiration }
    }

    fn owner(&mut self) -> OwnerToken {
        self.fresh += 1;
        OwnerToken([self.fresh; 16])
    }

    fn transaction(&mut self) -> TransactionId {
        self.fresh += 1;
        TransactionId::from_bytes([self.fresh; 16])
    }
}

fn id(key: u8) -> RecordId {
    RecordId::new("orders", &Principal::new("p").expect("valid"), &Key::new(format!("k-{key}")).expect("valid"))
}

/// An answer without the items of an effect, which the stores have in forms of their own.
fn shown<S: Store>(written: Written<ItemOf<S>>) -> String {
    match written {
        Written::EffectRefused(refused) => format!("effect {} refused", refused.index),
        Written::Applied => "applied".to_owned(),
        Written::Recognised => "recognised".to_owned(),
        Written::Refused(found) => format!("refused: {found:?}"),
    }
}

/// What is UNKNOWN, in order, and what is held although its lease is over.
async fn unsettled<S: Unsettled>(store: &S, now: EpochMs) -> (Vec<RecordId>, BTreeSet<RecordId>) {
    let unknown = store.unknown(10, None).await.expect("readable").records;
    let place = ScanPlace { segment: 0, segments: 1, after: None };
    let abandoned = store.scan(&place, now, 10).await.expect("readable").abandoned;
    (unknown.into_iter().map(|record| record.id).collect(), abandoned.into_iter().map(|record| record.id).collect())
}
