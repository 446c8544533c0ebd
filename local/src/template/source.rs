//! The text of a template, in which the line of an error is found.

use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result};
use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

#[derive(Debug, Clone, Default)]
pub(crate) struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// What a relative `CodeUri` starts from.
    pub(super) fn folder(&self) -> PathBuf {
        self.path.parent().map(Path::to_path_buf).unwrap_or_default()
    }

    pub(super) fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read the template {}", path.display()))?;
        Ok(Self { path: path.to_owned(), text })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The error with the line that it is about. Errors say where they are from the outside inwards: `in resource F: in
    /// event E: in Queue: …`.
    pub(super) fn locate(&self, error: Error) -> Error {
        let names: Vec<String> = error.chain().filter_map(|cause| place(&cause.to_string())).collect();
        let path = self.path.display();
        match line(&self.text, &names) {
            Some(line) => error.context(format!("in the template {path}:{line}")),
            None => error.context(format!("in the template {path}")),
        }
    }
}

/// The name that an error says it is in.
fn place(error: &str) -> Option<String> {
    error.strip_prefix("in ")?.rsplit(' ').next().map(str::to_owned)
}

/// The line of the innermost of these names. Each is looked for below the one before it, and else in the whole
/// document: what a resource refers to may be anywhere.
fn line(text: &str, names: &[String]) -> Option<usize> {
    let documents = MarkedYaml::load_from_str(text).ok()?;
    let document = documents.first()?;
    let (_, resources) = find(document, "Resources").unwrap_or((0, document));
    let (mut node, mut line) = (resources, None);
    for name in names {
        if let Some((found, value)) = find(node, name).or_else(|| find(document, name)) {
            (node, line) = (value, Some(found));
        }
    }
    line
}

/// The line of the member with this name that is nearest to the node, and its value.
fn find<'n, 'y>(node: &'n MarkedYaml<'y>, name: &str) -> Option<(usize, &'n MarkedYaml<'y>)> {
    let mut level = vec![node];
    while !level.is_empty() {
        let members = level.iter().flat_map(|node| members(node));
        if let Some((key, value)) = members.into_iter().find(|(key, _)| is_named(key, name)) {
            return Some((key.span.start.line(), value));
        }
        level = level.into_iter().flat_map(children).collect();
    }
    None
}

fn members<'n, 'y>(node: &'n MarkedYaml<'y>) -> Vec<(&'n MarkedYaml<'y>, &'n MarkedYaml<'y>)> {
    match &node.data {
        YamlData::Mapping(entries) => entries.iter().collect(),
        YamlData::Tagged(_, inner) => members(inner),
        YamlData::Sequence(_)
        | YamlData::Value(_)
        | YamlData::Representation(..)
        | YamlData::Alias(_)
        | YamlData::BadValue => Vec::new(),
    }
}

fn children<'n, 'y>(node: &'n MarkedYaml<'y>) -> Vec<&'n MarkedYaml<'y>> {
    match &node.data {
        YamlData::Mapping(entries) => entries.values().collect(),
        YamlData::Sequence(items) => items.iter().collect(),
        YamlData::Tagged(_, inner) => vec![inner],
        YamlData::Value(_) | YamlData::Representation(..) | YamlData::Alias(_) | YamlData::BadValue => Vec::new(),
    }
}

fn is_named(key: &MarkedYaml<'_>, name: &str) -> bool {
    matches!(&key.data, YamlData::Value(Scalar::String(text)) if text == name)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    const TEXT: &str = "\
Outputs:
  Queue: { Value: 1 }
Resources:
  Queue:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: !Sub
        - ${Missing}
        - { Other: 1 }
  Function:
    Properties:
      Events:
        First:
          Properties:
            Queue: !GetAtt Queue.Colour
Conditions:
  IsLarge: !Equals [!Ref Size, large]
";

    fn located(places: &[&str]) -> String {
        let source = Source { path: "t.yaml".into(), text: TEXT.to_owned() };
        let error = places.iter().rev().fold(anyhow!("wrong"), |error, place| error.context(format!("in {place}")));
        format!("{:#}", source.locate(error))
    }

    #[test]
    fn an_error_names_the_line_of_the_innermost_place_that_it_is_in() {
        for (places, line) in [
            (["resource Queue"].as_slice(), ":4"),
            (&["resource Queue", "VisibilityTimeout"], ":7"),
            (&["resource Queue", "VisibilityTimeout", "Other"], ":9"),
            (&["resource Function", "event First", "Queue"], ":15"),
            (&["resource Function", "event First", "a place without a name"], ":13"),
            (&["resource Function", "condition IsLarge"], ":17"),
            (&[], ""),
        ] {
            let error = located(places);
            assert!(error.starts_with(&format!("in the template t.yaml{line}: ")), "{error}");
        }
    }
}
