//! Patterns with wildcards, of IAM and of log filters.

/// `*` is any text, `?` is one character.
pub(crate) fn is_like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut at, mut in_pattern) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(in_pattern) {
            Some('*') => {
                star = Some((in_pattern, at));
                in_pattern += 1;
            }
            Some(expected) if *expected == '?' || *expected == text[at] => {
                at += 1;
                in_pattern += 1;
            }
            // The last star takes one character more.
            _ => match &mut star {
                Some((star, taken)) => {
                    *taken += 1;
                    (at, in_pattern) = (*taken, *star + 1);
                }
                None => return false,
            },
        }
    }
    pattern[in_pattern..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_wildcards() {
        for (text, pattern) in [("", ""), ("", "*"), ("abc", "a*c"), ("abcbc", "a*bc"), ("abc", "a?c"), ("a", "a**")] {
            assert!(is_like(text, pattern), "{text} {pattern}");
        }
        for (text, pattern) in [("a", ""), ("abc", "a*b"), ("ac", "a?c"), ("A", "a"), ("lock:", "lock:?*")] {
            assert!(!is_like(text, pattern), "{text} {pattern}");
        }
    }
}
