//! Which route serves a request (AWS, "Create routes for HTTP APIs": the most specific match wins).

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use axum::http::Method;
use percent_encoding::percent_decode_str;

use crate::template::Route;

pub(super) struct Routes(Vec<Compiled>);

struct Compiled {
    route: Route,
    segments: Vec<Segment>,
}

/// In order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Exact(String),
    Parameter(String),
    Greedy(String),
}

pub(super) struct Found<'r> {
    pub(super) route: &'r Route,
    pub(super) parameters: BTreeMap<String, String>,
}

impl Found<'_> {
    /// `POST /payments`, `ANY /payments`, `$default`.
    pub(super) fn key(&self) -> String {
        if self.route.path == "$default" {
            "$default".to_owned()
        } else {
            format!("{} {}", self.route.method, self.route.path)
        }
    }
}

impl Routes {
    pub(super) fn new(routes: &[Route]) -> Result<Self> {
        let mut compiled = Vec::new();
        for route in routes {
            ensure!(
                route.path == "$default" || route.path.starts_with('/'),
                "function {}: the path {} must begin with /",
                route.function,
                route.path
            );
            let segments = if route.path == "$default" {
                vec![Segment::Greedy(String::new())]
            } else {
                split(&route.path).map(segment).collect()
            };
            compiled.push(Compiled { route: route.clone(), segments });
        }
        // The whole path counts before the method: `GET /a/{b}` loses to `ANY /a/b`. `$default` comes last of all.
        compiled.sort_by_key(|compiled| {
            (compiled.route.path == "$default", rank(&compiled.segments), compiled.route.method == "ANY")
        });
        Ok(Self(compiled))
    }

    pub(super) fn find(&self, method: &Method, path: &str) -> Option<Found<'_>> {
        self.0
            .iter()
            .filter(|compiled| compiled.route.method == "ANY" || compiled.route.method == method.as_str())
            .find_map(|compiled| Some(Found { route: &compiled.route, parameters: compiled.parameters(path)? }))
    }
}

impl Compiled {
    fn parameters(&self, path: &str) -> Option<BTreeMap<String, String>> {
        let mut parameters = BTreeMap::new();
        let actual: Vec<&str> = split(path).collect();
        for (index, segment) in self.segments.iter().enumerate() {
            match segment {
                Segment::Exact(expected) => {
                    if decode(actual.get(index)?) != *expected {
                        return None;
                    }
                }
                Segment::Parameter(name) => {
                    drop(parameters.insert(name.clone(), decode(actual.get(index).filter(|text| !text.is_empty())?)))
                }
                Segment::Greedy(name) if name.is_empty() => return Some(parameters),
                Segment::Greedy(name) => {
                    let rest = actual.get(index..).filter(|rest| !rest.is_empty())?;
                    parameters.insert(name.clone(), decode(&rest.join("/")));
                    return Some(parameters);
                }
            }
        }
        (actual.len() == self.segments.len()).then_some(parameters)
    }
}

fn split(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

fn segment(text: &str) -> Segment {
    match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        Some(name) => match name.strip_suffix('+') {
            Some(name) => Segment::Greedy(name.to_owned()),
            None => Segment::Parameter(name.to_owned()),
        },
        None => Segment::Exact(text.to_owned()),
    }
}

fn rank(segments: &[Segment]) -> Vec<u8> {
    segments
        .iter()
        .map(|segment| match segment {
            Segment::Exact(_) => 0,
            Segment::Parameter(_) => 1,
            Segment::Greedy(_) => 2,
        })
        .collect()
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Authorization;

    #[test]
    fn the_most_specific_route_wins() {
        let route = |method: &str, path: &str| Route {
            function: "F".to_owned(),
            event: "E".to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            authorization: Authorization::None,
        };
        let routes = Routes::new(&[
            route("ANY", "$default"),
            route("GET", "/pets/{proxy+}"),
            route("GET", "/pets/{id}"),
            route("GET", "/pets/dog"),
            route("POST", "/pets/{id}/toys"),
        ])
        .expect("routes");
        let cases = [
            ("GET", "/pets/dog", "GET /pets/dog", vec![]),
            ("GET", "/pets/c%20t", "GET /pets/{id}", vec![("id", "c t")]),
            ("GET", "/pets/cat/name", "GET /pets/{proxy+}", vec![("proxy", "cat/name")]),
            ("POST", "/pets/cat/toys", "POST /pets/{id}/toys", vec![("id", "cat")]),
            ("POST", "/pets/cat", "$default", vec![]),
            ("GET", "/", "$default", vec![]),
        ];
        for (method, path, key, parameters) in cases {
            let found = routes.find(&Method::from_bytes(method.as_bytes()).expect("a method"), path).expect(path);
            assert_eq!(found.key(), key, "{method} {path}");
            assert_eq!(
                found.parameters,
                parameters.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
                "{path}"
            );
        }
        let strict = Routes::new(&[route("GET", "/pets")]).expect("routes");
        assert!(strict.find(&Method::POST, "/pets").is_none());
        assert!(strict.find(&Method::GET, "/pets/").is_none());
    }
}
