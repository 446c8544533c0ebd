//! The place of a deployment.

use std::collections::BTreeMap;

/// The environment of a template: where it runs, and the values of its parameters.
#[derive(Debug, Clone)]
pub struct Deployment {
    pub region: String,
    pub account: String,
    /// `Ref` of a queue is its URL, and that names the server.
    pub queue_endpoint: String,
    /// Values that were chosen; each must be a parameter of the template.
    pub parameters: BTreeMap<String, String>,
    /// Values that the place of the deployment suggests for parameters, where the template declares them.
    pub defaults: BTreeMap<String, String>,
}

impl Default for Deployment {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
            queue_endpoint: "http://127.0.0.1".to_owned(),
            parameters: BTreeMap::new(),
            defaults: BTreeMap::new(),
        }
    }
}

impl Deployment {
    pub fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{resource}", self.region, self.account)
    }

    /// The ARN of the default event bus.
    pub fn default_event_bus(&self) -> String {
        self.arn("events", "event-bus/default")
    }

    pub fn queue_url(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.queue_endpoint, self.account)
    }
}
