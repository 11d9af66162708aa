//! The figures as a picture.

use std::fmt::Write as _;
use std::time::Duration;

use super::table::Findings;
use super::{Cost, Times};

/// Colours that can be told apart on light and on dark ground, and by who does not see red and green.
const STYLE: &str = "<style>\
text{fill:#333;font:12px sans-serif}.title{font-weight:bold;font-size:13px}.grid{stroke:#888;stroke-opacity:.3}\
.axis{stroke:#888;fill:none}.ours{stroke:#1769aa;fill:#1769aa}.theirs{stroke:#c2570c;fill:#c2570c}\
.line{fill:none;stroke-width:2}.dashed{stroke-dasharray:6 4}.hollow{fill:none;stroke-width:1.5}text.ours,text.theirs{stroke:none}\
@media (prefers-color-scheme:dark){text{fill:#ddd}.ours{stroke:#6cb6ff}.theirs{stroke:#ffa657}\
text.ours,circle.ours{fill:#6cb6ff}text.theirs{fill:#ffa657}.hollow{fill:none}}</style>";

/// What is drawn of a network; nothing where it took too long to be waited for.
type Value<'a> = dyn Fn(&Cost) -> Option<f64> + 'a;

/// The titles of the diagrams, and the values of their vertical axes.
const PANELS: [(&str, &[(f64, &str)]); 4] = [
    (
        "Bytes a second that a peer sends",
        &[(1e3, "1 kB"), (1e4, "10 kB"), (1e5, "100 kB"), (1e6, "1 MB"), (1e7, "10 MB")],
    ),
    ("Messages a second that a peer sends", &[(1e0, "1"), (1e1, "10"), (1e2, "100"), (1e3, "1,000"), (1e4, "10,000")]),
    (
        "Time until all know a new peer",
        &[(0.01, "0.01 s"), (0.1, "0.1 s"), (1.0, "1 s"), (10.0, "10 s"), (100.0, "100 s")],
    ),
    (
        "Time until nobody holds a vanished peer alive",
        &[(10.0, "10 s"), (20.0, "20 s"), (50.0, "50 s"), (100.0, "100 s")],
    ),
];

/// The values of the horizontal axes.
const PEERS: [f64; 4] = [10.0, 100.0, 1000.0, 10_000.0];

/// Draws it, as an SVG.
pub fn draw(findings: &Findings) -> String {
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 860 800\" role=\"img\" \
         aria-label=\"What gossip costs, by the number of peers: bytes and messages a second, and how long things take to be \
         known everywhere\">\n",
    );
    svg.push_str(STYLE);
    svg.push('\n');
    legend(&mut svg);
    let all = |times: Times| times.all.as_ref().map(Duration::as_secs_f64);
    let values: [&Value<'_>; 4] =
        [&|cost| Some(cost.bytes), &|cost| Some(cost.messages), &|cost| all(cost.newcomer), &|cost| all(cost.vanished)];
    for (number, ((title, ticks), value)) in PANELS.into_iter().zip(values).enumerate() {
        let (column, row) = ((number % 2) as f64, (number / 2) as f64);
        let panel = Panel { left: 70.0 + 420.0 * column, top: 80.0 + 370.0 * row, ticks };
        panel.frame(&mut svg, title);
        for (costs, class) in [(&findings.fabric, "theirs dashed"), (&findings.model, "ours")] {
            panel.line(&mut svg, costs, value, class);
        }
        panel.points(&mut svg, &findings.fabric, value, "theirs hollow");
        panel.points(&mut svg, &findings.machine, value, "ours");
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String) {
    let entries = [
        (70, "<circle class=\"ours\" cx=\"84\" cy=\"24\" r=\"4\"/>", "this machine, measured"),
        (270, "<path class=\"ours line\" d=\"M270 24h28\"/>", "this machine, by the model"),
        (500, "<path class=\"theirs line dashed\" d=\"M500 24h28\"/>", "Fabric's rules and defaults, by the model"),
    ];
    for (left, sign, text) in entries {
        let _ = writeln!(svg, "{sign}<text x=\"{}\" y=\"28\">{text}</text>", left + 36);
    }
}

/// One diagram, both axes logarithmic.
struct Panel<'a> {
    left: f64,
    top: f64,
    ticks: &'a [(f64, &'a str)],
}

impl Panel<'_> {
    const WIDTH: f64 = 320.0;
    const HEIGHT: f64 = 270.0;

    fn x(&self, peers: f64) -> f64 {
        self.left + (peers / PEERS[0]).log10() / (PEERS[3] / PEERS[0]).log10() * Self::WIDTH
    }

    fn y(&self, value: f64) -> f64 {
        let (first, last) = (self.ticks[0].0, self.ticks[self.ticks.len() - 1].0);
        self.top + Self::HEIGHT - (value / first).log10() / (last / first).log10() * Self::HEIGHT
    }

    fn frame(&self, svg: &mut String, title: &str) {
        let (left, right, bottom) = (self.left, self.left + Self::WIDTH, self.top + Self::HEIGHT);
        let _ = writeln!(svg, "<text class=\"title\" x=\"{left}\" y=\"{}\">{title}</text>", self.top - 14.0);
        for (value, label) in self.ticks {
            let y = self.y(*value);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{left} {y:.1}H{right}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                left - 8.0,
                y + 4.0
            );
        }
        for (peers, label) in PEERS.iter().zip(["10", "100", "1,000", "10,000"]) {
            let x = self.x(*peers);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{x:.1} {}V{bottom}\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
                self.top,
                bottom + 18.0
            );
        }
        let _ = writeln!(
            svg,
            "<path class=\"axis\" d=\"M{left} {}V{bottom}H{right}\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">peers</text>",
            self.top,
            left + Self::WIDTH / 2.0,
            bottom + 34.0
        );
    }

    fn places(&self, costs: &[Cost], value: &Value<'_>) -> Vec<(f64, f64)> {
        let (first, last) = (self.ticks[0].0, self.ticks[self.ticks.len() - 1].0);
        let place = |cost: &Cost| Some((self.x(cost.peers as f64), self.y(value(cost)?.clamp(first, last))));
        costs.iter().filter_map(place).collect()
    }

    fn line(&self, svg: &mut String, costs: &[Cost], value: &Value<'_>, class: &str) {
        let points: Vec<_> = self.places(costs, value).iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(svg, "<polyline class=\"{class} line\" points=\"{}\"/>", points.join(" "));
    }

    fn points(&self, svg: &mut String, costs: &[Cost], value: &Value<'_>, class: &str) {
        for (x, y) in self.places(costs, value) {
            let _ = writeln!(svg, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>");
        }
    }
}
