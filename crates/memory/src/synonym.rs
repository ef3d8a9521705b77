//! Words that stand for each other in ordinary talk: short forms, other spellings, and what families and trades say
//! every day. Not what is merely alike: that is what vectors are for.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::text;

/// Each line a group of words of which any may stand for any other.
const GROUPS: &str = "\
mother mom mum mama mommy mummy
father dad papa daddy
child kid
grandmother grandma granny nana
grandfather grandpa granddad
husband hubby
teenager teen
photograph photo picture pic
movie film
television tv telly
bicycle bike
motorcycle motorbike
car automobile
airplane aeroplane plane aircraft
refrigerator fridge
telephone phone smartphone cellphone
sofa couch
taxi cab
trousers pants
garbage trash rubbish
hamburger burger
vegetable veggie veg
barbecue barbeque bbq
doughnut donut
veterinarian vet
doctor physician
professor prof
champion champ
influenza flu
ill sick
dog doggy doggo
puppy pup
rabbit bunny
university college uni
laboratory lab
examination exam
mathematics math
vacation holiday
trip journey
birthday bday
gift present
job occupation profession
company firm
shop store
bookstore bookshop
buy purchase
begin start
information info
message msg
application app
advertisement advert ad
developer dev
administrator admin
documentation docs
configuration config
repository repo
database db
specification spec
production prod
kubernetes k8s
postgresql postgres
javascript js
typescript ts
favorite favourite fave
color colour
flavor flavour
humor humour
behavior behaviour
neighbor neighbour
neighborhood neighbourhood
theater theatre
center centre
program programme
organize organise
organization organisation
realize realise
recognize recognise
apologize apologise
analyze analyse
traveled travelled
canceled cancelled
counselor counsellor
jewelry jewellery
pajamas pyjamas
mustache moustache
gray grey
cozy cosy
tire tyre
two 2
three 3
four 4
five 5
six 6
seven 7
eight 8
nine 9
ten 10
eleven 11
twelve 12
Mutter Mama Mutti
Vater Papa Vati
Großmutter Oma
Großvater Opa
Arzt Doktor
Krankenhaus Klinik Spital
Firma Unternehmen
Beruf Job
Mannschaft Team
Handy Smartphone Mobiltelefon
Rechner Computer
Fernseher TV
Foto Bild
Universität Uni
Urlaub Ferien
Samstag Sonnabend
kaufen erwerben
beginnen anfangen
madre mamá
padre papá
abuela abuelita
abuelo abuelito
coche carro
móvil celular
ordenador computadora
foto fotografía
televisión tele
bicicleta bici
película peli
profesor profe
médico doctor
apartamento departamento
empresa compañía
comprar adquirir
empezar comenzar
mère maman
père papa
voiture bagnole
vélo bicyclette
photo photographie
télévision télé
réfrigérateur frigo
restaurant resto
ordinateur ordi
appartement appart
médecin docteur
entreprise société
travail boulot
commencer débuter
妈妈 母亲
爸爸 父亲
奶奶 祖母
爷爷 祖父
孩子 小孩
医生 大夫
照片 相片
公司 企业
餐厅 饭店";

static SYNONYMS: LazyLock<HashMap<String, Vec<String>>> = LazyLock::new(|| {
    let mut synonyms: HashMap<String, Vec<String>> = HashMap::new();
    for group in GROUPS.lines() {
        let stems = text::stems(group);
        for stem in &stems {
            let known = synonyms.entry(stem.clone()).or_default();
            for other in stems.iter().filter(|other| *other != stem) {
                if !known.contains(other) {
                    known.push(other.clone());
                }
            }
        }
    }
    synonyms
});

/// The terms that may stand for a term.
pub(crate) fn of(term: &str) -> &'static [String] {
    SYNONYMS.get(term).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_word_stands_for_each_of_its_groups() {
        for (term, others) in [
            ("mom", "mother mum mama mommy mummy"),
            ("Papa", "father dad daddy Vater Vati padre père"),
            ("母亲", "妈妈"),
            ("colours", "color"),
            ("zebra", ""),
        ] {
            let term = text::stems(term).remove(0);
            assert_eq!(of(&term), text::stems(others), "{term}");
        }
    }

    #[test]
    fn no_term_stands_for_another_twice() {
        let repeats = |others: &Vec<String>| others.iter().collect::<HashSet<_>>().len() < others.len();
        let repeated: Vec<&String> =
            SYNONYMS.iter().filter(|(_, others)| repeats(others)).map(|(term, _)| term).collect();
        assert_eq!(repeated, Vec::<&String>::new());
    }

    #[test]
    fn every_word_is_one_term_and_none_is_said_twice() {
        let is_amiss = |group: &&str| {
            let (words, stems) = (group.split(' ').count(), text::stems(group));
            words < 2 || stems.len() != words || stems.iter().collect::<HashSet<_>>().len() != words
        };
        assert_eq!(GROUPS.lines().filter(is_amiss).collect::<Vec<_>>(), Vec::<&str>::new());
    }
}
