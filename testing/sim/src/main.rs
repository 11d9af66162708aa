//! What gossip costs as networks grow: `cargo run --release -p ripstop-sim -- cost`, see [`ripstop_sim::cost`].

use std::process::ExitCode;
use std::time::Instant;

use ripstop_sim::cost::epidemic::{self, Rules};
use ripstop_sim::cost::table::Findings;
use ripstop_sim::cost::{measure, need, picture};

const USAGE: &str = "What gossip costs in networks of so many peers, in rows of the table in docs/gossip-cost.md:

  ripstop-sim cost machine PEERS...      measured: every peer is the machine itself (250: a minute, 1,000: half an hour)
  ripstop-sim cost model PEERS...        by a model of it
  ripstop-sim cost fabric PEERS...       by the same model with Fabric's rules
  ripstop-sim cost one PEERS MESSAGES    what one peer needs that knows so many and gets so many messages a second
  ripstop-sim cost draw TABLE            draws the rows of a file, as an SVG";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<(), String> {
    match arguments {
        ["cost", "one", peers, messages] => {
            let need = need(number(peers)?, number(messages)? as f64);
            println!("{:.0} bytes a known peer", need.bytes_per_peer);
            println!("{:.1} % of a core, {:.0} signatures a second", need.busy * 100.0, need.signatures);
        }
        ["cost", "draw", table] => {
            let text = std::fs::read_to_string(table).map_err(|error| format!("{table} cannot be read: {error}"))?;
            print!("{}", picture::draw(&Findings::read(&text)));
        }
        ["cost", how, sizes @ ..] if !sizes.is_empty() => {
            for size in sizes {
                let (size, begin) = (number(size)?, Instant::now());
                let cost = match *how {
                    "machine" => measure(size),
                    "model" => epidemic::measure(size, Rules::Ripstop),
                    "fabric" => epidemic::measure(size, Rules::Fabric),
                    _ => return Err(USAGE.to_owned()),
                };
                println!("{}", cost.row(how));
                eprintln!("{size} peers took {:?}: {:?}", begin.elapsed(), cost.by_kind);
            }
        }
        _ => return Err(USAGE.to_owned()),
    }
    Ok(())
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 1).ok_or_else(|| format!("{text} is no number of peers or messages"))
}
