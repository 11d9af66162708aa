use std::collections::BTreeMap;
use std::fmt;

/// How many differences of one topic are printed in full.
const SHOWN_DIFFERENCES: usize = 10;

/// How much of a value is printed.
const SHOWN_CHARACTERS: usize = 600;

/// What was compared, what differed, what is not reached yet.
#[derive(Debug, Default)]
pub struct Report {
    topics: Vec<(String, Topic)>,
    not_yet: BTreeMap<String, usize>,
}

#[derive(Debug, Default)]
struct Topic {
    equal: usize,
    differences: Vec<String>,
}

impl Report {
    /// An empty report.
    pub fn new() -> Self {
        Self::default()
    }

    /// Compares one thing; `name` says which, `why` adds what may explain a difference.
    pub fn compare<T: PartialEq + fmt::Debug + ?Sized>(
        &mut self,
        topic: &str,
        name: &str,
        expected: &T,
        actual: &T,
        why: &str,
    ) {
        if expected == actual {
            self.equal(topic, 1);
        } else {
            let because = if why.is_empty() { String::new() } else { format!("\n      because: {why}") };
            self.difference(
                topic,
                format!("{name}: expected {}, actual {}{because}", shortened(expected), shortened(actual)),
            );
        }
    }

    /// Counts things that were found equal.
    pub fn equal(&mut self, topic: &str, count: usize) {
        self.topic(topic).equal += count;
    }

    /// Records a difference.
    pub fn difference(&mut self, topic: &str, text: String) {
        self.topic(topic).differences.push(text);
    }

    /// Records that something is fine, or what is wrong with it.
    pub fn check<T, E: fmt::Display>(&mut self, topic: &str, name: &str, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => {
                self.equal(topic, 1);
                Some(value)
            }
            Err(error) => {
                self.difference(topic, format!("{name}: {error}"));
                None
            }
        }
    }

    /// Records what is not compared yet.
    pub fn not_yet(&mut self, what: &str, count: usize) {
        *self.not_yet.entry(what.to_owned()).or_default() += count;
    }

    /// Whether nothing differed.
    pub fn is_clean(&self) -> bool {
        self.topics.iter().all(|(_, topic)| topic.differences.is_empty())
    }

    fn topic(&mut self, name: &str) -> &mut Topic {
        let position = self.topics.iter().position(|(topic, _)| topic == name).unwrap_or_else(|| {
            self.topics.push((name.to_owned(), Topic::default()));
            self.topics.len() - 1
        });
        &mut self.topics[position].1
    }
}

fn shortened<T: fmt::Debug + ?Sized>(value: &T) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>8} {:>10}  compared with Fabric 3.1.5", "equal", "different")?;
        for (name, topic) in &self.topics {
            writeln!(f, "{:>8} {:>10}  {name}", topic.equal, topic.differences.len())?;
        }
        for (name, count) in &self.not_yet {
            writeln!(f, "{count:>8} {:>10}  {name}", "not yet")?;
        }
        for (name, topic) in &self.topics {
            for difference in topic.differences.iter().take(SHOWN_DIFFERENCES) {
                writeln!(f, "DIFFERENT {name}: {difference}")?;
            }
            if topic.differences.len() > SHOWN_DIFFERENCES {
                writeln!(f, "DIFFERENT {name}: … and {} more", topic.differences.len() - SHOWN_DIFFERENCES)?;
            }
        }
        Ok(())
    }
}
