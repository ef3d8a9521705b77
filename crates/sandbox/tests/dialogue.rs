//! A command that is talked to while it runs.

mod lab;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::time::Duration;

use lab::wait::until;
use lab::{Lab, processes_with};
use tenure_sandbox::{Command, Dialogue, End, Tier};

/// How long something that must come about may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const TIERS: [Tier; 2] = [Tier::Namespaces, Tier::Landlock];

fn cat(lab: &Lab, tier: Tier, token: &str) -> Command {
    // The shell stays the parent, so that there is something to be left over.
    let script = format!(": hostile {token}; echo ready >&2; cat; echo over");
    let mut command = lab.probe(tier, &[]);
    command.argv = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
    command
}

#[test]
fn it_hears_and_answers_until_its_input_ends() {
    let lab = Lab::new();
    for tier in TIERS {
        let backend = lab.backend(tier);
        let (said, heard) = std::sync::mpsc::channel();
        let errors = move |bytes: &[u8]| said.send(bytes.to_vec()).expect("heard");
        let Dialogue { mut input, output, running } =
            Dialogue::start(&*backend, cat(&lab, tier, "token-hears"), errors).expect("started");
        let waiting = std::thread::spawn(move || running.wait());
        let mut output = BufReader::new(output);
        for word in ["one\n", "two\n"] {
            input.write_all(word.as_bytes()).expect("written");
            let mut line = String::new();
            output.read_line(&mut line).expect("read");
            assert_eq!(line, word, "{tier}");
        }
        drop(input);
        let mut rest = String::new();
        output.read_to_string(&mut rest).expect("read");
        assert_eq!(rest, "over\n", "{tier}");
        assert_eq!(waiting.join().expect("no panic").end, End::Exited(0), "{tier}");
        assert_eq!(heard.iter().flatten().collect::<Vec<u8>>(), b"ready\n", "{tier}");
    }
}

#[test]
fn it_ends_when_it_is_told_to_whatever_it_was_told() {
    let lab = Lab::new();
    for tier in TIERS {
        let backend = lab.backend(tier);
        let token = format!("token-dialogue-{tier}-{}", std::process::id());
        let dialogue = Dialogue::start(&*backend, cat(&lab, tier, &token), |_| ()).expect("started");
        until(PATIENCE, "the command", || processes_with(&token) > 0);
        let killer = dialogue.running.killer();
        let (input, output) = (dialogue.input, dialogue.output);
        let waiting = std::thread::spawn(move || dialogue.running.wait());
        killer.kill();
        // Nobody reads its output any more, and nobody ends its input.
        drop(output);
        assert_eq!(waiting.join().expect("no panic").end, End::Cancelled, "{tier}");
        assert_eq!(processes_with(&token), 0, "{tier}");
        drop(input);
    }
}
