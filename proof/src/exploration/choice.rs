//! Decisions about what happens next: drawn from a seed, or the next one of all possible.

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Trouble {
    /// The service refuses a request.
    Refused,
    /// A request is lost.
    RequestLost,
    /// A reply is lost.
    ReplyLost,
    /// A reply is lost, and the request is repeated.
    Repeated,
    /// A request arrives when nobody waits for it any longer.
    Late,
    /// A request arrives a second time, later.
    Doubled,
    /// A process dies while its request is in transit, and the request is lost as well.
    DiesBefore,
    /// A process dies before it gets the reply.
    DiesAfter,
    /// A process freezes for some time, with its request in transit.
    Freezes,
    /// Enough time passes that every lease and every deadline is over.
    TimePasses,
    /// Messages that one process has received are delivered to another as well; a delivery begins before the
    /// checkpoint.
    DeliveredAgain,
    /// A topic is deleted and created again.
    CreatedAnew,
    /// A handler fails once.
    Fails,
    /// Records expire.
    Forgotten,
}

impl Trouble {
    const ALL: usize = Self::Forgotten as usize + 1;

    /// The faults of a write.
    pub(super) const OF_WRITES: [Self; 8] = [
        Self::Refused,
        Self::RequestLost,
        Self::ReplyLost,
        Self::Repeated,
        Self::Late,
        Self::Doubled,
        Self::DiesBefore,
        Self::DiesAfter,
    ];

    /// The faults of a read.
    pub(super) const OF_READS: [Self; 2] = [Self::Refused, Self::DiesBefore];
}

/// The maximum number of faults in a schedule if all schedules are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Faults of requests and of the library's environment.
    pub(super) faults: u8,
    /// Deaths of processes.
    pub(super) deaths: u8,
    /// How many times time passes.
    pub(super) times: u8,
}

impl Bounds {
    const NONE: Self = Self { faults: 0, deaths: 0, times: 0 };

    const fn left(&mut self, trouble: Trouble) -> &mut u8 {
        match trouble {
            Trouble::DiesBefore | Trouble::DiesAfter => &mut self.deaths,
            Trouble::TimePasses => &mut self.times,
            Trouble::Refused
            | Trouble::RequestLost
            | Trouble::ReplyLost
            | Trouble::Repeated
            | Trouble::Late
            | Trouble::Doubled
            | Trouble::Freezes
            | Trouble::DeliveredAgain
            | Trouble::CreatedAnew
            | Trouble::Fails
            | Trouble::Forgotten => &mut self.faults,
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
    /// How often each fault occurs, per 1000. Each seed has its own rates, because some bugs show only if other faults
    /// are rare.
    Seeded {
        rng: fastrand::Rng,
        weather: [u16; Trouble::ALL],
    },
    Listed {
        made: Vec<Made>,
        next: usize,
        left: Bounds,
    },
}

/// One step of a schedule.
pub(super) enum Step {
    /// The request at this index arrives, or suffers a fault.
    Request(usize, Option<Trouble>),
    /// Time passes.
    TimePasses,
}

impl Choices {
    /// The decisions of a seed.
    pub(super) fn seeded(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let weather = std::array::from_fn(|_| [0, 0, 20, 60, 150][rng.usize(0..5)]);
        Self { source: Source::Seeded { rng, weather }, calm: false }
    }

    /// The decisions of a script, and after its end the first possible ones.
    pub(super) fn listed(script: &Script, bounds: Bounds) -> Self {
        Self { source: Source::Listed { made: script.0.clone(), next: 0, left: bounds }, calm: false }
    }

    /// From now on no faults occur, and of equivalent orders only one is chosen.
    pub(super) fn calm_down(&mut self) {
        self.calm = true;
        if let Source::Listed { left, .. } = &mut self.source {
            *left = Bounds::NONE;
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
    pub(super) fn strikes(&mut self, trouble: Trouble) -> bool {
        if self.calm {
            return false;
        }
        match &mut self.source {
            Source::Seeded { rng, weather } => rng.u16(0..1000) < weather[trouble as usize],
            Source::Listed { left, .. } => {
                if *left.left(trouble) == 0 {
                    return false;
                }
                let strikes = self.pick(2) == 1;
                self.spend(strikes.then_some(trouble));
                strikes
            }
        }
    }

    /// Whether a process freezes now. If all schedules are run, that is one of their orders anyway.
    pub(super) fn freezes(&mut self) -> bool {
        matches!(self.source, Source::Seeded { .. }) && self.strikes(Trouble::Freezes)
    }

    /// Picks the next step, given the possible faults of each request in transit.
    pub(super) fn step(&mut self, requests: &[&'static [Trouble]]) -> Step {
        let options = match &mut self.source {
            Source::Seeded { rng, .. } => {
                let request = rng.usize(0..requests.len());
                if self.strikes(Trouble::TimePasses) {
                    return Step::TimePasses;
                }
                let met = requests[request].iter().find(|trouble| self.strikes(**trouble));
                return Step::Request(request, met.copied());
            }
            Source::Listed { left, .. } => {
                let mut options = Vec::new();
                for (request, troubles) in requests.iter().enumerate() {
                    options.push((request, None));
                    let open = troubles.iter().filter(|trouble| *left.left(**trouble) > 0);
                    options.extend(open.map(|trouble| (request, Some(*trouble))));
                }
                options
            }
        };
        let times = usize::from(self.has_left(Trouble::TimePasses));
        match options.get(self.pick(options.len() + times)) {
            Some((request, trouble)) => {
                self.spend(*trouble);
                Step::Request(*request, *trouble)
            }
            None => {
                self.spend(Some(Trouble::TimePasses));
                Step::TimePasses
            }
        }
    }

    fn has_left(&mut self, trouble: Trouble) -> bool {
        match &mut self.source {
            Source::Seeded { .. } => true,
            Source::Listed { left, .. } => *left.left(trouble) > 0,
        }
    }

    fn spend(&mut self, trouble: Option<Trouble>) {
        if let (Source::Listed { left, .. }, Some(trouble)) = (&mut self.source, trouble) {
            *left.left(trouble) -= 1;
        }
    }

    /// The decisions that were made, as a script.
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

/// `2/5,0/3`: the third of five, then the first of three.
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
            let (taken, of) = made.split_once('/').ok_or_else(|| format!("{made} is no choice"))?;
            let number = |digits: &str| digits.parse().map_err(|_| format!("{digits} is no number"));
            Ok(Made { taken: number(taken)?, of: number(of)? })
        });
        made.collect::<Result<_, String>>().map(Self)
    }
}
