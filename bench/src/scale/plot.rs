//! Plots as SVG: lines over two logarithmic axes, readable on a light and on a dark background.

use std::fmt::Write;

/// A plot.
#[derive(Clone, Debug)]
pub struct Plot {
    /// The title.
    pub title: String,
    /// The label of the horizontal axis.
    pub x: String,
    /// The label of the vertical axis.
    pub y: String,
    /// The lines.
    pub lines: Vec<Line>,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// The line's name in the legend.
    pub name: String,
    /// The number of its colour and dashes, which are the same in all plots of a page.
    pub stroke: usize,
    /// The points, with positive coordinates.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 44.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 100.0;

/// The colours and dashes, which are distinguishable without seeing red and green.
const STROKES: [(&str, &str); 6] = [
    ("#0072b2", "none"),
    ("#d55e00", "8 4"),
    ("#8a5a00", "2 3"),
    ("#cc79a7", "10 3 2 3"),
    ("#222222", "14 4"),
    ("#56309c", "4 2 1 2"),
];

impl Plot {
    /// The plot as SVG.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut svg = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut svg);
        svg
    }

    fn write(&self, svg: &mut String) -> std::fmt::Result {
        let (x, y) = (Axis::of(self.lines.iter().flat_map(|line| line.points.iter().map(|point| point.0))), {
            Axis::of(self.lines.iter().flat_map(|line| line.points.iter().map(|point| point.1)))
        });
        let across = |value: f64| LEFT + x.place(value) * (WIDTH - LEFT - RIGHT);
        let down = |value: f64| HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM);
        writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             font-family=\"sans-serif\" font-size=\"13\">\n<title>{}</title>\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"15\" font-weight=\"bold\" fill=\"#111\">{}</text>",
            escaped(&self.title),
            escaped(&self.title)
        )?;
        for value in x.decades() {
            let place = across(value);
            writeln!(
                svg,
                "<path d=\"M{place:.1} {TOP}V{:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{place:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#333\">{}</text>",
                HEIGHT - BOTTOM,
                HEIGHT - BOTTOM + 18.0,
                number(value)
            )?;
        }
        for value in y.decades() {
            let place = down(value);
            writeln!(
                svg,
                "<path d=\"M{LEFT} {place:.1}H{:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#333\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                place + 4.0,
                number(value)
            )?;
        }
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#111\">{}</text>\n\
             <text transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\" fill=\"#111\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - BOTTOM + 40.0,
            escaped(&self.x),
            (TOP + HEIGHT - BOTTOM) / 2.0,
            escaped(&self.y)
        )?;
        let (mut legend, mut row) = (LEFT, HEIGHT - 26.0);
        for line in &self.lines {
            let (colour, dash) = STROKES[line.stroke % STROKES.len()];
            let points: Vec<String> =
                line.points.iter().map(|point| format!("{:.1},{:.1}", across(point.0), down(point.1))).collect();
            let stroke = format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\" stroke-dasharray=\"{dash}\"");
            writeln!(svg, "<polyline points=\"{}\" {stroke}/>", points.join(" "))?;
            for point in &line.points {
                writeln!(
                    svg,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{colour}\"><title>{}: {}, {}</title></circle>",
                    across(point.0),
                    down(point.1),
                    escaped(&line.name),
                    number(point.0),
                    number(point.1)
                )?;
            }
            #[expect(clippy::cast_precision_loss, reason = "the length of a name")]
            let width = 34.0 + line.name.chars().count() as f64 * 7.4;
            if legend + width > WIDTH {
                (legend, row) = (LEFT, row + 18.0);
            }
            writeln!(
                svg,
                "<path d=\"M{legend} {row:.1}h28\" {stroke}/><text x=\"{:.1}\" y=\"{:.1}\" fill=\"#111\">{}</text>",
                legend + 34.0,
                row + 4.0,
                escaped(&line.name)
            )?;
            legend += width + 24.0;
        }
        svg.push_str("</svg>\n");
        Ok(())
    }
}

/// A logarithmic axis over whole decades.
struct Axis {
    from: f64,
    to: f64,
}

impl Axis {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let (mut from, mut to) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            (from, to) = (from.min(value.log10().floor()), to.max(value.log10().ceil()));
        }
        match from < to {
            true => Self { from, to },
            false if from.is_finite() => Self { from, to: from + 1.0 },
            false => Self { from: 0.0, to: 1.0 },
        }
    }

    fn place(&self, value: f64) -> f64 {
        (value.log10() - self.from) / (self.to - self.from)
    }

    fn decades(&self) -> Vec<f64> {
        let mut decades = Vec::new();
        let mut power = self.from;
        while power <= self.to {
            decades.push(10_f64.powf(power));
            power += 1.0;
        }
        decades
    }
}

fn number(value: f64) -> String {
    if value >= 1_000.0 {
        return super::table::whole(value);
    }
    let shown = format!("{value:.3}");
    shown.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_where_their_logarithms_are() {
        let line =
            Line { name: "a<b".to_owned(), stroke: 0, points: vec![(1.0, 1.0), (10.0, 100.0), (100.0, 10_000.0)] };
        let svg = Plot { title: "t".to_owned(), x: "x".to_owned(), y: "y".to_owned(), lines: vec![line] }.svg();
        let (left, middle, right) = (LEFT, (LEFT + WIDTH - RIGHT) / 2.0, WIDTH - RIGHT);
        let (bottom, centre, top) = (HEIGHT - BOTTOM, (TOP + HEIGHT - BOTTOM) / 2.0, TOP);
        let points = format!("{left:.1},{bottom:.1} {middle:.1},{centre:.1} {right:.1},{top:.1}");
        assert!(svg.contains(&format!("points=\"{points}\"")), "{svg}");
        assert!(svg.contains("a&lt;b") && !svg.contains("a<b"), "names are text");
    }
}
