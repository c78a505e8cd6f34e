//! The words the demo's company is made of.

/// A country the company sells to.
pub struct Country {
    pub code: &'static str,
    pub region: &'static str,
    /// Share of customers, in per cent.
    pub weight: f64,
    pub dial: &'static str,
    pub domain: &'static str,
    /// The site that serves it.
    pub site: &'static str,
    pub cities: &'static [&'static str],
    pub families: &'static [&'static str],
    pub trades: &'static [&'static str],
    pub forms: &'static [&'static str],
    pub first_names: &'static [&'static str],
}

pub const COUNTRIES: &[Country] = &[
    Country {
        code: "DE",
        region: "DACH",
        weight: 38.0,
        dial: "+49",
        domain: "de",
        site: "HAM",
        cities: &[
            "Berlin", "Hamburg", "München", "Köln", "Frankfurt am Main", "Stuttgart", "Düsseldorf", "Leipzig",
            "Dortmund", "Essen", "Bremen", "Dresden", "Hannover", "Nürnberg", "Duisburg", "Münster", "Göttingen",
            "Würzburg", "Lübeck", "Saarbrücken",
        ],
        families: &[
            "Müller", "Schmidt", "Schneider", "Fischer", "Weber", "Meyer", "Wagner", "Becker", "Schulz", "Hoffmann",
            "Schäfer", "Koch", "Bauer", "Richter", "Klein", "Wolf", "Schröder", "Neumann", "Schwarz", "Zimmermann",
            "Krüger", "Hartmann", "Lange", "Werner", "Köhler", "Jäger", "Weiß", "Böhm", "Günther", "Vogel",
        ],
        trades: &[
            "Maschinenbau", "Metallbau", "Elektrotechnik", "Haustechnik", "Werkzeuge", "Schlosserei", "Holzbau",
            "Anlagenbau", "Fördertechnik", "Blechbearbeitung", "Sanitär", "Gerüstbau", "Präzisionsteile", "Antriebe",
        ],
        forms: &["GmbH", "GmbH & Co. KG", "KG", "AG", "e. K.", "OHG"],
        first_names: &[
            "Anna", "Jürgen", "Sabine", "Thomas", "Katrin", "Jörg", "Ursula", "Michael", "Birgit", "Björn", "Heike",
            "Stefan", "Julia", "Götz", "Lena", "Matthias",
        ],
    },
    Country {
        code: "FR",
        region: "France",
        weight: 16.0,
        dial: "+33",
        domain: "fr",
        site: "LYO",
        cities: &[
            "Paris", "Lyon", "Marseille", "Toulouse", "Nantes", "Bordeaux", "Lille", "Rennes", "Orléans", "Besançon",
            "Nîmes", "Saint-Étienne", "Grenoble", "Angoulême",
        ],
        families: &[
            "Lefèvre", "Martin", "Bernard", "Dubois", "Durand", "Moreau", "Girard", "Mercier", "Lambert", "Bonnet",
            "François", "Legrand", "Garnier", "Chevalier", "Clément", "Gauthier", "Perrin", "Besson", "Hébert", "Noël",
        ],
        trades: &[
            "Mécanique", "Outillage", "Électricité", "Métallerie", "Menuiserie", "Chaudronnerie", "Plomberie",
            "Usinage", "Serrurerie", "Bâtiment", "Énergie", "Manutention",
        ],
        forms: &["SARL", "SAS", "SA", "& Fils"],
        first_names: &[
            "Hélène", "François", "Élodie", "Jérôme", "Camille", "Benoît", "Chloé", "Étienne", "Sophie", "Gaël",
            "Maëlle", "Julien",
        ],
    },
    Country {
        code: "AT",
        region: "DACH",
        weight: 9.0,
        dial: "+43",
        domain: "at",
        site: "VIE",
        cities: &["Wien", "Graz", "Linz", "Salzburg", "Innsbruck", "Klagenfurt", "Sankt Pölten", "Mödling", "Kapfenberg"],
        families: &[
            "Gruber", "Huber", "Wagner", "Pichler", "Steiner", "Moser", "Mayer", "Hofer", "Leitner", "Berger",
            "Fuchs", "Eder", "Köck", "Brandstätter", "Höllerer", "Schöberl",
        ],
        trades: &[
            "Stahlbau", "Maschinenbau", "Installationen", "Zimmerei", "Elektro", "Werkzeugbau", "Spenglerei",
            "Seilbahntechnik", "Schlosserei", "Gebäudetechnik",
        ],
        forms: &["GmbH", "KG", "OG", "AG"],
        first_names: &["Johannes", "Theresa", "Günter", "Elisabeth", "Florian", "Käthe", "Lukas", "Magdalena"],
    },
    Country {
        code: "CH",
        region: "DACH",
        weight: 6.0,
        dial: "+41",
        domain: "ch",
        site: "VIE",
        cities: &["Zürich", "Genève", "Basel", "Bern", "Lausanne", "Winterthur", "Luzern", "Neuchâtel", "Fribourg", "Chur"],
        families: &[
            "Bühler", "Meier", "Keller", "Frei", "Favre", "Rochat", "Zürcher", "Brunner", "Bianchi", "Lüthi",
            "Aebischer", "Schürch",
        ],
        trades: &["Feinmechanik", "Apparatebau", "Metallbau", "Uhrentechnik", "Elektro", "Montagen", "Werkzeuge", "Ingénierie"],
        forms: &["AG", "GmbH", "SA", "Sàrl"],
        first_names: &["Urs", "Noémie", "Beat", "Regula", "Andrea", "Loïc", "Jürg", "Céline"],
    },
    Country {
        code: "PL",
        region: "Central Europe",
        weight: 9.0,
        dial: "+48",
        domain: "pl",
        site: "GDN",
        cities: &["Warszawa", "Kraków", "Łódź", "Wrocław", "Poznań", "Gdańsk", "Szczecin", "Toruń", "Białystok", "Gdynia"],
        families: &[
            "Kowalski", "Nowak", "Wiśniewski", "Wójcik", "Kamiński", "Lewandowski", "Zieliński", "Szymański",
            "Woźniak", "Dąbrowski", "Król", "Jabłoński", "Wróbel", "Pawłowski",
        ],
        trades: &["Maszyny", "Narzędzia", "Stal", "Elektryka", "Budownictwo", "Hydraulika", "Ślusarstwo", "Metal", "Technika"],
        forms: &["sp. z o.o.", "S.A.", "sp. j."],
        first_names: &["Łukasz", "Agnieszka", "Paweł", "Małgorzata", "Michał", "Zofia", "Grażyna", "Krzysztof"],
    },
    Country {
        code: "SE",
        region: "Nordics",
        weight: 5.0,
        dial: "+46",
        domain: "se",
        site: "HAM",
        cities: &["Stockholm", "Göteborg", "Malmö", "Uppsala", "Västerås", "Örebro", "Linköping", "Umeå", "Gävle"],
        families: &["Johansson", "Andersson", "Karlsson", "Lindström", "Bergström", "Öberg", "Sjögren", "Nyström", "Åkesson", "Hägg"],
        trades: &["Mekanik", "Verktyg", "El", "Smide", "Bygg", "Industri", "Svets", "Rör"],
        forms: &["AB", "HB"],
        first_names: &["Åsa", "Björn", "Märta", "Göran", "Elin", "Sören", "Linnéa", "Håkan"],
    },
    Country {
        code: "DK",
        region: "Nordics",
        weight: 4.0,
        dial: "+45",
        domain: "dk",
        site: "HAM",
        cities: &["København", "Aarhus", "Odense", "Aalborg", "Esbjerg", "Randers", "Køge", "Sønderborg"],
        families: &["Sørensen", "Jørgensen", "Nielsen", "Mølgaard", "Rasmussen", "Kjær", "Thygesen", "Østergaard"],
        trades: &["Maskiner", "Værktøj", "El", "Smedje", "Byg", "Industri", "Køling"],
        forms: &["A/S", "ApS", "I/S"],
        first_names: &["Søren", "Mette", "Jørgen", "Kirsten", "Anders", "Bodil", "Rasmus", "Åse"],
    },
    Country {
        code: "NL",
        region: "Benelux",
        weight: 6.0,
        dial: "+31",
        domain: "nl",
        site: "HAM",
        cities: &["Amsterdam", "Rotterdam", "Utrecht", "Eindhoven", "Groningen", "Tilburg", "Breda", "'s-Hertogenbosch"],
        families: &["de Vries", "van den Berg", "Jansen", "Bakker", "Visser", "Smit", "Meijer", "de Groot", "Mulder", "Dekker"],
        trades: &["Techniek", "Gereedschap", "Metaal", "Machines", "Installatie", "Bouw", "Lastechniek", "Elektro"],
        forms: &["B.V.", "V.O.F.", "N.V."],
        first_names: &["Sanne", "Joris", "Anouk", "Pieter", "Renée", "Daan", "Marijke", "Thijs"],
    },
    Country {
        code: "IT",
        region: "Southern Europe",
        weight: 4.0,
        dial: "+39",
        domain: "it",
        site: "LYO",
        cities: &["Milano", "Torino", "Bologna", "Verona", "Genova", "Forlì", "Brescia", "Trento"],
        families: &["Rossi", "Ferrari", "Bianchi", "Colombo", "Ricci", "Marino", "D'Angelo", "Galli", "Niccolò", "Fontana"],
        trades: &["Meccanica", "Utensili", "Impianti", "Officine", "Elettrica", "Carpenteria", "Idraulica"],
        forms: &["S.r.l.", "S.p.A.", "S.n.c."],
        first_names: &["Giulia", "Niccolò", "Marco", "Chiara", "Andrea", "Letizia", "Matteo", "Elisa"],
    },
    Country {
        code: "ES",
        region: "Southern Europe",
        weight: 3.0,
        dial: "+34",
        domain: "es",
        site: "LYO",
        cities: &["Madrid", "Barcelona", "València", "Málaga", "Sevilla", "A Coruña", "Cádiz", "León", "Logroño"],
        families: &["García", "Fernández", "González", "Rodríguez", "López", "Martínez", "Muñoz", "Ibáñez", "Núñez", "Peña"],
        trades: &["Mecánica", "Herramientas", "Electricidad", "Metálicas", "Construcción", "Fontanería", "Soldadura"],
        forms: &["S.L.", "S.A.", "Hermanos"],
        first_names: &["Begoña", "Íñigo", "José", "María", "Óscar", "Inés", "Álvaro", "Nuria"],
    },
];

/// A group of items, with what its names are made of.
pub struct Category {
    pub name: &'static str,
    pub prefix: &'static str,
    /// Share of SKUs, in per cent.
    pub weight: f64,
    /// Typical price in cents.
    pub price: i64,
    pub unit: &'static str,
    pub nouns: &'static [&'static str],
    pub sizes: &'static [&'static str],
    pub kinds: &'static [&'static str],
}

pub const CATEGORIES: &[Category] = &[
    Category {
        name: "Fasteners",
        prefix: "FA",
        weight: 26.0,
        price: 900,
        unit: "box",
        nouns: &["Hex bolt", "Socket screw", "Wood screw", "Threaded rod", "Lock nut", "Washer", "Blind rivet", "Anchor"],
        sizes: &["M4×16", "M5×20", "M6×30", "M8×40", "M8×60", "M10×50", "M10×80", "M12×60", "M12×100", "M16×80", "M16×120", "M20×100"],
        kinds: &["zinc-plated", "stainless A2", "stainless A4", "black oxide", "hot-dip galvanised", "brass"],
    },
    Category {
        name: "Hand tools",
        prefix: "HT",
        weight: 14.0,
        price: 2_900,
        unit: "piece",
        nouns: &["Combination spanner", "Torque wrench", "Screwdriver", "Pliers", "Hammer", "File", "Chisel", "Hacksaw", "Socket set"],
        sizes: &["8 mm", "10 mm", "13 mm", "17 mm", "19 mm", "24 mm", "150 mm", "200 mm", "250 mm", "300 mm"],
        kinds: &["Classic", "Pro", "insulated 1000 V", "titan coated", "compact"],
    },
    Category {
        name: "Power tools",
        prefix: "PT",
        weight: 6.0,
        price: 24_900,
        unit: "piece",
        nouns: &["Cordless drill", "Angle grinder", "Impact driver", "Jigsaw", "Rotary hammer", "Circular saw", "Sander"],
        sizes: &["12 V", "18 V", "36 V", "230 V 800 W", "230 V 1200 W", "230 V 1800 W"],
        kinds: &["body only", "with 2 batteries", "in case", "brushless", "Pro"],
    },
    Category {
        name: "Electrical",
        prefix: "EL",
        weight: 15.0,
        price: 1_800,
        unit: "piece",
        nouns: &["Circuit breaker", "Contactor", "Terminal block", "Cable gland", "Junction box", "Relay", "Motor switch"],
        sizes: &["6 A", "10 A", "16 A", "25 A", "32 A", "63 A", "M20", "M25", "2.5 mm²", "4 mm²"],
        kinds: &["1-pole", "3-pole", "IP55", "IP67", "DIN rail", "type B", "type C"],
    },
    Category {
        name: "Cables",
        prefix: "CA",
        weight: 8.0,
        price: 5_400,
        unit: "roll",
        nouns: &["Installation cable", "Control cable", "Rubber cable", "Data cable", "Solar cable"],
        sizes: &["3G1.5", "3G2.5", "5G1.5", "5G2.5", "5G6", "12×0.75", "Cat 7"],
        kinds: &["50 m", "100 m", "500 m", "halogen-free 50 m", "halogen-free 100 m", "UV-resistant 100 m"],
    },
    Category {
        name: "Pneumatics",
        prefix: "PN",
        weight: 7.0,
        price: 4_200,
        unit: "piece",
        nouns: &["Push-in fitting", "Cylinder", "Solenoid valve", "Air hose", "Regulator", "Silencer"],
        sizes: &["G1/8", "G1/4", "G3/8", "G1/2", "Ø 6 mm", "Ø 8 mm", "Ø 12 mm"],
        kinds: &["brass", "stainless", "polymer", "10 bar", "16 bar"],
    },
    Category {
        name: "Bearings and drives",
        prefix: "BD",
        weight: 8.0,
        price: 3_300,
        unit: "piece",
        nouns: &["Ball bearing", "Roller bearing", "Timing belt", "V-belt", "Chain", "Sprocket", "Coupling"],
        sizes: &["6000", "6204", "6305", "6308", "SPA 1250", "SPB 1800", "08B", "10B", "16B"],
        kinds: &["open", "2RS", "ZZ", "C3", "heavy duty"],
    },
    Category {
        name: "Safety",
        prefix: "SA",
        weight: 8.0,
        price: 2_200,
        unit: "pair",
        nouns: &["Work gloves", "Safety shoes S3", "Safety goggles", "Ear defenders", "Hard hat", "Fall harness"],
        sizes: &["S", "M", "L", "XL", "39", "41", "43", "45", "one size"],
        kinds: &["cut-resistant", "winter", "antistatic", "high visibility", "light"],
    },
    Category {
        name: "Chemicals",
        prefix: "CH",
        weight: 5.0,
        price: 1_400,
        unit: "can",
        nouns: &["Cutting oil", "Grease", "Silicone sealant", "Thread locker", "Cleaner", "Zinc spray"],
        sizes: &["50 ml", "310 ml", "400 ml", "1 l", "5 l", "20 l"],
        kinds: &["universal", "food grade", "high temperature", "bio", "white"],
    },
    Category {
        name: "Storage",
        prefix: "ST",
        weight: 3.0,
        price: 14_900,
        unit: "piece",
        nouns: &["Shelf unit", "Workbench", "Tool trolley", "Storage bin", "Pallet box", "Cabinet"],
        sizes: &["600×400", "800×600", "1000×400", "1200×800", "1500×700", "2000×600"],
        kinds: &["grey", "blue", "galvanised", "lockable", "ESD"],
    },
];

/// Code, city and country of each site.
pub const SITES: &[(&str, &str, &str)] =
    &[("HAM", "Hamburg", "DE"), ("LYO", "Lyon", "FR"), ("VIE", "Wien", "AT"), ("GDN", "Gdańsk", "PL")];

pub const SALESPEOPLE: &[&str] = &[
    "Jana Köhler", "Peter Brandt", "Inès Moreau", "Luc Fabre", "Tomasz Zieliński", "Maja Lindqvist", "Karin Hofer",
    "Daniel Frei", "Sofie Nørgaard", "Bram de Wit", "Elena Conti", "Raúl Peña",
];

pub const ROLES: &[(&str, f64)] = &[
    ("Purchasing", 45.0), ("Managing director", 20.0), ("Workshop", 18.0), ("Accounting", 12.0), ("Logistics", 5.0),
];

/// What was done, how often, and what it was about.
pub const ACTIVITIES: &[(&str, f64, &[&str])] = &[
    ("call", 42.0, &["Reorder reminder", "Question about delivery date", "Price enquiry", "Introduced new catalogue", "Follow-up on offer"]),
    ("email", 30.0, &["Offer sent", "Order confirmation queried", "Data sheet requested", "New contact announced", "Newsletter feedback"]),
    ("visit", 10.0, &["Annual review", "Workshop tour", "Kanban shelf installed", "Frame contract discussed"]),
    ("offer", 12.0, &["Frame contract", "Volume discount", "Tool trolley promotion", "Machine equipment"]),
    ("complaint", 6.0, &["Late delivery", "Wrong item delivered", "Damaged packaging", "Invoice does not match order", "Quality of fasteners"]),
];
