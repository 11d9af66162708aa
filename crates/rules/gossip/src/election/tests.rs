use bytes::Bytes;

use super::*;

fn peer(number: u8) -> PkiId {
    PkiId::claimed(Bytes::copy_from_slice(&[number]))
}

fn lower() -> PkiId {
    peer(1)
}

fn higher() -> PkiId {
    peer(9)
}

/// Runs an election of peer 5 and writes what it does, each at its second.
///
/// A step is a second, how many other members there are from then on, and what happens.
fn run(until: u64, steps: &[(u64, usize, ElectionInput)]) -> String {
    let start = Moment::from_nanoseconds(1_000_000_000_000);
    let members = |now: Moment| {
        let begun = steps.iter().take_while(|(at, ..)| start + Duration::from_secs(*at) <= now);
        begun.last().map_or(0, |(_, members, _)| *members)
    };
    let mut election = Election::new(start, peer(5), ElectionOptions::default(), members(start));
    let mut steps_left = steps.iter().peekable();
    let mut written = Vec::new();
    loop {
        let step_at = steps_left.peek().map(|(at, ..)| start + Duration::from_secs(*at));
        let wake_at = election.wake_at();
        let Some(now) = [step_at, wake_at].into_iter().flatten().min() else { break };
        if now > start + Duration::from_secs(until) {
            break;
        }
        let input = match steps_left.next_if(|_| step_at == Some(now)) {
            Some((_, _, input)) => input.clone(),
            None => ElectionInput::Wake,
        };
        election.handle(now, members(now), input);
        while let Some(effect) = election.poll_effect() {
            let what = match effect {
                ElectionEffect::Propose => "propose",
                ElectionEffect::Declare => "declare",
                ElectionEffect::Lead => "lead",
                ElectionEffect::Follow => "follow",
                ElectionEffect::Note(..) => continue,
            };
            written.push(format!("{} {what}", now.since(start).as_secs()));
        }
    }
    written.join(", ")
}

#[test]
fn who_is_alone_leads_behind_a_sample_and_an_election() {
    assert_eq!(run(17, &[]), "1 propose, 6 lead, 6 declare, 11 declare, 16 declare");
}

#[test]
fn the_election_waits_for_the_membership_to_stand_still_but_not_for_ever() {
    let wakes: Vec<_> = (0..6).map(|second| (second, second as usize, ElectionInput::Wake)).collect();
    assert_eq!(run(12, &wakes), "6 propose, 11 lead, 11 declare");
    let wakes: Vec<_> = (0..60).map(|second| (second, second as usize, ElectionInput::Wake)).collect();
    assert_eq!(run(21, &wakes), "16 propose, 21 lead, 21 declare");
}

#[test]
fn whoever_has_a_lower_id_goes_first_and_only_for_a_while() {
    let steps = [(3, 1, ElectionInput::Proposal(lower()))];
    assert_eq!(run(25, &steps), "1 propose, 16 propose, 21 lead, 21 declare");
    let steps = [(3, 1, ElectionInput::Proposal(higher()))];
    assert_eq!(run(8, &steps), "1 propose, 6 lead, 6 declare");
}

#[test]
fn a_declaration_ends_the_election_and_holds_while_it_is_renewed() {
    let declaration = |at| (at, 1, ElectionInput::Declaration(higher()));
    // The last one holds until 23, and again ten seconds from there because it came since 13.
    assert_eq!(
        run(40, &[declaration(3), declaration(8), declaration(14)]),
        "1 propose, 33 propose, 38 lead, 38 declare"
    );
}

#[test]
fn a_leader_steps_down_for_a_lower_one_and_answers_a_higher_one() {
    let steps = [(8, 1, ElectionInput::Declaration(lower()))];
    assert_eq!(run(17, &steps), "1 propose, 6 lead, 6 declare, 8 follow");
    let steps = [(8, 1, ElectionInput::Declaration(higher()))];
    assert_eq!(run(14, &steps), "1 propose, 6 lead, 6 declare, 8 declare, 13 declare");
}

#[test]
fn declarations_without_end_are_not_answered_without_end() {
    let steps: Vec<_> = (0..1000).map(|_| (9, 1, ElectionInput::Declaration(higher()))).collect();
    assert_eq!(run(11, &steps), "1 propose, 6 lead, 6 declare, 9 declare, 10 declare");
}

#[test]
fn who_yields_stands_back_until_another_leads_or_a_minute_passed() {
    let steps = [(7, 0, ElectionInput::Yield)];
    // It looks every ten seconds, and its minute is over at 67.
    assert_eq!(run(80, &steps), "1 propose, 6 lead, 6 declare, 7 follow, 71 propose, 76 lead, 76 declare");
    let steps = [(7, 1, ElectionInput::Yield), (18, 1, ElectionInput::Declaration(higher()))];
    let led_again = "1 propose, 6 lead, 6 declare, 7 follow, 31 propose, 36 lead, 36 declare";
    assert_eq!(run(40, &steps), led_again);
}

#[test]
fn who_stops_leads_no_more_and_does_nothing_any_more() {
    let steps = [(7, 0, ElectionInput::Stop), (8, 0, ElectionInput::Declaration(lower()))];
    assert_eq!(run(100, &steps), "1 propose, 6 lead, 6 declare, 7 follow");
}
