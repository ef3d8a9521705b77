//! Labels only ever become worse, along every way that content takes.

use std::collections::BTreeSet;

use tenure_journal::{CommandRequest, EffectId, Fresh, ItemId, PermitRecord, Repeat};

use super::*;

/// Steps of one walk, and walks: a hundred thousand flows of data.
const STEPS: usize = 1_000;
const WALKS: u64 = 100;

/// A session with everything that ever flowed into it or its files.
#[derive(Clone, Default)]
struct Node {
    flow: Flow,
    seen: BTreeSet<usize>,
    files: BTreeSet<usize>,
}

fn some_labels(rng: &mut fastrand::Rng) -> Labels {
    let words = |rng: &mut fastrand::Rng| {
        ["a", "b", "c"].into_iter().filter(|_| rng.bool()).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    Labels {
        integrity: *rng.choice(&Integrity::ALL).expect("there are some"),
        confidentiality: *rng.choice(&tenure_journal::Confidentiality::ALL).expect("there are some"),
        categories: words(rng),
        regions: if rng.bool() { Some(words(rng)) } else { None },
    }
}

fn command(fresh: &Fresh) -> Effect {
    Effect {
        id: EffectId::fresh(fresh),
        turn_id: None,
        kind: EffectKind::Command {
            item_id: ItemId::fresh(fresh),
            request: CommandRequest::Patch { patch: "x".to_owned() },
            hosts: None,
        },
        repeat: Repeat::Freely,
        permit: PermitRecord {
            policies: Vec::new(),
            policy_digest: String::new(),
            arguments_digest: String::new(),
            approval: None,
            grant: None,
            asked: Vec::new(),
        },
    }
}

fn is_at_most(labels: &Labels, more: &Labels) -> bool {
    &labels.clone().join(more) == labels
}

#[test]
fn labels_never_become_better_by_themselves() {
    for seed in 0..WALKS {
        let mut rng = fastrand::Rng::with_seed(seed);
        let fresh = Fresh::new(Timestamp::from_millis(1), seed);
        let mut contents: Vec<Labels> = Vec::new();
        let mut nodes = vec![Node::default()];
        for _ in 0..STEPS {
            let (place, count) = (rng.usize(..nodes.len()), nodes.len());
            let before = nodes[place].flow.clone();
            let node = &mut nodes[place];
            match rng.u8(..6) {
                // Something arrives from outside.
                0 | 1 => {
                    let labels = some_labels(&mut rng);
                    node.flow.see(&labels);
                    node.seen.insert(contents.len());
                    contents.push(labels);
                }
                // A command writes what was seen, and shows what is in the files.
                2 => {
                    let effect = command(&fresh);
                    node.flow.requested(&effect);
                    node.files.extend(node.seen.iter().copied());
                    let output = node.flow.files.clone().join(&node.flow.labels);
                    node.flow.ended(&effect.kind, &output);
                    node.seen.extend(node.files.iter().copied());
                }
                // A fork begins with all of it.
                3 if count < 8 => {
                    let mut fork = Node { flow: Flow::default(), ..node.clone() };
                    fork.flow.forked(&before.labels, &before.files);
                    nodes.push(fork);
                }
                // What one has seen is reported to another.
                4 => {
                    let (labels, seen) = (node.flow.labels.clone(), node.seen.clone());
                    let other = rng.usize(..count);
                    nodes[other].flow.see(&labels);
                    nodes[other].seen.extend(seen);
                }
                // A client places files.
                _ => {
                    let labels = some_labels(&mut rng);
                    node.flow.join_files(&labels);
                    node.files.insert(contents.len());
                    contents.push(labels);
                }
            }
            let now = &nodes[place].flow;
            assert!(is_at_most(&now.labels, &before.labels) && is_at_most(&now.files, &before.files));
        }
        for node in &nodes {
            let all = |ids: &BTreeSet<usize>| {
                ids.iter().fold(Labels::NEUTRAL, |labels, id| labels.join(&contents[*id]))
            };
            assert_eq!(node.flow.labels, all(&node.seen), "seed {seed}");
            assert_eq!(node.flow.files, all(&node.files), "seed {seed}");
        }
    }
}
