//! Pages of a list (Stripe, "Pagination"): newest first, from an object on or up to one, never in both directions.

use crate::{error::ApiError, form::Form};

pub struct Page {
    limit: usize,
    place: Place,
}

/// Objects by their ids.
enum Place {
    Start,
    After(&'static str, String),
    Before(String),
}

impl Page {
    pub const PARAMETERS: [&'static str; 4] = ["limit", "starting_after", "ending_before", "expand"];

    pub fn of_list(form: &Form) -> Result<Self, ApiError> {
        let place = match (form.get("starting_after"), form.get("ending_before")) {
            (None, None) => Place::Start,
            (Some(id), None) => Place::After("starting_after", id.to_owned()),
            (None, Some(id)) => Place::Before(id.to_owned()),
            (Some(_), Some(_)) => {
                return Err(ApiError::invalid(
                    "Received both starting_after and ending_before parameters. Please pass in only one.",
                ));
            }
        };
        Ok(Self { limit: limit(form)?, place })
    }

    /// A search goes forward only, by the token of the page before ([`next`](Self::next)).
    pub fn of_search(form: &Form) -> Result<Self, ApiError> {
        let place = form.get("page").map_or(Place::Start, |id| Place::After("page", id.to_owned()));
        Ok(Self { limit: limit(form)?, place })
    }

    /// The part of a list, newest first, that is on the page, and whether there is more in its direction.
    pub fn take<T>(self, mut list: Vec<T>, kind: &str, id: impl Fn(&T) -> &str) -> Result<(Vec<T>, bool), ApiError> {
        let find = |wanted: &str, parameter: &str| {
            let position = list.iter().position(|object| id(object) == wanted);
            position.ok_or_else(|| ApiError::missing(kind, wanted).with_parameter(parameter))
        };
        let (from, to) = match &self.place {
            Place::Start => (0, list.len()),
            Place::After(parameter, object) => (find(object, parameter)? + 1, list.len()),
            Place::Before(object) => (0, find(object, "ending_before")?),
        };
        let more = to - from > self.limit;
        // Those next to the place.
        let (from, to) = match self.place {
            Place::Start | Place::After(..) => (from, to.min(from + self.limit)),
            Place::Before(_) => (to.saturating_sub(self.limit), to),
        };
        Ok((list.drain(from..to).collect(), more))
    }

    /// The token of the page after one that ends with this object.
    pub fn next(last: &str) -> String {
        last.to_owned()
    }
}

fn limit(form: &Form) -> Result<usize, ApiError> {
    match form.integer("limit")?.unwrap_or(10) {
        limit @ 1..=100 => Ok(usize::try_from(limit).unwrap_or(100)),
        other => Err(ApiError::invalid(&format!("The limit must be from 1 to 100 (it currently is '{other}')."))
            .with_code("parameter_invalid_integer")
            .with_parameter("limit")),
    }
}
