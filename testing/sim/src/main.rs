//! What gossip costs as networks grow: `cargo run --release -p ripstop-sim -- cost [PEERS]...`

use std::process::ExitCode;
use std::time::{Duration, Instant};

use ripstop_sim::cost::{Cost, measure, memory};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some("cost") {
        eprintln!("usage: ripstop-sim cost [PEERS]...");
        return ExitCode::FAILURE;
    }
    let Ok(mut sizes) = arguments.map(|size| size.parse()).collect::<Result<Vec<usize>, _>>() else {
        eprintln!("the numbers of peers are no numbers");
        return ExitCode::FAILURE;
    };
    if sizes.is_empty() {
        sizes = vec![10, 100, 1000];
    }
    println!("memory per known peer, of one peer that knows 10,000: {:.0} bytes", memory(10_000));
    println!("| peers | block 99 % / all | new peer 99 % / all | death 99 % / all | messages/s | bytes/s |");
    println!("|---|---|---|---|---|---|");
    for size in sizes {
        let begin = Instant::now();
        let Cost { peers, bytes, messages, block, alive, death, by_kind } = measure(size);
        let [block, alive, death] =
            [block, alive, death].map(|[most, all]| format!("{} / {}", shown(most), shown(all)));
        println!("| {peers} | {block} | {alive} | {death} | {messages:.1} | {bytes:.0} |");
        eprintln!("{peers} peers took {:?}: {by_kind:?}", begin.elapsed());
    }
    ExitCode::SUCCESS
}

fn shown(time: Option<Duration>) -> String {
    time.map_or_else(|| "over 60 s".to_owned(), |time| format!("{:.2} s", time.as_secs_f64()))
}
