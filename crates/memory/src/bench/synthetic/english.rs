//! English.

use super::{Chain, Deed, Fact, Phrases};

pub(super) const PHRASES: Phrases = Phrases {
    name: "english",
    facts: FACTS,
    deeds: DEEDS,
    chains: CHAINS,
    people: &["Aaliyah", "Bernard", "Chandra", "Dmitri", "Esperanza", "Fitzgerald", "Greta", "Hiroshi"],
    places: &["Lisbon", "Toronto", "Nairobi", "Bergen", "Kyoto", "Cusco", "Tallinn", "Adelaide"],
    professions: &["a carpenter", "a surgeon", "a pastry chef", "a geologist", "a tram driver", "an actuary"],
    fillers: &[
        ("Anything else on your mind?", "Not much, it has been a slow day."),
        ("How did it go?", "It went well, thanks for asking!"),
        ("Shall we look at your list?", "Yes, let us do that after lunch."),
        ("I moved the reminder to tomorrow.", "Perfect, that is much better."),
        ("The weather looks good for the weekend.", "Great, we might go outside then."),
        ("Would you like a summary?", "A short one would be nice."),
        ("I found three articles about it.", "Please send me the second one."),
        ("You have two meetings today.", "Ugh, cancel the first if you can."),
        ("Is there a deadline?", "I think it is some time next week."),
        ("I can draft the message for you.", "Sure, keep it friendly."),
    ],
    month: |month, year| format!("in {} {year}", MONTHS[month]),
};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const FACTS: &[Fact] = &[
    Fact {
        asks: "What breed is your dog?",
        says: "Our dog is a {}.",
        changes: "We were told the dog is really a {}, not what the shelter said.",
        question: "Which breed is my dog?",
        values: &["beagle", "whippet", "corgi", "poodle"],
    },
    Fact {
        asks: "Which medication does your doctor have you on?",
        says: "My doctor put me on {}.",
        changes: "The pills made me dizzy, so the doctor switched me to {}.",
        question: "What medication am I taking?",
        values: &["lisinopril", "amlodipine", "losartan", "ramipril"],
    },
    Fact {
        asks: "Where do you want to fly to this autumn?",
        says: "We want to fly to {} this autumn.",
        changes: "The flights were too expensive, we are flying to {} instead.",
        question: "What is the destination of our autumn flight?",
        values: &["Reykjavik", "Marrakesh", "Hanoi", "Quito"],
    },
    Fact {
        asks: "Which database does the billing service run on?",
        says: "The billing service runs on {}.",
        changes: "We migrated billing over the weekend, it is on {} now.",
        question: "What database does billing use?",
        values: &["PostgreSQL", "MySQL", "CockroachDB", "Oracle"],
    },
    Fact {
        asks: "What size are your running shoes?",
        says: "I bought running shoes in size {}.",
        changes: "Those shoes pinched, I exchanged them for size {}.",
        question: "What is my running shoe size?",
        values: &["43", "44", "42", "45"],
    },
    Fact {
        asks: "Is there any food you are allergic to?",
        says: "I am allergic to {}.",
        changes: "The test came back: it is not that, my allergy is against {}.",
        question: "Which allergy do I have?",
        values: &["walnuts", "shellfish", "sesame", "celery"],
    },
    Fact {
        asks: "What color did you choose for the kitchen walls?",
        says: "We paint the kitchen walls {}.",
        changes: "On second thought the kitchen is going to be {}.",
        question: "What color will the kitchen be?",
        values: &["terracotta", "sage green", "navy", "mustard"],
    },
    Fact {
        asks: "Who leads the incident review?",
        says: "{} leads the incident review.",
        changes: "There was a handover, {} runs the incident reviews from here on.",
        question: "Who is in charge of incident reviews?",
        values: &["Priya", "Marcus", "Ingrid", "Tobias"],
    },
];

const DEEDS: &[Deed] = &[
    Deed {
        says: "I finished reading {} last night.",
        question: "Which book did I finish {}?",
        values: &["Middlemarch", "Dune", "Beloved", "Emma", "Ulysses", "Persuasion"],
    },
    Deed {
        says: "We hiked up to {} and it was wonderful.",
        question: "Where did we hike {}?",
        values: &["Eagle Ridge", "the old mill", "Lake Sorrow", "the beacon", "Fern Gorge", "the quarry"],
    },
    Deed {
        says: "The release failed again because of {}.",
        question: "Why did the release fail {}?",
        values: &[
            "an expired certificate",
            "a full disk",
            "a wrong flag",
            "a slow query",
            "clock skew",
            "a bad merge",
        ],
    },
];

const CHAINS: &[Chain] = &[
    Chain {
        first: "My cousin {who} has moved to {where}.",
        second: "{who} works as {what} these days.",
        question: "What does my cousin in {where} do for work?",
    },
    Chain {
        first: "The consultant they sent us is called {who}.",
        second: "{who} grew up in {where}, by the way.",
        question: "Where did our consultant grow up?",
    },
];
