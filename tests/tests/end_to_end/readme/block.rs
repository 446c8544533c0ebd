//! The fenced blocks of a Markdown page.

/// A fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// The word after the fence.
    pub(super) language: String,
    pub(super) text: String,
    /// The lines of its fences, counted from 0.
    pub(super) line: usize,
    pub(super) end: usize,
}

/// The blocks of a page, in their order.
pub(super) fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (line, text) in page.lines().enumerate() {
        match (open.take(), text.strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block { language: language.to_owned(), text: String::new(), line, end: line });
            }
            (Some(block), Some("")) => blocks.push(Block { end: line, ..block }),
            (Some(mut block), _) => {
                block.text += text;
                block.text += "\n";
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    blocks
}

/// Whether a text is as expected. In the expectation `…` stands for anything on the line; alone on its line, for lines.
pub(super) fn matches(expected: &str, text: &str) -> bool {
    let (expected, text): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), text.lines().collect());
    lines_match(&expected, &text)
}

fn lines_match(expected: &[&str], text: &[&str]) -> bool {
    match (expected, text) {
        ([], []) => true,
        (["…", rest @ ..], _) => (0..=text.len()).any(|skipped| lines_match(rest, &text[skipped..])),
        ([first, rest @ ..], [line, more @ ..]) => line_matches(first, line) && lines_match(rest, more),
        ([], _) | (_, []) => false,
    }
}

fn line_matches(expected: &str, line: &str) -> bool {
    match expected.split_once('…') {
        None => expected == line,
        Some((start, rest)) => line.strip_prefix(start).is_some_and(|line| {
            line.char_indices().map(|(at, _)| at).chain([line.len()]).any(|at| line_matches(rest, &line[at..]))
        }),
    }
}

#[test]
fn a_text_matches_what_it_looks_like_and_nothing_else() {
    for (expected, text, is_like) in [
        ("a\n201", "a\n201", true),
        ("a\n201", "a\n500", false),
        ("a\n201", "a\n201\nb", false),
        ("{\"id\":\"…\",\"n\":1}", "{\"id\":\"pay_1\",\"n\":1}", true),
        ("{\"id\":\"…\",\"n\":1}", "{\"id\":\"pay_1\",\"n\":2}", false),
        ("…\nlast", "one\ntwo\nlast", true),
        ("…\nlast", "one\nlast\ntwo", false),
        ("…", "", true),
    ] {
        assert_eq!(matches(expected, text), is_like, "{expected:?} {text:?}");
    }
}
