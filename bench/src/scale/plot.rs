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
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let area = Area { x: Axis::of(points().map(|point| point.0)), y: Axis::of(points().map(|point| point.1)) };
        self.write_title(svg)?;
        area.write_grid(svg)?;
        self.write_names_of_axes(svg)?;
        let mut legend = Legend { x: LEFT, y: HEIGHT - 26.0 };
        for line in &self.lines {
            line.write(svg, &area)?;
            legend.write(svg, line)?;
        }
        svg.push_str("</svg>\n");
        Ok(())
    }

    fn write_title(&self, svg: &mut String) -> std::fmt::Result {
        writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             font-family=\"sans-serif\" font-size=\"13\">\n<title>{}</title>\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"15\" font-weight=\"bold\" fill=\"#111\">{}</text>",
            escaped(&self.title),
            escaped(&self.title)
        )
    }

    fn write_names_of_axes(&self, svg: &mut String) -> std::fmt::Result {
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#111\">{}</text>\n\
             <text transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\" fill=\"#111\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - BOTTOM + 40.0,
            escaped(&self.x),
            (TOP + HEIGHT - BOTTOM) / 2.0,
            escaped(&self.y)
        )
    }
}

/// The part of a plot in which the lines are.
struct Area {
    x: Axis,
    y: Axis,
}

impl Area {
    fn across(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn down(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn write_grid(&self, svg: &mut String) -> std::fmt::Result {
        for value in self.x.decades() {
            let place = self.across(value);
            writeln!(
                svg,
                "<path d=\"M{place:.1} {TOP}V{:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{place:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#333\">{}</text>",
                HEIGHT - BOTTOM,
                HEIGHT - BOTTOM + 18.0,
                number(value)
            )?;
        }
        for value in self.y.decades() {
            let place = self.down(value);
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
        Ok(())
    }
}

impl Line {
    fn colour(&self) -> &'static str {
        STROKES[self.stroke % STROKES.len()].0
    }

    fn style(&self) -> String {
        let (colour, dash) = STROKES[self.stroke % STROKES.len()];
        format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\" stroke-dasharray=\"{dash}\"")
    }

    fn write(&self, svg: &mut String, area: &Area) -> std::fmt::Result {
        let place = |point: &(f64, f64)| (area.across(point.0), area.down(point.1));
        let points = self.points.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1}"));
        writeln!(svg, "<polyline points=\"{}\" {}/>", points.collect::<Vec<_>>().join(" "), self.style())?;
        for point in &self.points {
            let (x, y) = place(point);
            writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{}\"><title>{}: {}, {}</title></circle>",
                self.colour(),
                escaped(&self.name),
                number(point.0),
                number(point.1)
            )?;
        }
        Ok(())
    }
}

/// The names of the lines, from left to right; this is the place of the next one.
struct Legend {
    x: f64,
    y: f64,
}

impl Legend {
    fn write(&mut self, svg: &mut String, line: &Line) -> std::fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "the length of a name")]
        let width = 34.0 + line.name.chars().count() as f64 * 7.4;
        if self.x + width > WIDTH {
            (self.x, self.y) = (LEFT, self.y + 18.0);
        }
        writeln!(
            svg,
            "<path d=\"M{} {:.1}h28\" {}/><text x=\"{:.1}\" y=\"{:.1}\" fill=\"#111\">{}</text>",
            self.x,
            self.y,
            line.style(),
            self.x + 34.0,
            self.y + 4.0,
            escaped(&line.name)
        )?;
        self.x += width + 24.0;
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
