//! The recording of a demonstration: an SVG that plays by itself, wherever pictures are shown.

use std::{fmt::Write, time::Duration};

use super::Score;

const WIDTH: u32 = 760;
const HEIGHT: u32 = 300;

/// How long the end is shown before it begins again.
const PAUSE: Duration = Duration::from_secs(6);

/// How much faster than it was it is played.
const SPEED: u32 = 4;

#[derive(Debug)]
pub(super) struct Recording {
    orders: usize,
    frames: Vec<Frame>,
    /// When it ended, and the table.
    end: Option<(Duration, String)>,
}

#[derive(Debug, Clone, PartialEq)]
struct Frame {
    at: Duration,
    ours: Score,
    theirs: Score,
}

impl Recording {
    pub(super) fn new(orders: usize) -> Self {
        Self { orders, frames: Vec::new(), end: None }
    }

    pub(super) fn add(&mut self, at: Duration, ours: &Score, theirs: &Score) {
        self.frames.push(Frame { at, ours: ours.clone(), theirs: theirs.clone() });
    }

    pub(super) fn end(&mut self, at: Duration, table: &str) {
        self.end = Some((at, table.to_owned()));
    }

    /// Each frame is visible for its time; the last one is the table. Readers who want no motion see the table only.
    pub(super) fn to_svg(&self) -> String {
        let (end, table) = self.end.clone().unwrap_or_default();
        let total = end / SPEED + PAUSE;
        let share = |at: Duration| 100.0 * (at / SPEED).as_secs_f64() / total.as_secs_f64();
        let (mut style, mut groups) = (String::new(), String::new());
        for (index, frame) in self.frames.iter().enumerate() {
            let next = self.frames.get(index + 1).map_or(end, |next| next.at);
            let (from, to) = (share(frame.at), share(next));
            let _ = writeln!(
                style,
                "@keyframes f{index} {{ 0%, {from:.2}% {{ opacity: 0 }} {from:.2}%, {to:.2}% {{ opacity: 1 }} {to:.2}%, \
                 100% {{ opacity: 0 }} }} .f{index} {{ animation: f{index} {:.1}s steps(1, end) infinite }}",
                total.as_secs_f64()
            );
            let _ = writeln!(groups, "<g class=\"frame f{index}\">{}</g>", frame.to_svg(self.orders));
        }
        let _ = writeln!(
            style,
            "@keyframes last {{ 0%, {from:.2}% {{ opacity: 0 }} {from:.2}%, 100% {{ opacity: 1 }} }} \
             .last {{ animation: last {:.1}s steps(1, end) infinite }}",
            total.as_secs_f64(),
            from = share(end)
        );
        let words = "The same orders, killed, timed out and doubled, at this project and at a handler that stores its result \
                     after the work.";
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n<title>{words}</title>\n\
             <desc>{table}</desc>\n<style>\n{COMMON}{style}@media (prefers-reduced-motion: reduce) {{ .frame {{ display: none }} \
             .last {{ animation: none }} }}\n</style>\n<rect class=\"ground\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"10\"/>\n\
             <text class=\"head\" x=\"24\" y=\"36\">{} orders, killed, timed out and doubled</text>\n{groups}\
             <g class=\"last\">{}</g>\n</svg>\n",
            self.orders,
            text_lines(&table)
        )
    }
}

const COMMON: &str = "text { font: 15px ui-monospace, 'SF Mono', Menlo, Consolas, monospace; fill: #e7ebf0; white-space: pre }\n\
    .ground { fill: #12161c }\n.head { font-size: 17px; font-weight: 700 }\n.soft { fill: #a5b0bd }\n.good { fill: #8fdcaa }\n\
    .bad { fill: #ff9d94 }\n.rail { fill: #2a323d }\n.bar { fill: #8ab8f5 }\n.big { font-size: 30px; font-weight: 700 }\n";

impl Frame {
    fn to_svg(&self, orders: usize) -> String {
        let time = format!(
            "<text class=\"soft\" x=\"{}\" y=\"36\" text-anchor=\"end\">{} s</text>",
            WIDTH - 24,
            self.at.as_secs()
        );
        time + &side(80, "this project", &self.ours, orders)
            + &side(190, "result stored after the work", &self.theirs, orders)
    }
}

/// One of the two: its name, a bar of the answered orders, and its numbers.
fn side(top: u32, name: &str, score: &Score, orders: usize) -> String {
    const BAR: usize = 420;
    let color = if score.twice == 0 { "good" } else { "bad" };
    format!(
        "<text x=\"24\" y=\"{top}\">{name}</text>\
         <rect class=\"rail\" x=\"24\" y=\"{bar}\" width=\"{BAR}\" height=\"14\" rx=\"7\"/>\
         <rect class=\"bar\" x=\"24\" y=\"{bar}\" width=\"{done}\" height=\"14\" rx=\"7\"/>\
         <text class=\"soft\" x=\"24\" y=\"{below}\">{} answered, {} charges</text>\
         <text class=\"big {color}\" x=\"470\" y=\"{number}\">{}</text>\
         <text class=\"soft\" x=\"540\" y=\"{number}\">charged twice</text>",
        score.done,
        score.charges,
        score.twice,
        bar = top + 12,
        done = BAR * score.done / orders.max(1),
        below = top + 48,
        number = top + 30,
    )
}

fn text_lines(text: &str) -> String {
    let lines = text.lines().enumerate().map(|(index, line)| {
        let color = if line.starts_with("charged twice") { " class=\"bad\"" } else { "" };
        format!("<text{color} x=\"24\" y=\"{}\" xml:space=\"preserve\">{line}</text>", 80 + 28 * index)
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_shows_each_frame_in_its_time_and_the_table_at_the_end() {
        let mut recording = Recording::new(120);
        let score = |done, twice| Score { requests: 9, done, charges: done + twice, twice };
        recording.add(Duration::ZERO, &score(0, 0), &score(0, 0));
        recording.add(Duration::from_secs(8), &score(40, 0), &score(38, 5));
        recording.end(Duration::from_secs(16), "orders 120\ncharged twice 0 5\n");
        let svg = recording.to_svg();
        // Ten seconds in all: four of the run, and six of the end.
        assert!(svg.contains("@keyframes f1 { 0%, 20.00% { opacity: 0 } 20.00%, 40.00% { opacity: 1 }"), "{svg}");
        assert!(svg.contains("animation: last 10.0s"), "{svg}");
        assert!(svg.contains("class=\"big bad\"") && svg.contains(">5</text>"), "{svg}");
        assert!(svg.contains(">charged twice 0 5</text>"), "{svg}");
    }
}
