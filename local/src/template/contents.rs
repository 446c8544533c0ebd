//! The contents of a template.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    resources::{DataStream, Function, GeneratedSecret, HttpApi, Pipe, Queue, Table},
    source::Source,
};

/// Resources by logical id.
#[derive(Debug, Default)]
pub struct Template {
    pub api: HttpApi,
    pub functions: BTreeMap<String, Function>,
    pub tables: BTreeMap<String, Table>,
    pub queues: BTreeMap<String, Queue>,
    pub data_streams: BTreeMap<String, DataStream>,
    pub pipes: BTreeMap<String, Pipe>,
    pub secrets: BTreeMap<String, GeneratedSecret>,
    /// The names of groups of schedules.
    pub schedule_groups: BTreeSet<String>,
    /// The value of each parameter that is a text.
    pub parameters: BTreeMap<String, String>,
    /// Warnings: declarations without effect here, and settings that silently lose messages.
    pub notes: Vec<String>,
    pub(super) source: Source,
}

impl Template {
    /// The table whose stream has this ARN.
    pub fn table_of_stream(&self, arn: &str) -> Option<&Table> {
        self.tables.values().find(|table| arn.contains(&format!(":table/{}/stream/", table.name)))
    }

    /// The Kinesis stream with this ARN.
    pub fn data_stream(&self, arn: &str) -> Option<&DataStream> {
        let name = arn.split_once(":kinesis:")?.1.rsplit('/').next()?;
        self.data_streams.values().find(|stream| stream.name == name)
    }

    /// The queue with this name or ARN, and its logical id.
    pub fn queue(&self, name_or_arn: &str) -> Option<(&String, &Queue)> {
        let name = name_or_arn.rsplit(':').next()?;
        self.queues.iter().find(|(_, queue)| queue.name == name)
    }
}
