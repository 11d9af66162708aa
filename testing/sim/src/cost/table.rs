//! The figures as rows of a table, which can be read again.

use std::time::Duration;

use super::{Cost, Times};

/// What was found out of networks of several sizes.
#[derive(Debug, Default)]
pub struct Findings {
    /// By the machine.
    pub machine: Vec<Cost>,
    /// By the model of it.
    pub model: Vec<Cost>,
    /// By the model of Fabric's rules.
    pub fabric: Vec<Cost>,
}

impl Findings {
    /// Reads the rows of a text that holds more.
    pub fn read(text: &str) -> Self {
        let mut findings = Self::default();
        for (how, cost) in text.lines().filter_map(read) {
            match how {
                "machine" => findings.machine.push(cost),
                "model" => findings.model.push(cost),
                "fabric" => findings.fabric.push(cost),
                _ => {}
            }
        }
        findings
    }
}

impl Cost {
    /// The row that says how this was found out, and what.
    pub fn row(&self, how: &str) -> String {
        let times = [self.block, self.newcomer, self.vanished, self.refusing].map(shown);
        let numbers = [self.messages, self.bytes].map(grouped);
        let wrong = self.given_up_wrongly;
        format!(
            "| {} | {how} | {} | {} | {wrong:.1} |",
            grouped(self.peers as f64),
            numbers.join(" | "),
            times.join(" | ")
        )
    }
}

fn read(line: &str) -> Option<(&str, Cost)> {
    let cells: Vec<_> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
    let [peers, how, messages, bytes, block, newcomer, vanished, refusing, wrong] = cells[..] else { return None };
    let number = |text: &str| text.replace(',', "").parse::<f64>().ok();
    let cost = Cost {
        peers: peers.replace(',', "").parse().ok()?,
        messages: number(messages)?,
        bytes: number(bytes)?,
        given_up_wrongly: number(wrong)?,
        block: times(block),
        newcomer: times(newcomer),
        vanished: times(vanished),
        refusing: times(refusing),
        by_kind: super::Kinds::new(),
    };
    Some((how, cost))
}

/// A number with a comma behind each three digits.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn shown(times: Times) -> String {
    let shown = |time: Option<Duration>| match time {
        Some(time) if time < Duration::from_secs(1) => format!("{:.2} s", time.as_secs_f64()),
        Some(time) => format!("{:.1} s", time.as_secs_f64()),
        None => "too long".to_owned(),
    };
    format!("{} / {}", shown(times.most), shown(times.all))
}

fn times(text: &str) -> Times {
    let time = |text: &str| {
        let seconds = text.trim().strip_suffix(" s")?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    };
    match text.split_once('/') {
        Some((most, all)) => Times { most: time(most), all: time(all) },
        None => Times::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_are_written() {
        let seconds = |seconds| Some(Duration::from_secs_f64(seconds));
        let cost = Cost {
            peers: 10_000,
            messages: 5647.0,
            bytes: 856_232.0,
            given_up_wrongly: 3.5,
            block: Times { most: seconds(0.08), all: seconds(5.1) },
            newcomer: Times { most: seconds(12.5), all: None },
            ..Cost::default()
        };
        let row = cost.row("model");
        assert_eq!(
            row,
            "| 10,000 | model | 5,647 | 856,232 | 0.08 s / 5.1 s | 12.5 s / too long | too long / too long \
             | too long / too long | 3.5 |"
        );
        let text = format!("| peers | |\n|--:|---|\n{row}\n{}\n", cost.row("fabric"));
        let findings = Findings::read(&text);
        assert_eq!(findings.model[0].row("model"), row);
        assert_eq!((findings.machine.len(), findings.fabric.len()), (0, 1));
    }
}
