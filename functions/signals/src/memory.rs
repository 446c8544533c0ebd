//! The memory of an entity between windows.

use crate::codec::{Reader, Unreadable, from_u16, to_u16};
use crate::window::DAY_S;
use crate::{Counts, Detector, Horizon, Moment, Pair, WindowTime};

const VERSION: u8 = 1;
/// The half-lives of the faded counts, in seconds.
const HALF_LIVES_S: [f64; 2] = [3_600.0, 12.0 * 3_600.0];
/// The share of the past that is left after a day.
const DAILY: f32 = 0.75;
/// The number of days after which the past is forgotten.
const FORGOTTEN_AFTER_DAYS: u64 = 60;
/// How long a detector stays silent after *fine*, in days.
const SILENT_DAYS: u32 = 30;

/// The memory of an entity: its counts faded with time, those of today, and its past. At most 400 bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// The start of the last window, in seconds since the Unix epoch; 0 if there was none.
    last_s: u64,
    faded: [[Pair; 12]; 2],
    today: [Pair; 12],
    past: [Pair; 12],
    silences: Vec<Silence>,
}

/// A detector that an operator labelled as fine for this entity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Silence {
    /// The detector.
    pub detector: Detector,
    /// The last silent day, counted from the Unix epoch in UTC.
    pub until_day: u32,
    /// The rate that is fine. Twice as much is not.
    pub rate: f32,
}

/// A past that was removed from a memory, with the data to restore it.
#[derive(Clone, Debug, PartialEq)]
pub struct ForgottenPast(Memory);

impl ForgottenPast {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// From its bytes.
    ///
    /// # Errors
    ///
    /// If they are of another version, or damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        Memory::from_bytes(bytes).map(Self)
    }
}

impl Memory {
    /// The start of the last window that was absorbed, in seconds since the Unix epoch. A window at or before it was
    /// absorbed already, or arrives too late.
    #[must_use]
    pub fn last_window_s(&self) -> Option<u64> {
        (self.last_s > 0).then_some(self.last_s)
    }

    /// Whether a window is the entity's first of its day.
    #[must_use]
    pub fn is_first_of_day(&self, at: WindowTime) -> bool {
        self.last_s == 0 || self.last_s / DAY_S < at.start_s / DAY_S
    }

    /// Adds a window after it was scored, except for detectors that are gated at the moment. A window that is not later
    /// than the last one changes nothing.
    pub fn absorb(&mut self, counts: &Counts, moment: &Moment, at: WindowTime) {
        if self.last_s >= at.start_s {
            return;
        }
        *self = self.faded(at);
        for (detector, pair) in Detector::ALL.into_iter().zip(counts.pairs()) {
            if moment.is_gated(detector, counts) {
                continue;
            }
            let index = detector.index();
            for faded in &mut self.faded {
                faded[index] = faded[index].plus(pair);
            }
            self.today[index] = self.today[index].plus(pair);
        }
    }

    /// The memory as it stands at a later window.
    #[must_use]
    pub fn faded(&self, at: WindowTime) -> Self {
        let mut later = self.clone();
        let elapsed_s = at.start_s.saturating_sub(self.last_s);
        for (faded, half_life_s) in later.faded.iter_mut().zip(HALF_LIVES_S) {
            let left = (-(elapsed_s as f64) / half_life_s).exp2() as f32;
            *faded = faded.map(|pair| pair.scaled(left));
        }
        let days = (at.start_s / DAY_S).saturating_sub(self.last_s / DAY_S).min(FORGOTTEN_AFTER_DAYS);
        if days > 0 {
            let left = DAILY.powi(days as i32);
            later.past = std::array::from_fn(|index| self.past[index].plus(self.today[index]).scaled(left));
            later.today = [Pair::default(); 12];
            later.silences.retain(|silence| silence.until_day >= at.day());
        }
        later.last_s = later.last_s.max(at.start_s);
        later
    }

    /// A pair of the window over a horizon, including remembered counts. Call it on a memory that is
    /// [`faded`](Self::faded) to the window.
    #[must_use]
    pub fn over(&self, horizon: Horizon, detector: Detector, window: Pair) -> Pair {
        match horizon {
            Horizon::Window => window,
            Horizon::Hour => window.plus(self.faded[0][detector.index()]),
            Horizon::HalfDay => window.plus(self.faded[1][detector.index()]),
        }
    }

    /// The counts of the days before today, faded by the day.
    #[must_use]
    pub fn past(&self, detector: Detector) -> Pair {
        self.past[detector.index()]
    }

    /// Applies the label *fine*: this detector's counts of today belong to the entity's past at once, and the detector
    /// stays silent for 30 days unless its rate doubles.
    pub fn call_fine(&mut self, detector: Detector, at: WindowTime) {
        *self = self.faded(at);
        let index = detector.index();
        let fine = self.today[index].plus(self.faded[1][index]).rate();
        self.past[index] = self.past[index].plus(self.today[index]);
        self.today[index] = Pair::default();
        self.silences.retain(|silence| silence.detector != detector);
        self.silences.push(Silence { detector, until_day: at.day().saturating_add(SILENT_DAYS), rate: fine });
    }

    /// Takes the label *fine* back.
    pub fn end_silence(&mut self, detector: Detector) {
        self.silences.retain(|silence| silence.detector != detector);
    }

    /// Applies the label *abuse* or *client bug*: the entity's past is removed, because it would make the behaviour
    /// look usual, and this detector is not silent. Returns the removed past.
    pub fn call_unusual(&mut self, detector: Detector) -> ForgottenPast {
        let silences = self.silences.iter().filter(|silence| silence.detector == detector).copied().collect();
        let Self { last_s, today, past, .. } = *self;
        self.end_silence(detector);
        self.forget_past();
        ForgottenPast(Self { last_s, faded: Default::default(), today, past, silences })
    }

    /// Takes *abuse* or *client bug* back: the past is as if there had been no label.
    pub fn restore_past(&mut self, forgotten: &ForgottenPast) {
        // Both fade by the day, so the sum is the same as without the label.
        let at = WindowTime { start_s: self.last_s.max(forgotten.0.last_s), length_s: 1 };
        let forgotten = forgotten.0.faded(at);
        *self = self.faded(at);
        for index in 0..12 {
            self.today[index] = self.today[index].plus(forgotten.today[index]);
            self.past[index] = self.past[index].plus(forgotten.past[index]);
        }
        for silence in forgotten.silences {
            if !self.silences.iter().any(|own| own.detector == silence.detector) {
                self.silences.push(silence);
            }
        }
    }

    /// Forgets the past, so that only peers count.
    pub fn forget_past(&mut self) {
        self.today = [Pair::default(); 12];
        self.past = [Pair::default(); 12];
    }

    /// Forgets the faded counts, so that only the window itself counts.
    pub fn forget_recent(&mut self) {
        self.faded = [[Pair::default(); 12]; 2];
    }

    /// Whether a detector is silent at a rate.
    pub(crate) fn is_silent(&self, detector: Detector, rate: f32, at: WindowTime) -> bool {
        self.silences
            .iter()
            .any(|silence| silence.detector == detector && silence.until_day >= at.day() && rate < 2.0 * silence.rate)
    }

    /// The detectors that are silent.
    #[must_use]
    pub fn silences(&self) -> &[Silence] {
        &self.silences
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(self.last_s.to_be_bytes());
        for pair in self.faded.as_flattened().iter().chain(&self.today).chain(&self.past) {
            bytes.extend(to_u16(pair.k).to_be_bytes());
            bytes.extend(to_u16(pair.n).to_be_bytes());
        }
        for silence in &self.silences {
            // At most 11.
            bytes.push(silence.detector as u8);
            bytes.extend(silence.until_day.to_be_bytes());
            bytes.extend(silence.rate.to_be_bytes());
        }
        bytes
    }

    /// From its bytes.
    ///
    /// # Errors
    ///
    /// If they are of another version, or damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader::versioned(bytes, VERSION)?;
        let mut memory = Self { last_s: reader.u64()?, ..Self::default() };
        for pairs in memory.faded.iter_mut().chain([&mut memory.today, &mut memory.past]) {
            for pair in pairs {
                *pair = Pair { k: from_u16(reader.u16()?), n: from_u16(reader.u16()?) };
            }
        }
        while !reader.is_empty() {
            let detector = *Detector::ALL.get(usize::from(reader.u8()?)).ok_or(Unreadable)?;
            memory.silences.push(Silence { detector, until_day: reader.u32()?, rate: reader.f32()? });
        }
        Ok(memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Model};

    const NOW: WindowTime = WindowTime { start_s: 1_764_374_400, length_s: 300 };

    fn later(hours: u64) -> WindowTime {
        WindowTime { start_s: NOW.start_s + hours * 3_600, ..NOW }
    }

    fn calm() -> Moment {
        Moment::of(Kind::Principal, [], &Model::default())
    }

    fn counts(declined: u32, payments: u32) -> Counts {
        Counts { requests: payments, runs: payments, payments, declined, ..Counts::default() }
    }

    #[test]
    fn a_window_that_is_absorbed_twice_changes_nothing() {
        let mut memory = Memory::default();
        memory.absorb(&counts(3, 4), &calm(), NOW);
        let once = memory.clone();
        memory.absorb(&counts(3, 4), &calm(), NOW);
        assert_eq!(memory, once);
    }

    #[test]
    fn counts_fade_by_half_lives_and_days_become_the_past() {
        let mut memory = Memory::default();
        memory.absorb(&counts(4, 8), &calm(), NOW);
        let hour = memory.faded(later(1)).over(Horizon::Hour, Detector::Declined, Pair::default());
        assert_eq!((hour.k, hour.n), (2.0, 4.0));
        let half_day = memory.faded(later(12)).over(Horizon::HalfDay, Detector::Declined, Pair::default());
        assert_eq!((half_day.k, half_day.n), (2.0, 4.0));
        assert_eq!(memory.past(Detector::Declined), Pair::default());
        let tomorrow = memory.faded(later(24)).past(Detector::Declined);
        assert_eq!((tomorrow.k, tomorrow.n), (3.0, 6.0));
    }

    #[test]
    fn its_bytes_fit_and_give_it_back() {
        let mut memory = Memory::default();
        for hour in 0..100 {
            memory.absorb(&counts(4, 9), &calm(), later(hour));
        }
        for detector in Detector::ALL {
            memory.call_fine(detector, later(100));
        }
        let bytes = memory.to_bytes();
        assert!(bytes.len() <= 400, "{} bytes", bytes.len());
        let read = Memory::from_bytes(&bytes).unwrap();
        assert_eq!(read.to_bytes(), bytes);
        assert_eq!(read.silences(), memory.silences());
        let (one, other) = (read.past(Detector::Declined), memory.past(Detector::Declined));
        assert!((one.k / other.k - 1.0).abs() < 1e-3 && (one.n / other.n - 1.0).abs() < 1e-3);
        for cut in 0..bytes.len() {
            // No cut may panic; most are noticed.
            let _ = Memory::from_bytes(&bytes[..cut]);
        }
        assert_eq!(Memory::from_bytes(&bytes[..200]), Err(Unreadable));
        assert_eq!(Memory::from_bytes(&[]), Err(Unreadable));
    }

    #[test]
    fn fine_silences_a_detector_until_its_rate_doubles_or_the_time_is_over() {
        let mut memory = Memory::default();
        memory.absorb(&counts(4, 10), &calm(), NOW);
        memory.call_fine(Detector::Declined, NOW);
        assert!(memory.is_silent(Detector::Declined, 0.7, NOW));
        assert!(!memory.is_silent(Detector::Declined, 0.9, NOW));
        assert!(!memory.is_silent(Detector::Mismatch, 0.1, NOW));
        assert!(!memory.faded(later(24 * 31)).is_silent(Detector::Declined, 0.7, later(24 * 31)));
        memory.end_silence(Detector::Declined);
        assert!(!memory.is_silent(Detector::Declined, 0.7, NOW));
    }

    #[test]
    fn a_past_that_is_restored_is_as_if_it_had_never_been_forgotten() {
        for days_later in [0, 1, 3] {
            let mut memory = Memory::default();
            for hour in 0..50 {
                memory.absorb(&counts(3, 7), &calm(), later(hour));
            }
            memory.call_fine(Detector::Declined, later(49));
            let mut untouched = memory.clone();
            let forgotten = memory.call_unusual(Detector::Declined);
            assert_eq!((memory.past(Detector::Declined), memory.silences()), (Pair::default(), &[][..]));
            let forgotten = ForgottenPast::from_bytes(&forgotten.to_bytes()).unwrap();
            for day in 0..=days_later {
                memory.absorb(&counts(1, 7), &calm(), later(50 + 24 * day));
                untouched.absorb(&counts(1, 7), &calm(), later(50 + 24 * day));
            }
            memory.restore_past(&forgotten);
            let next_day = later(50 + 24 * (days_later + 1));
            let (restored, untouched) = (memory.faded(next_day), untouched.faded(next_day));
            for detector in Detector::ALL {
                let (restored, untouched) = (restored.past(detector), untouched.past(detector));
                let off = (restored.k - untouched.k).abs() + (restored.n - untouched.n).abs();
                assert!(off <= 0.002 * untouched.n, "{detector:?}: {restored:?} {untouched:?}");
            }
            assert_eq!(restored.silences(), untouched.silences());
            assert_eq!(restored.last_window_s(), untouched.last_window_s());
        }
    }

    #[test]
    fn a_past_is_restored_into_a_memory_that_has_expired() {
        let mut memory = Memory::default();
        memory.absorb(&counts(4, 8), &calm(), NOW);
        let forgotten = memory.call_unusual(Detector::Declined);
        let mut fresh = Memory::default();
        fresh.restore_past(&forgotten);
        assert_eq!(fresh.faded(later(24)).past(Detector::Declined), Pair { k: 3.0, n: 6.0 });
    }

    #[test]
    fn its_bytes_are_pinned_because_they_outlive_a_deployment() {
        let mut memory = Memory::default();
        memory.absorb(&counts(3, 7), &calm(), NOW);
        let mut expected = vec![VERSION];
        expected.extend(NOW.start_s.to_be_bytes());
        // Twice faded, and today: declined 3 of 7, of hard and small ones 0 of 3, and 0 of 7 for all others.
        for _ in 0..3 {
            expected.extend([PINNED_3, PINNED_7].concat());
            for of in [PINNED_3, PINNED_7, PINNED_7, PINNED_3] {
                expected.extend([[0, 0], of].concat());
            }
            for _ in 5..12 {
                expected.extend([[0, 0], PINNED_7].concat());
            }
        }
        expected.extend([0; 48]);
        assert_eq!(memory.to_bytes(), expected);
    }

    /// 3000 · ln 4 and 3000 · ln 8, rounded.
    const PINNED_3: [u8; 2] = 4_159_u16.to_be_bytes();
    const PINNED_7: [u8; 2] = 6_238_u16.to_be_bytes();
}
