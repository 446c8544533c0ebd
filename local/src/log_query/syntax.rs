//! The words of a query, and how they make expressions.

use anyhow::{Context, Result, bail, ensure};
use regex::Regex;

/// A word of a query.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A field, a function or a keyword.
    Name(String),
    Text(String),
    Number(f64),
    /// `/…/`.
    Pattern(String),
    /// `|`, parentheses, brackets, a comma, or an operator.
    Sign(String),
}

/// What a filter asks of a line.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    Both(Box<Condition>, Box<Condition>),
    Either(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    IsPresent(String),
    Compared(String, Comparison, Literal),
    OneOf(String, Vec<Literal>),
    Like(String, Regex),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Below,
    AtMost,
    Above,
    AtLeast,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Text(String),
    Number(f64),
}

/// The words of one command, read from the left.
#[derive(Debug)]
pub(super) struct Words {
    tokens: std::vec::IntoIter<Token>,
    next: Option<Token>,
    depth: u32,
}

/// How deep conditions may be nested.
const DEEPEST: u32 = 64;

/// The commands of a query, between its bars.
pub(super) fn commands(text: &str) -> Result<Vec<Words>> {
    let tokens = tokens(text)?;
    let bar = Token::Sign("|".to_owned());
    let commands = tokens.split(|token| *token == bar).filter(|command| !command.is_empty());
    Ok(commands.map(|command| Words::of(command.to_vec())).collect())
}

fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            // A comment goes to the end of its line.
            '#' => {
                rest = rest.split_once('\n').map_or("", |(_, after)| after).trim_start();
                continue;
            }
            '\'' | '"' => quoted(rest, first).map(|(text, length)| (Token::Text(text), length))?,
            '/' => quoted(rest, first).map(|(text, length)| (Token::Pattern(text), length))?,
            '`' => quoted(rest, first).map(|(text, length)| (Token::Name(text), length))?,
            '0'..='9' | '-' => number(rest)?,
            first if is_of_name(first) => {
                let length = rest.find(|each| !is_of_name(each)).unwrap_or(rest.len());
                (Token::Name(rest[..length].to_owned()), length)
            }
            _ => sign(rest)?,
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_@.".contains(character)
}

/// The text between two of these marks, and the length of both with the marks.
fn quoted(text: &str, mark: char) -> Result<(String, usize)> {
    let end = text[1..].find(mark).with_context(|| format!("{mark} is not closed: {text}"))?;
    Ok((text[1..=end].to_owned(), end + 2))
}

fn number(text: &str) -> Result<(Token, usize)> {
    let length = text[1..].find(|each: char| !each.is_ascii_digit() && each != '.').map_or(text.len(), |end| end + 1);
    let number = text[..length].parse().with_context(|| format!("{} is not a number", &text[..length]))?;
    Ok((Token::Number(number), length))
}

fn sign(text: &str) -> Result<(Token, usize)> {
    const SIGNS: [&str; 13] = ["!=", "<=", ">=", "=~", "=", "<", ">", "|", "(", ")", "[", "]", ","];
    let found = SIGNS.iter().chain(&["*"]).find(|sign| text.starts_with(**sign));
    let sign = found.with_context(|| format!("the local stack does not know what begins here: {text}"))?;
    Ok((Token::Sign((*sign).to_owned()), sign.len()))
}

impl Words {
    fn of(tokens: Vec<Token>) -> Self {
        let mut tokens = tokens.into_iter();
        let next = tokens.next();
        Self { tokens, next, depth: 0 }
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        std::mem::replace(&mut self.next, self.tokens.next())
    }

    pub(super) fn name(&mut self) -> Result<String> {
        match self.next() {
            Some(Token::Name(name)) => Ok(name),
            other => bail!("a name is expected, not {other:?}"),
        }
    }

    pub(super) fn number(&mut self) -> Result<f64> {
        match self.next() {
            Some(Token::Number(number)) => Ok(number),
            other => bail!("a number is expected, not {other:?}"),
        }
    }

    /// Whether the next word is this sign, which is taken then.
    pub(super) fn takes(&mut self, sign: &str) -> bool {
        let is_next = matches!(&self.next, Some(Token::Sign(next)) if next == sign);
        if is_next {
            self.next();
        }
        is_next
    }

    /// Whether the next word is this keyword, in whatever case, which is taken then.
    pub(super) fn takes_word(&mut self, word: &str) -> bool {
        let is_next = matches!(&self.next, Some(Token::Name(next)) if next.eq_ignore_ascii_case(word));
        if is_next {
            self.next();
        }
        is_next
    }

    pub(super) fn expect(&mut self, sign: &str) -> Result<()> {
        ensure!(self.takes(sign), "{sign} is expected, not {:?}", self.next);
        Ok(())
    }

    pub(super) fn expect_end(&mut self) -> Result<()> {
        match self.next() {
            None => Ok(()),
            Some(token) => bail!("nothing is expected here, not {token:?}"),
        }
    }

    /// `and` binds closer than `or`.
    pub(super) fn condition(&mut self) -> Result<Condition> {
        let mut condition = self.all()?;
        while self.takes_word("or") {
            condition = Condition::Either(Box::new(condition), Box::new(self.all()?));
        }
        Ok(condition)
    }

    fn all(&mut self) -> Result<Condition> {
        let mut condition = self.one()?;
        while self.takes_word("and") {
            condition = Condition::Both(Box::new(condition), Box::new(self.one()?));
        }
        Ok(condition)
    }

    fn one(&mut self) -> Result<Condition> {
        self.depth += 1;
        ensure!(self.depth <= DEEPEST, "conditions are nested deeper than {DEEPEST}");
        let condition = self.one_within()?;
        self.depth -= 1;
        Ok(condition)
    }

    fn one_within(&mut self) -> Result<Condition> {
        if self.takes_word("not") {
            return Ok(Condition::Not(Box::new(self.one()?)));
        }
        if self.takes("(") {
            let condition = self.condition()?;
            self.expect(")")?;
            return Ok(condition);
        }
        let name = self.name()?;
        if self.takes("(") {
            ensure!(name.eq_ignore_ascii_case("ispresent"), "the local stack does not know the function {name}");
            let field = self.name()?;
            self.expect(")")?;
            return Ok(Condition::IsPresent(field));
        }
        self.about(name)
    }

    /// What is asked of a field.
    fn about(&mut self, field: String) -> Result<Condition> {
        if self.takes_word("not") {
            ensure!(!self.takes_word("not"), "`not` is expected once after {field}");
            return Ok(Condition::Not(Box::new(self.about(field)?)));
        }
        if self.takes_word("in") {
            return Ok(Condition::OneOf(field, self.list()?));
        }
        if self.takes_word("like") || self.takes("=~") {
            return Ok(Condition::Like(field, self.pattern()?));
        }
        let comparison = match self.next() {
            Some(Token::Sign(sign)) => match sign.as_str() {
                "=" => Comparison::Equal,
                "!=" => Comparison::NotEqual,
                "<" => Comparison::Below,
                "<=" => Comparison::AtMost,
                ">" => Comparison::Above,
                ">=" => Comparison::AtLeast,
                sign => bail!("{sign} does not compare"),
            },
            other => bail!("a comparison is expected after {field}, not {other:?}"),
        };
        Ok(Condition::Compared(field, comparison, self.literal()?))
    }

    fn list(&mut self) -> Result<Vec<Literal>> {
        self.expect("[")?;
        let mut list = vec![self.literal()?];
        while self.takes(",") {
            list.push(self.literal()?);
        }
        self.expect("]")?;
        Ok(list)
    }

    fn literal(&mut self) -> Result<Literal> {
        match self.next() {
            Some(Token::Text(text)) => Ok(Literal::Text(text)),
            Some(Token::Number(number)) => Ok(Literal::Number(number)),
            other => bail!("a text or a number is expected, not {other:?}"),
        }
    }

    fn pattern(&mut self) -> Result<Regex> {
        match self.next() {
            Some(Token::Text(text)) => Ok(Regex::new(&regex::escape(&text))?),
            Some(Token::Pattern(pattern)) => Regex::new(&pattern).context("not a regular expression"),
            other => bail!("a text or a /pattern/ is expected, not {other:?}"),
        }
    }
}
