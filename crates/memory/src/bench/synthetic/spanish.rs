//! Spanish.

use super::{Chain, Deed, Fact, Phrases};

pub(super) const PHRASES: Phrases = Phrases {
    name: "spanish",
    facts: FACTS,
    deeds: DEEDS,
    chains: CHAINS,
    people: &["Araceli", "Bartolomé", "Candela", "Donato", "Eulalia", "Fermín", "Graciela", "Hilario"],
    places: &["Cádiz", "Rosario", "Oaxaca", "Cuenca", "Valparaíso", "Girona", "Mérida", "Arequipa"],
    professions: &["carpintera", "cirujano", "pastelero", "geóloga", "conductor de tranvía", "notaria"],
    fillers: &[
        ("¿Algo más?", "No mucho, fue un día tranquilo."),
        ("¿Qué tal salió?", "Salió bien, gracias por preguntar."),
        ("¿Miramos la lista?", "Sí, mejor después de comer."),
        ("He cambiado el recordatorio.", "Perfecto, así está mejor."),
        ("Hará buen tiempo el fin de semana.", "Qué bien, quizá salgamos."),
        ("¿Quieres un resumen?", "Uno corto estaría bien."),
        ("Encontré tres artículos.", "Mándame el segundo, por favor."),
        ("Hoy tienes dos reuniones.", "Cancela la primera si puedes."),
        ("¿Hay una fecha límite?", "Creo que es la semana que viene."),
        ("Puedo escribir el mensaje.", "Claro, que sea amable."),
    ],
    month: |month, year| format!("en {} de {year}", MONTHS[month]),
};

const MONTHS: [&str; 12] = [
    "enero",
    "febrero",
    "marzo",
    "abril",
    "mayo",
    "junio",
    "julio",
    "agosto",
    "septiembre",
    "octubre",
    "noviembre",
    "diciembre",
];

const FACTS: &[Fact] = &[
    Fact {
        asks: "¿De qué raza es tu perro?",
        says: "Nuestro perro es un {}.",
        changes: "El veterinario dice que el perro es un {}, no lo que creíamos.",
        question: "¿De qué raza es mi perro?",
        values: &["beagle", "galgo", "corgi", "caniche"],
    },
    Fact {
        asks: "¿Qué medicamento te recetó el médico?",
        says: "El médico me recetó {}.",
        changes: "Me mareaba, así que el médico me cambió el medicamento por {}.",
        question: "¿Qué medicamento tomo?",
        values: &["enalapril", "losartán", "amlodipino", "ramipril"],
    },
    Fact {
        asks: "¿Adónde viajan en otoño?",
        says: "En otoño viajamos a {}.",
        changes: "Los vuelos eran caros, el viaje de otoño será a {}.",
        question: "¿Cuál es el destino de nuestro viaje de otoño?",
        values: &["Islandia", "Marruecos", "Vietnam", "Ecuador"],
    },
    Fact {
        asks: "¿Qué base de datos usa la facturación?",
        says: "La facturación funciona con la base de datos {}.",
        changes: "Migramos la facturación, ahora usa {}.",
        question: "¿Qué base de datos usa la facturación?",
        values: &["PostgreSQL", "MySQL", "Oracle", "SQLite"],
    },
    Fact {
        asks: "¿Qué talla de zapatillas usas?",
        says: "Compré zapatillas de la talla {}.",
        changes: "Las zapatillas apretaban, las cambié por la talla {}.",
        question: "¿Qué talla de zapatillas tengo?",
        values: &["43", "44", "42", "45"],
    },
    Fact {
        asks: "¿Tienes alergia a algún alimento?",
        says: "Soy alérgica a {}.",
        changes: "Llegó el análisis: mi alergia es a {}.",
        question: "¿Qué alergia tengo?",
        values: &["las nueces", "el marisco", "el sésamo", "el apio"],
    },
    Fact {
        asks: "¿De qué color van las paredes de la cocina?",
        says: "Pintamos la cocina de {}.",
        changes: "Lo pensamos mejor, la cocina será de color {}.",
        question: "¿De qué color será la cocina?",
        values: &["terracota", "verde salvia", "azul marino", "mostaza"],
    },
    Fact {
        asks: "¿Quién dirige la revisión de incidentes?",
        says: "{} dirige la revisión de incidentes.",
        changes: "Hubo un relevo, {} lleva las revisiones de incidentes desde ahora.",
        question: "¿Quién lleva las revisiones de incidentes?",
        values: &["Priya", "Marcos", "Ingrid", "Tobías"],
    },
];

const DEEDS: &[Deed] = &[
    Deed {
        says: "Anoche terminé de leer {}.",
        question: "¿Qué libro terminé {}?",
        values: &["Rayuela", "Ficciones", "Nada", "La colmena", "Pedro Páramo", "El túnel"],
    },
    Deed {
        says: "Subimos de excursión hasta {} y fue precioso.",
        question: "¿Adónde fuimos de excursión {}?",
        values: &["el risco", "el molino", "la laguna", "el faro", "el barranco", "la cantera"],
    },
    Deed {
        says: "El despliegue volvió a fallar por {}.",
        question: "¿Por qué falló el despliegue {}?",
        values: &[
            "un certificado caducado",
            "un disco lleno",
            "una bandera equivocada",
            "una consulta lenta",
            "un reloj atrasado",
            "una mala fusión",
        ],
    },
];

const CHAINS: &[Chain] = &[
    Chain {
        first: "Mi prima {who} se mudó a {where}.",
        second: "{who} trabaja ahora de {what}.",
        question: "¿En qué trabaja mi prima de {where}?",
    },
    Chain {
        first: "La asesora que mandaron se llama {who}.",
        second: "{who} se crio en {where}, por cierto.",
        question: "¿Dónde se crio nuestra asesora?",
    },
];
