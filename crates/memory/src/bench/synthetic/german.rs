//! German.

use super::{Chain, Deed, Fact, Phrases};

pub(super) const PHRASES: Phrases = Phrases {
    name: "german",
    facts: FACTS,
    deeds: DEEDS,
    chains: CHAINS,
    people: &["Annegret", "Burkhard", "Cosima", "Detlef", "Edeltraud", "Friedemann", "Gudrun", "Hannes"],
    places: &["Rostock", "Graz", "Flensburg", "Bern", "Cottbus", "Luzern", "Passau", "Bremerhaven"],
    professions: &["Tischlerin", "Chirurg", "Konditor", "Geologin", "Busfahrer", "Notarin"],
    fillers: &[
        ("Gibt es sonst noch etwas?", "Nein, heute war ein ruhiger Tag."),
        ("Wie ist es gelaufen?", "Ganz gut, danke der Nachfrage!"),
        ("Sollen wir die Liste durchgehen?", "Ja, gern nach dem Mittagessen."),
        ("Ich habe die Erinnerung verschoben.", "Prima, so passt es besser."),
        ("Das Wetter wird am Wochenende gut.", "Schön, dann gehen wir vielleicht raus."),
        ("Möchten Sie eine Zusammenfassung?", "Eine kurze wäre gut."),
        ("Ich habe drei Artikel dazu gefunden.", "Bitte schick mir den zweiten."),
        ("Heute stehen zwei Termine an.", "Sag den ersten bitte ab, wenn es geht."),
        ("Gibt es eine Frist?", "Irgendwann nächste Woche, glaube ich."),
        ("Ich kann die Nachricht entwerfen.", "Klar, schreib sie freundlich."),
    ],
    month: |month, year| format!("im {} {year}", MONTHS[month]),
};

const MONTHS: [&str; 12] = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
];

const FACTS: &[Fact] = &[
    Fact {
        asks: "Welche Rasse hat Ihr Hund?",
        says: "Unser Hund ist ein {}.",
        changes: "Der Züchter hat sich geirrt, der Hund ist ein {}.",
        question: "Welche Rasse ist mein Hund?",
        values: &["Beagle", "Windhund", "Dackel", "Pudel"],
    },
    Fact {
        asks: "Welches Medikament hat der Arzt verschrieben?",
        says: "Der Arzt hat mir {} verschrieben.",
        changes: "Mir wurde davon schwindlig, jetzt nehme ich das Medikament {}.",
        question: "Welches Medikament nehme ich?",
        values: &["Ramipril", "Bisoprolol", "Candesartan", "Amlodipin"],
    },
    Fact {
        asks: "Wohin soll die Herbstreise gehen?",
        says: "Unsere Herbstreise geht nach {}.",
        changes: "Die Flüge waren zu teuer, die Herbstreise geht nun nach {}.",
        question: "Was ist das Ziel unserer Herbstreise?",
        values: &["Island", "Marokko", "Vietnam", "Ecuador"],
    },
    Fact {
        asks: "Auf welcher Datenbank läuft die Abrechnung?",
        says: "Die Abrechnung läuft auf {}.",
        changes: "Wir haben die Abrechnung umgezogen, sie läuft jetzt auf {}.",
        question: "Welche Datenbank nutzt die Abrechnung?",
        values: &["PostgreSQL", "MySQL", "Oracle", "SQLite"],
    },
    Fact {
        asks: "Welche Größe haben Ihre Laufschuhe?",
        says: "Ich habe Laufschuhe in Größe {} gekauft.",
        changes: "Die Schuhe drückten, ich habe sie gegen Größe {} getauscht.",
        question: "Welche Größe haben meine Laufschuhe?",
        values: &["43", "44", "42", "45"],
    },
    Fact {
        asks: "Gegen welches Lebensmittel sind Sie allergisch?",
        says: "Ich bin allergisch gegen {}.",
        changes: "Der Test sagt etwas anderes: meine Allergie richtet sich gegen {}.",
        question: "Welche Allergie habe ich?",
        values: &["Walnüsse", "Krebstiere", "Sesam", "Sellerie"],
    },
    Fact {
        asks: "Welche Farbe bekommen die Küchenwände?",
        says: "Die Küchenwände streichen wir {}.",
        changes: "Wir haben es uns anders überlegt, die Küche wird {}.",
        question: "Welche Farbe bekommt die Küche?",
        values: &["terrakotta", "salbeigrün", "dunkelblau", "senfgelb"],
    },
    Fact {
        asks: "Wer leitet die Nachbesprechung der Störungen?",
        says: "{} leitet die Nachbesprechung der Störungen.",
        changes: "Es gab eine Übergabe, {} leitet die Nachbesprechungen ab jetzt.",
        question: "Wer leitet die Nachbesprechungen?",
        values: &["Priya", "Markus", "Ingrid", "Tobias"],
    },
];

const DEEDS: &[Deed] = &[
    Deed {
        says: "Gestern Abend habe ich das Buch {} zu Ende gelesen.",
        question: "Welches Buch habe ich {} zu Ende gelesen?",
        values: &["Buddenbrooks", "Effi Briest", "Stiller", "Tauben im Gras", "Momo", "Siddhartha"],
    },
    Deed {
        says: "Wir sind zum {} gewandert, herrlich war das.",
        question: "Wohin sind wir {} gewandert?",
        values: &["Adlerfelsen", "Mühlbach", "Wolfsee", "Leuchtturm", "Farnkessel", "Steinbruch"],
    },
    Deed {
        says: "Die Auslieferung ist wieder gescheitert, Grund war {}.",
        question: "Warum ist die Auslieferung {} gescheitert?",
        values: &[
            "ein abgelaufenes Zertifikat",
            "eine volle Platte",
            "ein falscher Schalter",
            "eine langsame Abfrage",
            "eine falsche Uhr",
            "ein schlechter Merge",
        ],
    },
];

const CHAINS: &[Chain] = &[
    Chain {
        first: "Meine Kusine {who} ist nach {where} gezogen.",
        second: "{who} arbeitet inzwischen als {what}.",
        question: "Was arbeitet meine Kusine in {where}?",
    },
    Chain {
        first: "Die Beraterin, die sie geschickt haben, heißt {who}.",
        second: "{who} ist übrigens in {where} aufgewachsen.",
        question: "Wo ist unsere Beraterin aufgewachsen?",
    },
];
