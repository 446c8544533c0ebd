//! Metric math (AWS, "Using math expressions with CloudWatch metrics"), for one period: what alarms use of it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Number(f64),
    /// The id of another line of the alarm.
    Metric(String),
    Binary(Box<Expression>, Operator, Box<Expression>),
    /// The value, or this one if there is none.
    Fill(Box<Expression>, f64),
    /// The sum of those that there are.
    Sum(Vec<Expression>),
    If(Box<Expression>, Box<Expression>, Box<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Equal,
    NotEqual,
}

impl Expression {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut parser = Parser { rest: text };
        let expression = parser.comparison().with_context(|| format!("in the expression {text}"))?;
        ensure!(parser.rest.trim().is_empty(), "in the expression {text}: {} is not understood", parser.rest.trim());
        Ok(expression)
    }

    /// `None`: there is no value.
    pub(super) fn value(&self, metrics: &BTreeMap<String, Option<f64>>) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Metric(id) => metrics.get(id).copied().flatten(),
            Self::Binary(left, operator, right) => operator.apply(left.value(metrics)?, right.value(metrics)?),
            Self::Fill(value, default) => Some(value.value(metrics).unwrap_or(*default)),
            Self::Sum(values) => {
                let values: Vec<f64> = values.iter().filter_map(|value| value.value(metrics)).collect();
                (!values.is_empty()).then(|| values.iter().sum())
            }
            Self::If(condition, then, otherwise) => {
                if condition.value(metrics)? == 0.0 {
                    otherwise.value(metrics)
                } else {
                    then.value(metrics)
                }
            }
        }
    }
}

impl Operator {
    /// In the order in which they are looked for: `>=` before `>`.
    const COMPARISONS: [(&'static str, Self); 6] = [
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("==", Self::Equal),
        ("!=", Self::NotEqual),
        ("<", Self::Less),
        (">", Self::Greater),
    ];
    const SUMS: [(&'static str, Self); 2] = [("+", Self::Add), ("-", Self::Subtract)];
    const PRODUCTS: [(&'static str, Self); 2] = [("*", Self::Multiply), ("/", Self::Divide)];

    /// A division by zero has no value.
    fn apply(self, left: f64, right: f64) -> Option<f64> {
        let truth = |holds| Some(if holds { 1.0 } else { 0.0 });
        match self {
            Self::Add => Some(left + right),
            Self::Subtract => Some(left - right),
            Self::Multiply => Some(left * right),
            Self::Divide => (right != 0.0).then(|| left / right),
            Self::Less => truth(left < right),
            Self::AtMost => truth(left <= right),
            Self::Greater => truth(left > right),
            Self::AtLeast => truth(left >= right),
            Self::Equal => truth(left == right),
            Self::NotEqual => truth(left != right),
        }
    }
}

struct Parser<'t> {
    rest: &'t str,
}

type Level<'t> = fn(&mut Parser<'t>) -> Result<Expression>;

impl<'t> Parser<'t> {
    fn comparison(&mut self) -> Result<Expression> {
        self.level(&Operator::COMPARISONS, Self::sum)
    }

    fn sum(&mut self) -> Result<Expression> {
        self.level(&Operator::SUMS, Self::product)
    }

    fn product(&mut self) -> Result<Expression> {
        self.level(&Operator::PRODUCTS, Self::operand)
    }

    fn level(&mut self, operators: &[(&str, Operator)], next: Level<'t>) -> Result<Expression> {
        let mut left = next(self)?;
        while let Some((_, operator)) = operators.iter().find(|(sign, _)| self.takes(sign)) {
            left = Expression::Binary(Box::new(left), *operator, Box::new(next(self)?));
        }
        Ok(left)
    }

    fn operand(&mut self) -> Result<Expression> {
        if self.takes("(") {
            let inner = self.comparison()?;
            self.expect(")")?;
            return Ok(inner);
        }
        let word = self.word();
        if let Ok(number) = word.parse() {
            return Ok(Expression::Number(number));
        }
        match word {
            "" => bail!("a value is missing before `{}`", self.rest.trim()),
            id if !self.takes("(") => Ok(Expression::Metric(id.to_owned())),
            function => self.call(function),
        }
    }

    fn call(&mut self, function: &str) -> Result<Expression> {
        let call = match function {
            "FILL" => {
                let value = Box::new(self.comparison()?);
                self.expect(",")?;
                let default = self.word().parse().context("FILL needs a number")?;
                Expression::Fill(value, default)
            }
            "SUM" => {
                self.expect("[")?;
                let mut values = vec![self.comparison()?];
                while self.takes(",") {
                    values.push(self.comparison()?);
                }
                self.expect("]")?;
                Expression::Sum(values)
            }
            "IF" => {
                let condition = Box::new(self.comparison()?);
                self.expect(",")?;
                let then = Box::new(self.comparison()?);
                self.expect(",")?;
                Expression::If(condition, then, Box::new(self.comparison()?))
            }
            other => bail!("the local stack does not know the function {other}"),
        };
        self.expect(")")?;
        Ok(call)
    }

    fn takes(&mut self, sign: &str) -> bool {
        match self.rest.trim_start().strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, sign: &str) -> Result<()> {
        ensure!(self.takes(sign), "expected `{sign}` before `{}`", self.rest.trim());
        Ok(())
    }

    /// A number or a name; empty, if there is none.
    fn word(&mut self) -> &'t str {
        let rest = self.rest.trim_start();
        let end = rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.')));
        let (word, rest) = rest.split_at(end.unwrap_or(rest.len()));
        self.rest = rest;
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, metrics: &[(&str, f64)]) -> Option<f64> {
        let metrics = metrics.iter().map(|(id, value)| ((*id).to_owned(), Some(*value))).collect();
        Expression::parse(text).expect(text).value(&metrics)
    }

    #[test]
    fn expressions_are_computed_as_cloudwatch_does() {
        let share = "IF(FILL(errors, 0) >= 5, 100 * errors / requests, 0)";
        assert_eq!(value(share, &[]), Some(0.0));
        assert_eq!(value(share, &[("errors", 4.0), ("requests", 4.0)]), Some(0.0));
        assert_eq!(value(share, &[("errors", 5.0), ("requests", 10.0)]), Some(50.0));
        assert_eq!(value("SUM([FILL(a, 0), FILL(b, 0)])", &[("b", 2.0)]), Some(2.0));
        assert_eq!(value("SUM([a, b])", &[]), None);
        assert_eq!(value("1 + 2 * 3 - (4 - 1) / 3", &[]), Some(6.0));
        assert_eq!(value("a / 0", &[("a", 1.0)]), None);
        assert_eq!(value("a + b", &[("a", 1.0)]), None);
    }

    #[test]
    fn what_is_not_understood_is_an_error_that_says_where() {
        for (text, expected) in [
            ("RATE(a)", "RATE"),
            ("a +", "missing"),
            ("(a", "expected `)`"),
            ("a b", "b is not"),
            ("FILL(a, x)", "number"),
        ] {
            let error = format!("{:#}", Expression::parse(text).expect_err(text));
            assert!(error.contains(expected), "{error}");
        }
    }
}
