//! Kinds: `hobbies` and `pottery` share no word, and whoever asks for the one is answered by the other.
//!
//! A list of what people keep telling of: words that a question asks with, and words that an answer says then. It is
//! short and of English alone, because that is what the weight of it could be measured on; a question without such a
//! word, and one in another language, is ranked as if it were not there. Passages are brought for it only where those
//! that share a word with the question leave room.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::lexicon::StemId;
use crate::passage::{Meant, Passage};
use crate::text;

/// A kind of thing, with words parted by spaces.
struct Kind {
    /// What it is asked for with.
    asked: &'static str,
    /// What is one of it, or is said with one.
    said: &'static str,
}

/// Which kinds each stem is of.
type Stems = HashMap<String, Vec<usize>>;

static ASKED: LazyLock<Stems> = LazyLock::new(|| stems_of(|kind| kind.asked));
static SAID: LazyLock<Stems> = LazyLock::new(|| stems_of(|kind| kind.said));

fn stems_of(words: fn(&Kind) -> &str) -> Stems {
    let mut stems = Stems::new();
    for (number, kind) in KINDS.iter().enumerate() {
        for stem in text::distinct_stems(words(kind)) {
            stems.entry(stem).or_default().push(number);
        }
    }
    stems
}

/// The kinds that a question asks for, by its stems.
pub(crate) fn asked<'a>(stems: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let mut kinds: Vec<usize> = stems.filter_map(|stem| ASKED.get(stem)).flatten().copied().collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// Terms of one question that are looked for because they are of a kind that it asks for.
const KINDRED_MAX: usize = 96;

/// The stems of the kinds, those that come first in each first.
pub(crate) fn said(kinds: &[usize]) -> Vec<String> {
    let all: Vec<Vec<String>> = kinds
        .iter()
        .filter_map(|kind| KINDS.get(*kind))
        .map(|kind| text::distinct_stems(kind.said))
        .collect();
    let longest = all.iter().map(Vec::len).max().unwrap_or(0);
    let mut stems: Vec<String> = Vec::new();
    for place in 0..longest {
        for stem in all.iter().filter_map(|of| of.get(place)) {
            if stems.len() < KINDRED_MAX && !stems.contains(stem) {
                stems.push(stem.clone());
            }
        }
    }
    stems
}

/// Whether a stem is of one of the kinds.
pub(crate) fn says(kinds: &[usize], stem: &str) -> bool {
    !kinds.is_empty() && SAID.get(stem).is_some_and(|of| of.iter().any(|kind| kinds.contains(kind)))
}

/// How common a word is, in nats, that does not tell anything; and how much rarer the rarest is that counts more.
const COMMON: f32 = 3.0;

/// How much each of `ranked` says of what is asked for: the rarest of its words that are of one of the kinds, as rare
/// as it is among all of them. `meant` says what each stem is to the question.
pub(crate) fn kinds(meant: &[Meant], ranked: &[&Passage]) -> Vec<f32> {
    if meant.iter().all(|stem| !stem.is_of_kind) {
        return vec![0.0; ranked.len()];
    }
    let counts = |stem: &StemId| {
        let meant = &meant[stem.index()];
        meant.is_of_kind && meant.place.is_none()
    };
    let said = |passage: &&Passage| passage.distinct().into_iter().filter(counts).collect();
    let said: Vec<Vec<StemId>> = ranked.iter().map(said).collect();
    let mut having: HashMap<StemId, f32> = HashMap::new();
    for stem in said.iter().flatten() {
        *having.entry(*stem).or_default() += 1.0;
    }
    let all = ranked.len() as f32;
    let rarity = |stem: &StemId| {
        let having = having.get(stem).copied().unwrap_or(0.0);
        ((1.0 + all / (having + 0.5)).ln() - COMMON).max(0.0) / COMMON
    };
    said.iter().map(|stems| stems.iter().map(rarity).fold(0.0, f32::max)).collect()
}

const KINDS: &[Kind] = &[
    Kind {
        asked: "hobby hobbies interest interests activity activities pastime fun relax leisure destress \
                unwind outdoor outdoors",
        said: "paint painting pottery run running hike hiking camp camping swim swimming read reading write \
                writing cook cooking bake baking dance dancing garden gardening yoga sing guitar piano \
                violin photography surf surfing ski skiing climb climbing bike biking cycling fish fishing \
                draw drawing sew knit craft crafts museum kayak kayaking basketball soccer tennis game games \
                movie movies music volunteer volunteering workout jog jogging meditation",
    },
    Kind {
        asked: "sport sports athletic exercise exercises workout workouts fitness",
        said: "basketball football soccer tennis baseball volleyball hockey golf swim swimming run running \
                marathon race yoga gym boxing kickboxing taekwondo karate cycling bike biking ski skiing \
                surf surfing climb climbing hike hiking weights lifting pilates jog jogging skate",
    },
    Kind {
        asked: "pet pets animal animals companion companions",
        said: "dog dogs cat cats puppy puppies pup kitten kittens turtle turtles hamster rabbit bunny fish \
                bird parrot snake lizard horse horses goat cow frog breed",
    },
    Kind {
        asked: "food foods meal meals dish dishes snack snacks cuisine cook cooks cooked eat diet recipe \
                recipes dessert desserts bake baked",
        said: "pizza pasta cake cakes cookie cookies pie tart salad soup sushi rice bread cheese chocolate \
                icecream cream ice vanilla strawberry coconut chicken beef fish salmon vegetables fruit \
                fruits sandwich burger taco curry noodles grill roast barbecue muffin brownies pancakes \
                lasagna recipe bake baked cooked baking cooking",
    },
    Kind {
        asked: "instrument instruments",
        said: "guitar piano violin clarinet drums drum flute saxophone trumpet cello bass keyboard ukulele \
                harmonica",
    },
    Kind {
        asked: "music musical song songs musician musicians artist artists band bands genre",
        said: "song songs album concert band singer guitar piano rock jazz pop classical rap melody sing \
                singing violin tune festival",
    },
    Kind {
        asked: "city cities country countries state states place places location locations travel traveled \
                travelled trip trips visit visited vacation vacations vacationed holiday geographical abroad",
        said: "chicago paris london tokyo rome barcelona spain italy france england germany ireland japan \
                canada mexico florida california seattle boston miami york francisco texas alaska hawaii \
                europe asia vancouver toronto rio brazil thailand bali greece portugal lake beach mountain \
                mountains island coast city town trip road flew flight travel travelled visited visiting \
                abroad vacation tour explored",
    },
    Kind {
        asked: "family relatives relative parent parents sibling siblings child children kid kids",
        said: "mom mother dad father son daughter sister brother grandma grandmother grandpa aunt uncle \
                cousin husband wife kids kid children baby parents niece nephew",
    },
    Kind {
        asked: "relationship status marital single married dating partner romantic",
        said: "boyfriend girlfriend husband wife married marriage wedding engaged divorce divorced breakup \
                broke dating date single fiance partner love",
    },
    Kind {
        asked: "friend friends",
        said: "buddy pal mates friends friendship neighbor colleague colleagues fellow",
    },
    Kind {
        asked: "job jobs career careers work occupation profession professional employment business \
                businesses company",
        said: "job hired interview office boss engineer teacher nurse doctor lawyer writer artist coach \
                manager startup company store shop studio business career salary fired laid counselor \
                counseling mechanic developer designer sponsorship endorsement promotion",
    },
    Kind {
        asked: "school study studies education degree educaton university college learn class classes course \
                courses",
        said: "school college university class classes course degree graduate graduated student exam exams \
                thesis teacher homework professor lecture workshop certification",
    },
    Kind {
        asked: "health illness sick injury injuries injured condition medical damage damages problem \
                problems",
        said: "hospital doctor pain hurt injured injury sick surgery ankle knee back heart asthma allergy \
                allergic therapy medicine diagnosis clinic accident broke broken crash",
    },
    Kind {
        asked: "item items buy buys bought purchase purchased shopping thing things gift gifts present own \
                owns possess collect collects collectible collectibles",
        said: "bought got shoes dress necklace book books car bike camera guitar laptop jersey figurine \
                figurines doll dolls ring watch bag bracelet console sneakers painting candle plant ticket \
                tickets gift present received collection signed",
    },
    Kind {
        asked: "book books read reads author authors novel novels literature",
        said: "book books novel series story author read reading trilogy fantasy library chapter page \
                bookshelf",
    },
    Kind {
        asked: "movie movies film films show shows watch watched tv television",
        said: "movie film movies watched trilogy episode series cinema actor scene watching show",
    },
    Kind {
        asked: "game games gaming video board",
        said: "game games console playstation xbox nintendo switch chess controller tournament pc rpg \
                gamepad monopoly",
    },
    Kind {
        asked: "art arts paint painted painting paintings draw creative artwork",
        said: "painting paint painted drawing sketch sculpture canvas brush watercolor gallery mural \
                pottery portrait colors",
    },
    Kind {
        asked: "write writing writes written screenplay screenplays script scripts",
        said: "script screenplay story stories novel blog poem poems journal draft writing written \
                published articles essay book letter",
    },
    Kind {
        asked: "event events attend attended participate participated festival celebration celebrate \
                celebrated",
        said: "parade concert festival conference party fundraiser gala marathon fair workshop show \
                exhibition ceremony meeting march competition tournament race event wedding birthday \
                graduation",
    },
    Kind {
        asked: "volunteer volunteering charity charitable community cause causes help helped donate service",
        said: "shelter homeless donated donate charity fundraiser volunteer volunteering volunteers food \
                drive foundation nonprofit veterans community campaign raise raised",
    },
    Kind {
        asked: "feel feeling feelings emotion emotions mood",
        said: "happy sad nervous proud excited anxious scared grateful thankful stressed frustrated \
                relieved overwhelmed upset thrilled lonely glad worried",
    },
    Kind {
        asked: "personality trait traits attribute attributes character qualities describe",
        said: "kind caring thoughtful passionate brave strong honest creative supportive helpful patient \
                driven inspiring genuine real dedicated courage",
    },
    Kind {
        asked: "goal goals plan plans dream dreams ambition ambitions hope future pursue aspirations",
        said: "want goal dream hope plan planning future someday aiming thinking considering looking",
    },
    Kind {
        asked: "vehicle vehicles car cars drive",
        said: "car truck van bike motorcycle suv engine drive drove driving tire",
    },
    Kind {
        asked: "clothes clothing wear outfit fashion",
        said: "dress shirt shoes jacket hoodie jersey hat jeans suit sneakers coat wore wearing skirt",
    },
    Kind {
        asked: "weather nature natural outdoors park",
        said: "rain sunny snow storm sunset sunrise beach forest trail mountain lake waterfall hike park \
                river ocean",
    },
    Kind {
        asked: "reason why motivation motivated inspire inspired inspiration",
        said: "because inspired motivated motivates reason since wanted inspires inspiration",
    },
    Kind {
        asked: "stress cope coping therapy mental",
        said: "therapy stress relax relaxing calm calming yoga meditation therapeutic breathe clear \
                peaceful",
    },
    Kind {
        asked: "money financial finance finances",
        said: "money cost expensive budget paid pay afford loan investors funding save savings debt price \
                rent",
    },
    Kind {
        asked: "home house live lives living apartment",
        said: "house apartment moved move home room kitchen yard renovate renovation neighborhood",
    },
    Kind {
        asked: "skill skills",
        said: "teach teaching taught learned learn learning coding programming cook cooking",
    },
    Kind {
        asked: "drink drinks beverage beverages",
        said: "coffee tea beer wine juice soda cocktail lemonade smoothie milk",
    },
    Kind {
        asked: "device devices gadget gadgets technology tech equipment tool tools",
        said: "phone laptop computer tablet camera headset console keyboard monitor drone printer headphones",
    },
    Kind {
        asked: "plant plants flower flowers garden",
        said: "rose roses tulips sunflower sunflowers herbs basil tree trees vegetables seeds succulent orchid",
    },
    Kind {
        asked: "religion religious faith spiritual",
        said: "church mosque temple pray prayer bible god faith meditation",
    },
    Kind { asked: "color colour", said: "red blue green yellow purple orange pink black white" },
    Kind {
        asked: "language languages",
        said: "english spanish french german chinese japanese italian korean portuguese",
    },
    Kind {
        asked: "club clubs group groups organization organizations team join joined member",
        said: "club team group league association community organization joined member volunteers",
    },
    Kind {
        asked: "award awards prize achievement achievements accomplishment accomplishments win won",
        said: "award trophy medal prize won championship title scholarship promoted certificate winner victory",
    },
    Kind {
        asked: "challenge challenges struggle struggles difficulty difficulties obstacle obstacles",
        said: "hard tough difficult struggle struggling setback obstacle stuck frustrating failed challenging",
    },
    Kind {
        asked: "memory memories childhood",
        said: "remember childhood grew young kid memory memories reminds",
    },
    Kind {
        asked: "advice advise recommend recommended recommendation suggest suggested",
        said: "advice suggest recommend recommendation should try tips",
    },
    Kind {
        asked: "drawback fear fears afraid phobia",
        said: "afraid fear scared scary heights spiders nervous",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_told_by_what_is_one_of_it() {
        let of = |question: &str| asked(text::stems(question).iter().map(String::as_str));
        for (question, said, expected) in [
            ("Which pets does Ada have?", "turtles", true),
            ("Which pets does Ada have?", "guitar", false),
            ("What are her hobbies?", "pottery", true),
            ("Welche Haustiere hat sie?", "turtles", false),
            ("When was it?", "turtles", false),
        ] {
            let stem = text::stems(said).remove(0);
            assert_eq!(says(&of(question), &stem), expected, "{question} {said}");
        }
    }
}
