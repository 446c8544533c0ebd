//! The simulation: requests, sandboxes and the partitions of the table of records, event by event.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use idempotency::protocol::{Key, Principal, RecordId};

use super::assumption::{self, CLIENT_TIMEOUT_S};
use super::bucket::Partitions;
use super::design::Design;
use super::latency::Latencies;
use super::load::{Load, Zipf};

/// The result of one round.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Simulated {
    /// Answered requests per second.
    pub answered_per_s: f64,
    /// Latencies of first requests, in ms: the median, the 99th and the 99.9th percentile.
    pub latency_ms: [f64; 3],
    /// The requests per million that DynamoDB refused at least once because their partition was too hot.
    pub throttled_per_million: f64,
    /// The requests per million that had no answer in time.
    pub failed_per_million: f64,
    /// The cost of the write units per million requests, in USD.
    pub usd_per_million: f64,
    /// The partitions of the table.
    pub partitions: usize,
}

/// The number of rounds of splitting in an hour.
const ROUNDS: usize = 6;

/// Simulates a design under a load: with the initial partitions, and after an hour of splitting.
#[must_use]
pub fn simulate(design: Design, load: Load, rate: u32) -> (Simulated, Simulated) {
    let units = f64::from(rate) * (design.claim_units() + design.outcome_units());
    let mut partitions = Partitions::new(design.partitions(units));
    let mut rounds = Vec::new();
    for round in 0..=ROUNDS {
        // A round stands for ten minutes, of which some seconds are simulated.
        let mut region = Region::new(design, load, rate, round as u64, partitions);
        let simulated = region.run();
        partitions = region.partitions;
        rounds.push(simulated);
        partitions.split(region.seconds as f64);
    }
    (rounds[0], rounds[ROUNDS])
}

struct Region {
    design: Design,
    load: Load,
    rate: u32,
    seconds: u64,
    rng: fastrand::Rng,
    latencies: Latencies,
    partitions: Partitions,
    /// The repeated requests, by rank.
    repeated: Vec<u64>,
    zipf: Zipf,
    events: BinaryHeap<Reverse<(u64, u32, u32)>>,
    requests: Vec<Request>,
    /// When a sandbox saw a repeated request in progress.
    seen_us: HashMap<(usize, u64), u64>,
    sandboxes: u64,
    units: f64,
}

/// A request in progress.
struct Request {
    arrived_us: u64,
    step: Step,
    /// The hash of its record's id; for a repetition, its rank.
    hash: u64,
    rank: Option<usize>,
    tries: u32,
    was_throttled: bool,
    took_us: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Claim,
    Run,
    Outcome,
    Answered,
    Failed,
}

impl Region {
    fn new(design: Design, load: Load, rate: u32, round: u64, partitions: Partitions) -> Self {
        // Enough requests for the percentiles, and enough seconds for a partition's savings to be used up.
        let seconds = (40_000 / u64::from(rate)).clamp(3, 20);
        let seed = u64::from(rate) * 1000 + design as u64 * 100 + load as u64 * 10 + round;
        let in_progress_s = (assumption::RUN_MS.0 + 2.0 * assumption::WRITE_MS.0) / 1e3;
        let concurrency = f64::from(rate) * ((1.0 - load.duplicates()) * in_progress_s + load.duplicates() * 0.005);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
        let sandboxes = (concurrency.ceil() as u64).max(1);
        Self {
            design,
            load,
            rate,
            seconds,
            rng: fastrand::Rng::with_seed(seed),
            latencies: Latencies::default(),
            partitions,
            repeated: (0..assumption::STORM_KEYS).map(|number| hash(&format!("repeated {number}"))).collect(),
            zipf: Zipf::new(assumption::STORM_KEYS, assumption::ZIPF),
            events: BinaryHeap::new(),
            requests: Vec::new(),
            seen_us: HashMap::new(),
            sandboxes,
            units: 0.0,
        }
    }

    fn run(&mut self) -> Simulated {
        let end_us = self.seconds * 1_000_000;
        let mut arrival_us = 0.0;
        loop {
            // Requests arrive as a Poisson process.
            arrival_us += -(1.0 - self.rng.f64()).ln() / f64::from(self.rate) * 1e6;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a simulation")]
            let now = arrival_us as u64;
            if now >= end_us {
                break;
            }
            self.advance(now);
            self.arrive(now);
        }
        self.advance(u64::MAX);
        self.simulated()
    }

    /// Simulates all events until this time.
    fn advance(&mut self, until_us: u64) {
        while let Some(Reverse((at, _, _))) = self.events.peek().copied()
            && at <= until_us
        {
            let Some(Reverse((at, _, request))) = self.events.pop() else { return };
            self.step(request, at);
        }
    }

    fn arrive(&mut self, now: u64) {
        let number = self.requests.len();
        let rank = (self.rng.f64() < self.load.duplicates()).then(|| self.zipf.pick(&mut self.rng));
        let hash = rank.map_or_else(|| hash(&format!("{} {number}", self.rate)), |rank| self.repeated[rank]);
        let step = Step::Claim;
        self.requests.push(Request {
            arrived_us: now,
            step,
            hash,
            rank,
            tries: 0,
            was_throttled: false,
            took_us: None,
        });
        self.at(now, number);
    }

    fn at(&mut self, at_us: u64, request: usize) {
        let number = u32::try_from(request).unwrap_or(u32::MAX);
        self.events.push(Reverse((at_us, number, number)));
    }

    fn step(&mut self, number: u32, now: u64) {
        let number = number as usize;
        let (step, rank) = (self.requests[number].step, self.requests[number].rank);
        match (step, rank) {
            (Step::Claim, Some(rank)) => self.repeat(number, rank, now),
            (Step::Claim, None) => {
                if self.write(number, self.design.claim_units(), now) {
                    let claimed = now + self.latencies.write.draw(&mut self.rng);
                    self.go_on(number, Step::Run, claimed);
                }
            }
            (Step::Run, _) => {
                let ran = now + self.latencies.run.draw(&mut self.rng);
                self.go_on(number, Step::Outcome, ran);
            }
            (Step::Outcome, _) => {
                if self.write(number, self.design.outcome_units(), now) {
                    let latency = match self.design {
                        Design::Ours => self.latencies.transaction,
                        // An update, after the transaction with the effects.
                        Design::PowertoolsPartitionKey | Design::PowertoolsCompositeKey => {
                            let effects = self.latencies.transaction.draw(&mut self.rng);
                            let update = self.latencies.write.draw(&mut self.rng);
                            return self.answered(number, now + effects + update);
                        }
                    };
                    let took = latency.draw(&mut self.rng);
                    self.answered(number, now + took);
                }
            }
            (Step::Answered | Step::Failed, _) => {}
        }
    }

    /// Simulates a repetition, which its sandbox may answer from memory.
    fn repeat(&mut self, number: usize, rank: usize, now: u64) {
        let sandbox = self.rng.u64(0..self.sandboxes);
        let is_running = !self.load.repeats_settled();
        if is_running && self.design.remembers() {
            let seen = self.seen_us.get(&(rank, sandbox));
            if seen.is_some_and(|seen| now < seen + 1_000_000) {
                return self.answered(number, now);
            }
        }
        if self.write(number, self.design.duplicate_units(!is_running), now) {
            let answered = now + self.latencies.write.draw(&mut self.rng);
            self.seen_us.insert((rank, sandbox), answered);
            self.answered(number, answered);
        }
    }

    /// Whether the partition accepts the write. If not, the request tries again, or fails when its time is over.
    fn write(&mut self, number: usize, units: f64, now: u64) -> bool {
        let hash = self.requests[number].hash;
        if self.partitions.admit(hash, units, now) {
            self.units += units;
            return true;
        }
        let request = &mut self.requests[number];
        request.was_throttled = true;
        request.tries += 1;
        // The SDK, then the engine: exponentially longer pauses with full jitter, at most 200 ms.
        let longest = (25_000 << request.tries.min(3)).min(200_000);
        let again = now + 2_000 + self.rng.u64(0..longest);
        if again > request.arrived_us + CLIENT_TIMEOUT_S * 1_000_000 {
            request.step = Step::Failed;
        } else {
            self.at(again, number);
        }
        false
    }

    fn go_on(&mut self, number: usize, step: Step, at_us: u64) {
        self.requests[number].step = step;
        self.at(at_us, number);
    }

    fn answered(&mut self, number: usize, at_us: u64) {
        let request = &mut self.requests[number];
        request.step = Step::Answered;
        request.took_us = Some(at_us - request.arrived_us);
    }

    #[expect(clippy::cast_precision_loss, reason = "shown with few digits")]
    fn simulated(&self) -> Simulated {
        // The first second is not counted: nothing is in progress when it begins.
        let counted: Vec<&Request> = self.requests.iter().filter(|request| request.arrived_us >= 1_000_000).collect();
        let all = counted.len().max(1) as f64;
        let count = |is: fn(&Request) -> bool| counted.iter().filter(|request| is(request)).count() as f64;
        let mut first: Vec<u64> =
            counted.iter().filter(|request| request.rank.is_none()).filter_map(|request| request.took_us).collect();
        first.sort_unstable();
        let percentile = |share: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
            let place = (first.len() as f64 * share) as usize;
            first.get(place.min(first.len().saturating_sub(1))).map_or(0.0, |took| *took as f64 / 1e3)
        };
        Simulated {
            answered_per_s: count(|request| request.step == Step::Answered) / (self.seconds - 1) as f64,
            latency_ms: [percentile(0.5), percentile(0.99), percentile(0.999)],
            throttled_per_million: count(|request| request.was_throttled) / all * 1e6,
            failed_per_million: count(|request| request.step == Step::Failed) / all * 1e6,
            usd_per_million: self.units / self.requests.len().max(1) as f64 * assumption::USD_PER_MILLION.0,
            partitions: self.partitions.count(),
        }
    }
}

/// The hash of the record id of a key, as a partition sees it: the id is a hash itself, and DynamoDB hashes it again.
fn hash(key: &str) -> u64 {
    let (Ok(principal), Ok(key)) = (Principal::new("simulated"), Key::new(key)) else { return 0 };
    let id = RecordId::new("scale", &principal, &key);
    // FNV-1a with a final mixing step, since partitions are ranges of the highest bits.
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = id.as_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, fold);
    (hash ^ (hash >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_figures() {
        let once = || simulate(Design::Ours, Load::Storm, 100);
        assert_eq!(once(), once());
    }

    #[test]
    fn a_composite_key_throttles_where_a_spread_one_does_not() {
        let (spread, _) = simulate(Design::PowertoolsPartitionKey, Load::Healthy, 1_000);
        let (composite, split) = simulate(Design::PowertoolsCompositeKey, Load::Healthy, 1_000);
        assert!(spread.throttled_per_million < 1_000.0, "{spread:?}");
        assert!(composite.throttled_per_million > 100_000.0, "{composite:?}");
        assert!(split.partitions > 2 && split.throttled_per_million < composite.throttled_per_million, "{split:?}");
    }

    #[test]
    fn record_ids_spread_evenly_over_partitions() {
        let mut counts = [0_u32; 16];
        for number in 0..16_000 {
            counts[(hash(&number.to_string()) >> 60) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
