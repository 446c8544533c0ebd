//! What a template contains.

use std::collections::BTreeMap;

use super::resources::{Function, HttpApi, Pipe, Queue, Table};

/// Resources by logical id.
#[derive(Debug, Default)]
pub struct Template {
    pub api: HttpApi,
    pub functions: BTreeMap<String, Function>,
    pub tables: BTreeMap<String, Table>,
    pub queues: BTreeMap<String, Queue>,
    pub pipes: BTreeMap<String, Pipe>,
    /// What the template declares and the local stack has no part in, and by what it loses messages in silence.
    pub notes: Vec<String>,
}

impl Template {
    /// The queue with this name or ARN, and its logical id.
    pub fn queue(&self, name_or_arn: &str) -> Option<(&String, &Queue)> {
        let name = name_or_arn.rsplit(':').next()?;
        self.queues.iter().find(|(_, queue)| queue.name == name)
    }
}
