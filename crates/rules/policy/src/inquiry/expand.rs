use super::MAX_COMBINATIONS;
use crate::SignaturePolicy;
use crate::signature::Rule;

/// How many principals all combinations of a policy, and of the rules inside of it, hold together.
const MAX_MEMBERS: usize = 500_000;

/// How many rules of one list may be needed at once; nobody satisfies a policy that asks for more.
const MAX_NEEDED: usize = 256;

/// A principal's number and how deep in the policy it stands.
type Leaf = (usize, usize);

/// The combinations that satisfy a policy, each with the principals that stand higher in it first. `numbers` are those of the
/// policy's principals.
pub(super) fn expand(policy: &SignaturePolicy, numbers: &[usize], available: &[usize]) -> Vec<Vec<usize>> {
    let mut all = Expansion { numbers, available, keep: Keep::All, room: MAX_MEMBERS, is_cut: false };
    let mut combinations = all.of(&policy.rule, 0);
    if all.is_cut {
        let mut some = Expansion { keep: Keep::Available, room: MAX_MEMBERS, is_cut: false, ..all };
        combinations = some.of(&policy.rule, 0);
    }
    let in_order = |mut leaves: Vec<Leaf>| {
        leaves.sort_by_key(|(_, depth)| *depth);
        leaves.into_iter().map(|(number, _)| number).collect()
    };
    combinations.into_iter().map(in_order).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// Every principal.
    All,
    /// Those for whom there is a signer.
    Available,
}

struct Expansion<'a> {
    numbers: &'a [usize],
    available: &'a [usize],
    keep: Keep,
    room: usize,
    /// Whether something had to be left out.
    is_cut: bool,
}

impl Expansion<'_> {
    fn of(&mut self, rule: &Rule, depth: usize) -> Vec<Vec<Leaf>> {
        match rule {
            Rule::SignedBy(index) => {
                let number = self.numbers.get(*index).copied();
                let number = number.filter(|number| self.keep == Keep::All || self.available_for(*number) > 0);
                number.into_iter().map(|number| vec![(number, depth)]).collect()
            }
            Rule::OutOf { n, rules } => {
                let needed = usize::try_from(*n).unwrap_or(0);
                if needed > MAX_NEEDED {
                    self.is_cut = true;
                    return Vec::new();
                }
                let mut options: Vec<_> = rules.iter().map(|rule| self.of(rule, depth + 1)).collect();
                options.retain(|option| !option.is_empty());
                self.thin_out(needed, &mut options);
                let mut chosen = Vec::new();
                self.choose(needed, &options, &mut Vec::new(), &mut chosen);
                chosen
            }
        }
    }

    fn available_for(&self, number: usize) -> usize {
        self.available.get(number).copied().unwrap_or(0)
    }

    /// Leaves options out until few enough choices remain: first those with the fewest signers.
    fn thin_out(&mut self, needed: usize, options: &mut Vec<Vec<Vec<Leaf>>>) {
        if !too_many_choices(options.len(), needed) {
            return;
        }
        self.is_cut = true;
        let signers = |option: &Vec<Vec<Leaf>>| {
            let of_one = |leaves: &Vec<Leaf>| leaves.iter().map(|(number, _)| self.available_for(*number)).min();
            option.iter().filter_map(of_one).max().unwrap_or(0)
        };
        options.sort_by_key(|option| std::cmp::Reverse(signers(option)));
        while too_many_choices(options.len(), needed) {
            options.pop();
        }
    }

    /// Every way to satisfy `needed` of the options, those with the first options first.
    fn choose(&mut self, needed: usize, options: &[Vec<Vec<Leaf>>], so_far: &mut Vec<Leaf>, out: &mut Vec<Vec<Leaf>>) {
        if needed == 0 {
            match self.room.checked_sub(so_far.len()) {
                Some(room) if out.len() < MAX_COMBINATIONS => {
                    self.room = room;
                    out.push(so_far.clone());
                }
                _ => self.is_cut = true,
            }
            return;
        }
        for (index, option) in options.iter().enumerate() {
            let behind = options.get(index + 1..).unwrap_or_default();
            if behind.len() + 1 < needed {
                return;
            }
            for leaves in option {
                if out.len() >= MAX_COMBINATIONS || self.room == 0 {
                    self.is_cut = true;
                    return;
                }
                let length = so_far.len();
                so_far.extend_from_slice(leaves);
                self.choose(needed - 1, behind, so_far, out);
                so_far.truncate(length);
            }
        }
    }
}

/// Whether there are more than [`MAX_COMBINATIONS`] ways to choose `needed` of `options`.
fn too_many_choices(options: usize, needed: usize) -> bool {
    if needed > options {
        return false;
    }
    let fewer = needed.min(options - needed);
    let mut choices: usize = 1;
    for step in 0..fewer {
        // Exact at each step: a product of `step + 1` consecutive numbers is divisible by `(step + 1)!`.
        choices = choices.saturating_mul(options - step) / (step + 1);
        if choices > MAX_COMBINATIONS {
            return true;
        }
    }
    false
}
