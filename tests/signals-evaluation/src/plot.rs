//! The plots of docs/signals.md, as SVG that reads on light and dark pages.

use std::fmt::Write as _;

use crate::figures::{Figures, caller_name};
use crate::scorer::ScorerName;
use crate::simulator::Family;

const WIDTH: f64 = 640.0;
/// Told apart without red and green, and readable on white and on black.
const COLOURS: [&str; 5] = ["#0a7ac2", "#e07b00", "#8a8a8a", "#b5459b", "#2a9d78"];

/// Precision over recall of several scorers.
pub(crate) fn curves(all: &[(ScorerName, Figures)]) -> String {
    let shown = [
        ScorerName::Model,
        ScorerName::LearnedRules,
        ScorerName::PublishedRules,
        ScorerName::ZScore,
        ScorerName::Forest,
    ];
    let (left, top, width, height) = (60.0, 20.0, 540.0, 300.0);
    let mut svg = begin("Precision over recall of the model and of others", 470.0);
    axes(&mut svg, (left, top, width, height));
    let drawn = shown.iter().filter_map(|name| all.iter().find(|(found, _)| found == name)).zip(COLOURS);
    for (place, ((name, figures), colour)) in drawn.enumerate() {
        let points: String = figures.curve.iter().fold(String::new(), |mut points, (recall, precision)| {
            let _ = write!(points, "{:.1},{:.1} ", left + width * recall, top + height * (1.0 - precision));
            points
        });
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.trim_end()
        );
        let (x, y) = (left, 380.0 + 20.0 * place as f64);
        let _ = writeln!(svg, "<rect x=\"{x}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>", y - 11.0);
        text(&mut svg, x + 18.0, y, "start", name.name().trim_matches('*'));
    }
    svg + "</svg>\n"
}

/// The recall of each family, beside that of the learned rules.
pub(crate) fn families(model: &Figures, rules: &Figures) -> String {
    let rows = Family::ALL.map(|family| (family.name(), vec![model.by_family[&family], rules.by_family[&family]]));
    bars(
        "Recall of each family at 20 false alerts per million windows",
        &rows,
        1.0,
        |value| format!("{value:.2}"),
        &["the model", "learned rules"],
    )
}

/// What was raised wrongly.
pub(crate) fn false_alerts(model: &Figures) -> String {
    let rows: Vec<_> =
        model.by_caller.iter().map(|(caller, number)| (caller_name(*caller), vec![*number as f64])).collect();
    let most = rows.iter().map(|(_, values)| values[0]).fold(1.0, f64::max);
    bars(
        "False alerts at 20 per million windows, by what the entity was",
        &rows,
        most,
        |value| format!("{value:.0}"),
        &["the model"],
    )
}

fn bars(title: &str, rows: &[(&str, Vec<f64>)], most: f64, label: impl Fn(f64) -> String, series: &[&str]) -> String {
    let (left, width, bar) = (180.0, 400.0, 14.0);
    let row_height = bar * series.len() as f64 + 10.0;
    let height = 50.0 + row_height * rows.len() as f64;
    let mut svg = begin(title, height);
    for (index, (name, values)) in rows.iter().enumerate() {
        let y = 14.0 + row_height * index as f64;
        text(&mut svg, left - 8.0, y + bar * 0.5 * series.len() as f64 + 4.0, "end", name);
        for (place, value) in values.iter().enumerate() {
            let (y, length) = (y + bar * place as f64, width * value / most);
            let colour = COLOURS[place];
            let _ = writeln!(
                svg,
                "<rect x=\"{left}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
                bar - 2.0
            );
            text(&mut svg, left + length + 6.0, y + 10.0, "start", &label(*value));
        }
    }
    for (place, name) in series.iter().enumerate() {
        let (x, y) = (left + 160.0 * place as f64, height - 12.0);
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{}\"/>",
            y - 11.0,
            COLOURS[place]
        );
        text(&mut svg, x + 18.0, y, "start", name);
    }
    svg + "</svg>\n"
}

fn begin(title: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">\n<title>{title}</title>\n\
         <style>text {{ fill: #222 }} line {{ stroke: #888 }} \
         @media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} }}</style>\n"
    )
}

fn axes(svg: &mut String, (left, top, width, height): (f64, f64, f64, f64)) {
    for tick in 0..=5 {
        let share = f64::from(tick) / 5.0;
        let (x, y) = (left + width * share, top + height * (1.0 - share));
        let _ =
            writeln!(svg, "<line x1=\"{left}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke-width=\"0.5\"/>", left + width);
        text(svg, left - 8.0, y + 4.0, "end", &format!("{share:.1}"));
        text(svg, x, top + height + 18.0, "middle", &format!("{share:.1}"));
    }
    text(svg, left + width, top + height + 36.0, "end", "recall");
    text(svg, left, top - 6.0, "end", "precision");
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
}
