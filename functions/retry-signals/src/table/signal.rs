//! A signal: an entity that was raised on a day, with its reasons and labels.

use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem};
use signals::{Detector, Evidence, ForgottenPast, Horizon, Kind, Reason, WindowTime};

use super::item::{Item, bytes, number, read_bytes, read_number, read_text, read_texts, text, texts};
use super::window::Window;
use super::{Signals, TableError, entity_key};

/// How long a signal is kept.
const LIFE_S: u64 = 400 * 24 * 60 * 60;

/// How often a change is retried because another writer has changed the signal.
const TRIES: usize = 5;

/// An operator's judgement of the behaviour behind a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// Somebody misuses the API.
    Abuse,
    /// A bug in a client.
    ClientBug,
    /// Nothing is wrong.
    Fine,
}

impl Label {
    /// All labels.
    pub const ALL: [Self; 3] = [Self::Abuse, Self::ClientBug, Self::Fine];

    /// Its name in items, addresses and forms.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Abuse => "abuse",
            Self::ClientBug => "client-bug",
            Self::Fine => "fine",
        }
    }

    /// The label of that [name](Self::name).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|label| label.name() == name)
    }
}

/// One labelling by an operator: a label was given or taken back. A signal keeps all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelling {
    /// The label; `None` if it was taken back.
    pub label: Option<Label>,
    /// When, in epoch milliseconds.
    pub at_ms: u64,
    /// The id of the invocation, as in the log. A writer recognises its own write by it.
    pub request: String,
    /// The operator.
    pub by: String,
}

impl Labelling {
    fn to_text(&self) -> String {
        let label = self.label.map_or("none", Label::name);
        format!("{} {label} {} {}", self.at_ms, self.request, self.by)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ' ');
        let (at_ms, label) = (parts.next()?.parse().ok()?, parts.next()?);
        let (request, by) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        let label = if label == "none" { None } else { Some(Label::named(label)?) };
        Some(Self { label, at_ms, request, by })
    }
}

/// An entity that was raised on a day.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// The day, counted from the Unix epoch in UTC.
    pub day: u32,
    /// What the entity is.
    pub kind: Kind,
    /// Its pseudonym.
    pub entity: String,
    /// The strongest detector.
    pub detector: Detector,
    /// The horizon over which it counted.
    pub horizon: Horizon,
    /// The detector's count `k`.
    pub k: f32,
    /// The number `n` of which `k` was counted.
    pub n: f32,
    /// The rate of its peers.
    pub peers: f64,
    /// The rate of its own past, if it has one.
    pub own: Option<f64>,
    /// The logarithm of the evidence.
    pub score: f64,
    /// The approximate share of entity-days that reach this score.
    pub share: f64,
    /// The odds, in words.
    pub odds: String,
    /// All findings of the strongest window, in words.
    pub reasons: Vec<String>,
    /// The start of the first window that was raised, in epoch seconds.
    pub first_s: u64,
    /// The start of the last one.
    pub last_s: u64,
    /// The length of a window, in seconds.
    pub window_s: u32,
    /// How many windows were raised.
    pub windows: u32,
    /// Ids of records, as examples.
    pub records: Vec<String>,
    /// The labels that operators gave, the latest last.
    pub labellings: Vec<Labelling>,
    /// How to undo the label's change of the entity's memory.
    pub(crate) undo: Option<Undo>,
    /// Grows with each write.
    pub version: u64,
}

/// How to undo a label's change of an entity's memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Undo {
    /// This detector is silent. A later window may have another one as its strongest.
    Silence(Detector),
    /// The past was forgotten.
    Past(Box<ForgottenPast>),
}

impl Signal {
    /// The signal of one window; `None` without evidence.
    pub(crate) fn of(
        kind: Kind,
        entity: &str,
        window: &Window,
        evidence: &Evidence,
        share: f64,
        at: WindowTime,
    ) -> Option<Self> {
        let strongest = evidence.strongest()?;
        let reason = |finding| Reason::new(finding, &window.counts, at);
        Some(Self {
            day: at.day(),
            kind,
            entity: entity.to_owned(),
            detector: strongest.detector,
            horizon: strongest.horizon,
            k: strongest.counted.k,
            n: strongest.counted.n,
            peers: strongest.peers,
            own: strongest.own,
            score: strongest.score,
            share,
            odds: reason(*strongest).odds(),
            reasons: evidence.findings.iter().map(|finding| reason(*finding).to_string()).collect(),
            first_s: at.start_s,
            last_s: at.start_s,
            window_s: at.length_s,
            windows: 1,
            records: window.records.clone(),
            labellings: Vec::new(),
            undo: None,
            version: 1,
        })
    }

    /// The current label.
    #[must_use]
    pub fn label(&self) -> Option<Label> {
        self.labellings.last().and_then(|latest| latest.label)
    }

    /// The last window that was raised.
    #[must_use]
    pub fn last_window(&self) -> WindowTime {
        WindowTime { start_s: self.last_s, length_s: self.window_s }
    }

    /// Takes in a later window: its reasons, if they are stronger.
    fn and(self, later: Self) -> Self {
        let (first_s, windows, version) = (self.first_s, self.windows + 1, self.version);
        let (labellings, undo) = (self.labellings.clone(), self.undo.clone());
        let (last_s, mut records) = (later.last_s, self.records.clone());
        records.extend(later.records.iter().filter(|id| !self.records.contains(id)).cloned());
        records.truncate(MAX_RECORDS);
        let strongest = if later.score > self.score { later } else { self };
        Self { first_s, last_s, windows, records, labellings, undo, version, ..strongest }
    }

    fn key(day: u32, kind: Kind, entity: &str) -> Item {
        let (pk, sk) = (text(format!("signal#{day}")), text(entity_key(kind, entity)));
        Item::from([("pk".to_owned(), pk), ("sk".to_owned(), sk)])
    }

    fn to_item(&self) -> Item {
        let mut item = Self::key(self.day, self.kind, &self.entity);
        let mut set = |name: &str, value: AttributeValue| drop(item.insert(name.to_owned(), value));
        // The attribute by which the pipe recognises a signal.
        set("kind", text("signal"));
        set("entity_kind", text(self.kind.name()));
        set("entity", text(&self.entity));
        set("day", number(self.day));
        set("detector", text(self.detector.name()));
        set("horizon", text(self.horizon.name()));
        set("k", number(self.k));
        set("n", number(self.n));
        set("peers", number(self.peers));
        set("score", number(self.score));
        set("share", number(self.share));
        set("odds", text(&self.odds));
        set("reasons", texts(&self.reasons));
        // The pipe accepts only strings.
        set("reason", text(self.reasons.join("; ")));
        set("first", number(self.first_s));
        set("last", number(self.last_s));
        set("window_s", number(self.window_s));
        set("windows", number(self.windows));
        set("records", texts(&self.records));
        set("record_ids", text(self.records.join(" ")));
        set("version", number(self.version));
        set("expiration", number(self.first_s + LIFE_S));
        if let Some(own) = self.own {
            set("own", number(own));
        }
        if !self.labellings.is_empty() {
            let written: Vec<String> = self.labellings.iter().map(Labelling::to_text).collect();
            set("labellings", texts(&written));
        }
        match &self.undo {
            Some(Undo::Silence(detector)) => set("silenced", text(detector.name())),
            Some(Undo::Past(forgotten)) => set("forgotten", bytes(forgotten.to_bytes())),
            None => {}
        }
        item
    }

    fn read(item: &Item) -> Option<Self> {
        Some(Self {
            day: read_number(item, "day")?,
            kind: Kind::named(read_text(item, "entity_kind")?)?,
            entity: read_text(item, "entity")?.to_owned(),
            detector: Detector::named(read_text(item, "detector")?)?,
            horizon: Horizon::named(read_text(item, "horizon")?)?,
            k: read_number(item, "k")?,
            n: read_number(item, "n")?,
            peers: read_number(item, "peers")?,
            own: read_number(item, "own"),
            score: read_number(item, "score")?,
            share: read_number(item, "share")?,
            odds: read_text(item, "odds")?.to_owned(),
            reasons: read_texts(item, "reasons"),
            first_s: read_number(item, "first")?,
            last_s: read_number(item, "last")?,
            window_s: read_number(item, "window_s")?,
            windows: read_number(item, "windows")?,
            records: read_texts(item, "records"),
            labellings: read_texts(item, "labellings").iter().filter_map(|text| Labelling::parse(text)).collect(),
            undo: Undo::read(item),
            version: read_number(item, "version")?,
        })
    }
}

impl Undo {
    fn read(item: &Item) -> Option<Self> {
        if let Some(name) = read_text(item, "silenced") {
            return Detector::named(name).map(Self::Silence);
        }
        // A past in another form is ignored.
        ForgottenPast::from_bytes(read_bytes(item, "forgotten")?).ok().map(Box::new).map(Self::Past)
    }
}

/// The most examples.
const MAX_RECORDS: usize = 8;

impl Signals {
    /// Raises an entity, or takes a later window into its signal of that day. Returns whether it is a new signal.
    /// Raising the same window again changes nothing.
    pub(crate) async fn raise(&self, raised: Signal) -> Result<bool, TableError> {
        for _ in 0..TRIES {
            let found = self.signal(raised.day, raised.kind, &raised.entity).await?;
            let (signal, read) = match found {
                None => (raised.clone(), None),
                Some(found) if found.last_s >= raised.last_s => return Ok(false),
                Some(found) => (found.clone().and(raised.clone()), Some(found.version)),
            };
            // If it was not written, our own earlier try or an operator's label has changed the signal; the next read
            // shows which.
            if self.put_signal(&Signal { version: read.unwrap_or(0) + 1, ..signal }, read).await? {
                return Ok(read.is_none());
            }
        }
        Err(TableError::Changed(format!("signal {}", raised.entity)))
    }

    /// Writes a signal, unless it has changed since it was read. Returns whether it was written.
    async fn put_signal(&self, signal: &Signal, read: Option<u64>) -> Result<bool, TableError> {
        let request = self.client.put_item().table_name(&self.name).set_item(Some(signal.to_item()));
        let request = match read {
            None => request.condition_expression("attribute_not_exists(pk)"),
            Some(version) => request
                .condition_expression("#version = :version")
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":version", number(version)),
        };
        match request.return_values_on_condition_check_failure(AllOld).send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A signal.
    ///
    /// # Errors
    /// If the table does not answer.
    pub async fn signal(&self, day: u32, kind: Kind, entity: &str) -> Result<Option<Signal>, TableError> {
        let request = self.client.get_item().table_name(&self.name).set_key(Some(Signal::key(day, kind, entity)));
        Ok(request.consistent_read(true).send().await?.item.as_ref().and_then(Signal::read))
    }

    /// The signals of a day, the strongest first.
    ///
    /// # Errors
    /// If the table does not answer.
    pub async fn signals(&self, day: u32) -> Result<Vec<Signal>, TableError> {
        let pages = self
            .client
            .query()
            .table_name(&self.name)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(format!("signal#{day}")))
            .into_paginator()
            .items()
            .send();
        let items: Vec<Item> = pages.try_collect().await?;
        let mut signals: Vec<_> = items.iter().filter_map(Signal::read).collect();
        signals.sort_by(|one, other| other.score.total_cmp(&one.score));
        Ok(signals)
    }

    /// A write that replaces a signal, for a transaction: it is refused if the signal was changed meanwhile.
    pub(super) fn replace_signal(&self, signal: &Signal, changed: &Signal) -> Result<TransactWriteItem, TableError> {
        let put = Put::builder()
            .table_name(&self.name)
            .set_item(Some(changed.to_item()))
            .condition_expression("#version = :version")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", number(signal.version))
            .return_values_on_condition_check_failure(AllOld)
            .build()?;
        Ok(TransactWriteItem::builder().put(put).build())
    }
}
