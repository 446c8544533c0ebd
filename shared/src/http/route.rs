//! Routes that the application adds, for requests for which API Gateway names none.

use http::Method;

/// A method and a path template, as API Gateway writes them: `POST /payments/{id}/refunds`.
///
/// `ANY` stands for every method, `{name}` for one path segment, and a final `{name+}` for one or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    text: String,
    /// `None` for every method.
    method: Option<Method>,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    One(String),
    Rest(String),
}

/// The text is not a valid [`Route`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a route such as POST /payments/{{id}}/refunds or ANY /files/{{path+}}")]
pub struct InvalidRoute(String);

impl Route {
    /// Parses a route.
    ///
    /// # Errors
    /// [`InvalidRoute`] if the text is not a method and a path template.
    pub fn new(text: &str) -> Result<Self, InvalidRoute> {
        let is_valid = |route: &Self| route.segments.iter().all(Segment::is_valid);
        Self::read(text).filter(is_valid).ok_or_else(|| InvalidRoute(text.to_owned()))
    }

    /// Reads a route without checking the characters of its path, which API Gateway has checked.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (method, path) = text.split_once(' ')?;
        let method = match method {
            "ANY" => None,
            method => Some(Method::from_bytes(method.as_bytes()).ok()?),
        };
        let segments: Vec<_> = path.strip_prefix('/')?.split('/').map(Segment::read).collect();
        let (_, before_last) = segments.split_last()?;
        let is_rest = |segment: &Segment| matches!(segment, Segment::Rest(_));
        (!before_last.iter().any(is_rest)).then(|| Self { text: text.to_owned(), method, segments })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    fn matches(&self, method: &Method, path: &str) -> bool {
        self.method.as_ref().is_none_or(|own| own == method) && self.parameters(path).is_some()
    }

    /// The parts of the path that the template leaves open, by name; `None` if it does not match.
    pub(super) fn parameters<'r>(&'r self, path: &'r str) -> Option<Vec<(&'r str, &'r str)>> {
        let mut parameters = Vec::new();
        let mut rest = Some(path.strip_prefix('/')?);
        for segment in &self.segments {
            let path = rest?;
            let (part, further) = path.split_once('/').map_or((path, None), |(part, further)| (part, Some(further)));
            match segment {
                Segment::Literal(literal) if literal == part => {}
                Segment::One(name) if !part.is_empty() => parameters.push((name.as_str(), part)),
                Segment::Rest(name) if !path.is_empty() => {
                    parameters.push((name.as_str(), path));
                    return Some(parameters);
                }
                Segment::Literal(_) | Segment::One(_) | Segment::Rest(_) => return None,
            }
            rest = further;
        }
        rest.is_none().then_some(parameters)
    }
}

impl Segment {
    fn read(text: &str) -> Self {
        let Some(name) = text.strip_prefix('{').and_then(|name| name.strip_suffix('}')) else {
            return Self::Literal(text.to_owned());
        };
        match name.strip_suffix('+') {
            Some(name) => Self::Rest(name.to_owned()),
            None => Self::One(name.to_owned()),
        }
    }

    fn is_valid(&self) -> bool {
        match self {
            Self::Literal(text) => text.chars().all(is_of_path),
            Self::One(name) | Self::Rest(name) => !name.is_empty() && name.chars().all(is_of_path),
        }
    }

    /// A segment that matches more has a higher number.
    const fn openness(&self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::One(_) => 1,
            Self::Rest(_) => 2,
        }
    }
}

fn is_of_path(character: char) -> bool {
    character.is_ascii_graphic() && !['{', '}', '?', '#', '+'].contains(&character)
}

/// The route of a request: the most specific match, compared from left to right, as in API Gateway.
pub(super) fn find<'r>(routes: &'r [Route], method: &Method, path: &str) -> Option<&'r Route> {
    let matching = routes.iter().filter(|route| route.matches(method, path));
    let openness = |route: &'r Route| route.segments.iter().map(Segment::openness);
    matching.min_by(|a, b| openness(a).cmp(openness(b)).then(a.method.is_none().cmp(&b.method.is_none())))
}

/// Whether the route key of API Gateway matches any number of paths, by a final `{name+}`.
pub(super) fn is_open(key: &str) -> bool {
    key.ends_with("+}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(routes: &[&str], method: &str, path: &str) -> Option<String> {
        let routes: Vec<_> = routes.iter().map(|text| Route::new(text).unwrap()).collect();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        find(&routes, &method, path).map(|route| route.as_str().to_owned())
    }

    #[test]
    fn a_route_matches_its_paths_and_no_other() {
        let matches = |route: &str, method: &str, path: &str| found(&[route], method, path).is_some();
        for (route, path) in [
            ("POST /", "/"),
            ("POST /a", "/a"),
            ("POST /a/", "/a/"),
            ("POST /a/{id}/b", "/a/1/b"),
            ("POST /{proxy+}", "/a"),
            ("POST /{proxy+}", "/a/b/"),
            ("ANY /a/{rest+}", "/a/b"),
        ] {
            assert!(matches(route, "POST", path), "{route} and {path}");
        }
        for (route, path) in [
            ("POST /", ""),
            ("POST /", "/a"),
            ("POST /a", "/a/"),
            ("POST /a", "/A"),
            ("POST /a/", "/a"),
            ("POST /a/{id}", "/a/"),
            ("POST /a/{id}", "/a/1/b"),
            ("POST /a/{id}/b", "/a/1"),
            ("POST /{proxy+}", "/"),
            ("POST /a/{rest+}", "/a"),
            ("PATCH /a", "/a"),
        ] {
            assert!(!matches(route, "POST", path), "{route} and {path}");
        }
    }

    #[test]
    fn parameters_are_the_parts_of_the_path_that_the_template_leaves_open() {
        let of = |template: &str, path: &str| {
            let route = Route::new(&format!("POST {template}")).unwrap();
            let parameters = route.parameters(path)?;
            Some(parameters.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
        };
        for (template, path, parameters) in [
            ("/payments/{id}/refunds", "/payments/pay_1/refunds", "id=pay_1"),
            ("/{kind}/{id}", "/a/b", "kind=a id=b"),
            ("/files/{path+}", "/files/a/b/", "path=a/b/"),
            ("/payments", "/payments", ""),
        ] {
            assert_eq!(of(template, path).as_deref(), Some(parameters), "{template} {path}");
        }
        for (template, path) in [
            ("/payments/{id}/refunds", "/v1/payments/pay_1/refunds"),
            ("/payments/{id}/refunds", "/payments//refunds"),
            ("/payments/{id}", "/payments"),
            ("/payments/{id}", "/payments/a/b"),
            ("/files/{path+}", "/files"),
            ("/files", "files"),
        ] {
            assert_eq!(of(template, path), None, "{template} {path}");
        }
        let of_api_gateway = Route::read("GET /c++/{id}").unwrap();
        assert_eq!(of_api_gateway.parameters("/c++/1"), Some(vec![("id", "1")]));
    }

    #[test]
    fn the_route_that_says_most_wins_in_whatever_order_they_are_named() {
        let mut routes = vec![
            "ANY /{proxy+}",
            "POST /{proxy+}",
            "POST /payments/{id}",
            "ANY /payments/latest",
            "POST /payments/latest",
            "POST /{kind}/latest",
        ];
        for _ in 0..2 {
            for (method, path, route) in [
                ("POST", "/payments/latest", "POST /payments/latest"),
                ("PATCH", "/payments/latest", "ANY /payments/latest"),
                ("POST", "/payments/17", "POST /payments/{id}"),
                ("POST", "/refunds/latest", "POST /{kind}/latest"),
                ("POST", "/a/b/c", "POST /{proxy+}"),
                ("PUT", "/a/b/c", "ANY /{proxy+}"),
            ] {
                assert_eq!(found(&routes, method, path).as_deref(), Some(route), "{method} {path}");
            }
            routes.reverse();
        }
    }

    #[test]
    fn what_is_no_route_is_refused_where_it_is_made() {
        for text in [
            "",
            "POST",
            "/a",
            "POST a",
            "POST  /a",
            "PO@ST /a",
            "POST /{}",
            "POST /{+}",
            "POST /{a",
            "POST /a}",
            "POST /x{a}",
            "POST /{a}x",
            "POST /{a+}/b",
            "POST /a?b",
            "POST /a b",
            "$default",
        ] {
            assert_eq!(Route::new(text), Err(InvalidRoute(text.into())), "{text}");
        }
    }
}
