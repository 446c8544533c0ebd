//! A template that can be changed before it is used: tests change what is not a parameter.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::yaml::{self, members};

/// A template as plain data: short intrinsics (`!Ref X`) are in their long form (`{"Ref": "X"}`).
#[derive(Debug, Clone)]
pub struct Document(Value);

impl Document {
    /// Reads a template. Each relative `CodeUri` becomes absolute, so that the document can be written anywhere.
    pub fn load(path: &Path) -> Result<Self> {
        let context = || format!("cannot read the template {}", path.display());
        let text = std::fs::read_to_string(path).with_context(context)?;
        let folder = path.canonicalize()?.parent().map(Path::to_path_buf).unwrap_or_default();
        let mut document = yaml::parse(&text).with_context(context)?;
        absolute(&mut document["Globals"]["Function"], &folder);
        let resources = document["Resources"].as_object_mut().into_iter().flatten();
        resources.for_each(|(_, resource)| absolute(&mut resource["Properties"], &folder));
        Ok(Self(document))
    }

    #[cfg(test)]
    pub(super) fn value(&self) -> &Value {
        &self.0
    }

    /// Sets the member or item that a JSON pointer names. The value that contains it must exist.
    pub fn set(&mut self, pointer: &str, value: Value) -> Result<()> {
        let (parent, name) = pointer.rsplit_once('/').context("a JSON pointer begins with /")?;
        let parent = self.0.pointer_mut(parent).with_context(|| format!("the template has no {parent}"))?;
        match parent {
            Value::Array(items) => {
                let item = name.parse().ok().and_then(|index: usize| items.get_mut(index));
                *item.with_context(|| format!("the template has no {pointer}"))? = value;
            }
            Value::Object(members) => drop(members.insert(name.replace("~1", "/").replace("~0", "~"), value)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                anyhow::bail!("{pointer}: what contains it is no object")
            }
        }
        Ok(())
    }

    /// The statement of a role with this `Sid`.
    pub fn statement(&mut self, role: &str, sid: &str) -> Result<&mut Value> {
        let policies = self.0.pointer_mut(&format!("/Resources/{role}/Properties/Policies"));
        let policies = policies.and_then(Value::as_array_mut).with_context(|| format!("{role} has no policies"))?;
        let mut statements = policies.iter_mut().flat_map(|policy| {
            policy.pointer_mut("/PolicyDocument/Statement").and_then(Value::as_array_mut).into_iter().flatten()
        });
        statements.find(|statement| statement["Sid"] == sid).with_context(|| format!("{role} has no statement {sid}"))
    }

    /// Writes it as JSON, which is YAML as well.
    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.0.to_string()).with_context(|| format!("cannot write {}", path.display()))
    }
}

fn absolute(properties: &mut Value, folder: &Path) {
    if members(properties).any(|(name, _)| name == "CodeUri")
        && let Some(code) = properties["CodeUri"].as_str()
    {
        properties["CodeUri"] = json!(folder.join(code));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{Deployment, Template};

    #[test]
    fn a_changed_application_is_written_and_read_again() -> Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let defaults = [("Stage", "development"), ("JwtIssuer", "http://issuer")];
        let defaults = defaults.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let deployment = Deployment { defaults, ..Deployment::default() };
        let mut document = Document::load(&folder.join("template.yaml"))?;
        document.set("/Resources/LedgerQueue/Properties/FifoQueue", json!(true))?;
        document.set("/Resources/LedgerDeadLetters/Properties/FifoQueue", json!(true))?;
        document.statement("ReconcilerRole", "Abandoned")?["Effect"] = json!("Deny");
        let file = tempfile::NamedTempFile::new()?;
        document.write(file.path())?;

        let changed = Template::load(file.path(), &deployment)?;
        let (original, queue) =
            (Template::load(&folder.join("template.yaml"), &deployment)?, &changed.queues["LedgerQueue"]);
        assert!(queue.fifo && !original.queues["LedgerQueue"].fifo);
        assert_eq!(changed.functions["PaymentsApi"].code, original.functions["PaymentsApi"].code.canonicalize()?);
        assert_eq!(changed.functions["PaymentsApi"].environment, original.functions["PaymentsApi"].environment);
        let scan = |template: &Template| format!("{:?}", template.functions["Reconciler"].role);
        assert_ne!(scan(&changed), scan(&original));
        Ok(())
    }

    #[test]
    fn a_place_that_the_template_does_not_have_is_an_error() -> Result<()> {
        let mut document = Document(json!({ "Resources": { "A": { "Properties": { "List": [1] } } } }));
        document.set("/Resources/A/Properties/List/0", json!(2))?;
        for pointer in ["/Resources/B/Properties", "/Resources/A/Properties/List/1", "Resources"] {
            assert!(document.set(pointer, json!(1)).is_err(), "{pointer}");
        }
        assert!(document.statement("A", "Sid").is_err());
        assert_eq!(document.0, json!({ "Resources": { "A": { "Properties": { "List": [2] } } } }));
        Ok(())
    }
}
