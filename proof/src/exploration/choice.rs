//! Decisions about the next step: drawn from a seed, or enumerated.

use crate::fault::{Fault, Rates};

/// The maximum number of faults in a schedule if all schedules are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Faults of requests and of the library's environment.
    pub(super) faults: u8,
    /// Deaths of processes.
    pub(super) deaths: u8,
    /// How many times time passes.
    pub(super) times: u8,
}

impl Bounds {
    const fn left(&mut self, fault: Fault) -> &mut u8 {
        match fault {
            Fault::Crash | Fault::CrashAfter => &mut self.deaths,
            Fault::TimePasses => &mut self.times,
            _ => &mut self.faults,
        }
    }
}

/// A decision that was made: which option, of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Made {
    taken: usize,
    of: usize,
}

/// The decisions of one schedule.
pub(super) struct Choices {
    source: Source,
    calm: bool,
}

enum Source {
    Seeded { rng: fastrand::Rng, rates: Rates },
    Listed { made: Vec<Made>, next: usize, left: Bounds },
}

/// One step of a schedule.
#[derive(Clone, Copy)]
pub(super) enum Step {
    /// The request at this index arrives, or suffers a fault.
    Request(usize, Option<Fault>),
    /// Time passes.
    TimePasses,
}

impl Choices {
    /// The decisions of a seed.
    pub(super) fn seeded(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let rates = Rates::draw(&mut rng);
        Self { source: Source::Seeded { rng, rates }, calm: false }
    }

    /// The decisions of a script, and after its end always the first option.
    pub(super) fn listed(script: &Script, bounds: Bounds) -> Self {
        Self { source: Source::Listed { made: script.0.clone(), next: 0, left: bounds }, calm: false }
    }

    /// Stops all faults, and from now on chooses only one of equivalent orders.
    pub(super) fn stop_faults(&mut self) {
        self.calm = true;
        if let Source::Listed { left, .. } = &mut self.source {
            *left = Bounds::default();
        }
    }

    /// Picks one of the options.
    pub(super) fn pick(&mut self, options: usize) -> usize {
        match &mut self.source {
            Source::Seeded { rng, .. } => rng.usize(0..options),
            Source::Listed { .. } if self.calm || options == 1 => 0,
            Source::Listed { made, next, .. } => {
                if made.len() == *next {
                    made.push(Made { taken: 0, of: options });
                }
                let taken = made[*next];
                assert_eq!(taken.of, options, "a schedule depends on more than its choices");
                *next += 1;
                taken.taken
            }
        }
    }

    /// Whether this fault occurs now.
    pub(super) fn occurs(&mut self, fault: Fault) -> bool {
        if self.calm {
            return false;
        }
        if let Source::Seeded { rng, rates } = &mut self.source {
            return rng.u16(0..1000) < rates.of(fault);
        }
        let occurs = self.has_left(fault) && self.pick(2) == 1;
        self.spend(occurs.then_some(fault));
        occurs
    }

    /// Whether a process freezes now. If all schedules are run, a freeze is one of their orders anyway.
    pub(super) fn freezes(&mut self) -> bool {
        matches!(self.source, Source::Seeded { .. }) && self.occurs(Fault::Freeze)
    }

    /// Picks the next step, given the possible faults of each request in transit.
    pub(super) fn step(&mut self, requests: &[&'static [Fault]]) -> Step {
        if let Source::Seeded { rng, .. } = &mut self.source {
            let request = rng.usize(0..requests.len());
            if self.occurs(Fault::TimePasses) {
                return Step::TimePasses;
            }
            let met = requests[request].iter().find(|fault| self.occurs(**fault));
            return Step::Request(request, met.copied());
        }
        let mut options = Vec::new();
        for (request, faults) in requests.iter().enumerate() {
            options.push(Step::Request(request, None));
            let open = faults.iter().filter(|fault| self.has_left(**fault));
            options.extend(open.map(|fault| Step::Request(request, Some(*fault))));
        }
        options.extend(self.has_left(Fault::TimePasses).then_some(Step::TimePasses));
        let step = options[self.pick(options.len())];
        self.spend(match step {
            Step::Request(_, fault) => fault,
            Step::TimePasses => Some(Fault::TimePasses),
        });
        step
    }

    /// Whether a listed schedule may have this fault.
    fn has_left(&mut self, fault: Fault) -> bool {
        match &mut self.source {
            Source::Seeded { .. } => false,
            Source::Listed { left, .. } => *left.left(fault) > 0,
        }
    }

    fn spend(&mut self, fault: Option<Fault>) {
        if let (Source::Listed { left, .. }, Some(fault)) = (&mut self.source, fault) {
            *left.left(fault) -= 1;
        }
    }

    /// The decisions so far, as a script.
    pub(super) fn script(&self) -> Script {
        match &self.source {
            Source::Seeded { .. } => Script::default(),
            Source::Listed { made, next, .. } => Script(made[..*next].to_vec()),
        }
    }
}

/// The decisions of a schedule in text form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script(Vec<Made>);

impl Script {
    /// The schedule after this one; `None` after the last.
    pub(super) fn next(mut self) -> Option<Self> {
        while let Some(last) = self.0.pop() {
            if last.taken + 1 < last.of {
                self.0.push(Made { taken: last.taken + 1, ..last });
                return Some(self);
            }
        }
        None
    }
}

/// Writes a script such as `2/5,0/3`: the third of five options, then the first of three.
impl std::fmt::Display for Script {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let made: Vec<_> = self.0.iter().map(|made| format!("{}/{}", made.taken, made.of)).collect();
        formatter.write_str(&made.join(","))
    }
}

impl std::str::FromStr for Script {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let made = text.split(',').filter(|made| !made.is_empty()).map(|made| {
            let (taken, of) = made.split_once('/').ok_or_else(|| format!("{made} is not a choice"))?;
            let number = |digits: &str| digits.parse().map_err(|_| format!("{digits} is not a number"));
            Ok(Made { taken: number(taken)?, of: number(of)? })
        });
        made.collect::<Result<_, String>>().map(Self)
    }
}
