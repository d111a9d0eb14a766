"""Word tables of `trax_triplet.sample`: data only, written for this package.

`FAMILIES[topic]` is (slots, intents). `slots[letter]` lists the objects that fill {a} or {b}:
separated by commas, with `|` between names of one object. `intents[name]` lists sentence forms, one
a line, all asking the same thing; `[x|y]` stands for either x or y. Two slots with one list are
roles that can be swapped.
"""

_SKILLS = """Spanish, French, German, Italian, Portuguese, Russian, Arabic, Japanese, Korean, Hindi, Turkish,
Latin, Mandarin|Mandarin Chinese, sign language, Python, Java, JavaScript|JS, SQL, Rust, machine learning|ML,
chess, yoga, web development|web dev, calculus, statistics|stats, algebra, physics, chemistry, drawing,
painting, ballet, the piano, the guitar|guitar, the violin, the cello, photography, swimming,
public speaking, knitting"""

_DISHES = """lasagna|lasagne, mac and cheese|macaroni and cheese, chicken soup, beef stew, fried rice,
apple pie, quiche, banana bread, pumpkin pie, tomato soup, onion soup, potato salad, paella, risotto, ramen,
sushi, guacamole, hummus, chili con carne, pizza, cheesecake, carrot cake, meatloaf, chicken curry, pad thai,
goulash, ratatouille, moussaka, coleslaw, tiramisu, sourdough bread|sourdough, gingerbread, kimchi, pesto,
gumbo, biryani, carbonara|spaghetti carbonara, spaghetti bolognese|spag bol, barbecue chicken|BBQ chicken,
French toast"""

_CITIES = """London, Paris, Berlin, Rome, Madrid, Barcelona, Lisbon, Vienna, Prague, Budapest, Athens,
Istanbul, Moscow, Dublin, Amsterdam, Copenhagen, Stockholm, Tokyo, Kyoto, Seoul, Beijing, Bangkok, Singapore,
Sydney, Toronto, Chicago, New York|NYC|New York City, Los Angeles|LA, San Francisco|SF, Las Vegas|Vegas,
Washington|Washington DC, Marrakesh, Ho Chi Minh City|Saigon, Mumbai|Bombay, Kolkata|Calcutta,
Rio de Janeiro|Rio, Cairo, Cape Town, Havana, Lima"""

_PROGRAMS = """Excel|Microsoft Excel, PowerPoint|Microsoft PowerPoint, Outlook|Microsoft Outlook,
Photoshop|Adobe Photoshop, Illustrator|Adobe Illustrator, Chrome|Google Chrome, Firefox|Mozilla Firefox,
VS Code|Visual Studio Code, Opera, Zoom, VLC|VLC media player, Acrobat|Adobe Acrobat, Skype, Slack, Discord,
WhatsApp, Telegram, Spotify, Steam, Dropbox, OneDrive, Google Drive, PyCharm, Eclipse, Blender, GIMP,
Audacity, Notion, Evernote, AutoCAD, LibreOffice, Docker, Thunderbird, Minecraft, Instagram, TikTok, Krita,
Inkscape"""

_CONDITIONS = """back pain|backache, insomnia|sleeplessness, acne, asthma, hay fever|a pollen allergy,
anxiety, a sore throat, heartburn|acid reflux, high blood pressure|hypertension,
low blood pressure|hypotension, a cold|a common cold, a cough, the flu|influenza, a fever|a high temperature,
a headache, a migraine, a toothache, an earache, neck pain, knee pain, shoulder pain, dry skin, eczema,
psoriasis, dandruff, a sunburn, food poisoning, constipation, diarrhea, a hangover, arthritis, anemia,
a sinus infection|sinusitis, tennis elbow, a sprained ankle|a twisted ankle, tinnitus|ringing in the ears,
motion sickness|travel sickness, high cholesterol, jet lag"""

_GOODS = """a car, a laptop, a bike|a bicycle, a motorbike|a motorcycle, a TV|a television,
a fridge|a refrigerator, a sofa|a couch, a phone|a cell phone|a mobile phone, a guitar, a piano, a camera,
a drone, a tent, a boat, a washing machine|a washer, a suit, a dishwasher, a vacuum cleaner|a vacuum,
a mattress, an engagement ring, a wedding dress, a watch, a violin, a printer, a desk, an office chair,
a coffee machine|a coffee maker, an oven, a microwave|a microwave oven, a lawn mower, a treadmill,
a surfboard, a telescope, a backpack|a rucksack, an air conditioner|an AC unit, a stroller|a pushchair,
a tablet, a game console|a gaming console, a sewing machine"""

_JOBS = """a nurse, a doctor|a physician, a lawyer|an attorney, an accountant, a pilot|an airline pilot,
a teacher|a schoolteacher, a software engineer|a software developer, a data scientist, a graphic designer,
an architect, a dentist, a pharmacist, a chef, a journalist|a reporter, a translator, a police officer|a cop,
a firefighter, a paramedic, an electrician, a plumber, a carpenter, a car mechanic|an auto mechanic,
a flight attendant, a vet|a veterinarian, a psychologist, a physiotherapist|a physical therapist,
a social worker, a librarian, an actor, a photographer, a judge, a civil engineer, an economist,
a real estate agent|a realtor, a truck driver|a lorry driver, a bus driver, a hairdresser, a midwife,
a project manager"""

_PETS = """dogs, cats, hamsters, guinea pigs, rabbits|bunnies, parrots, budgies|budgerigars, canaries,
goldfish, turtles, tortoises, ferrets, gerbils, chinchillas, rats, mice, geckos, iguanas, corn snakes, horses,
ponies, goats, sheep, pigs, chickens, ducks, geese, alpacas, donkeys, hedgehogs, cockatiels, finches, pigeons,
tarantulas, llamas, hermit crabs, axolotls, bearded dragons, betta fish|bettas"""

_PLANTS = """tomatoes, roses, orchids, tulips, sunflowers, strawberries, potatoes, carrots, onions,
bell peppers|sweet peppers, pumpkins, cucumbers, courgettes|zucchinis, raspberries, blueberries, blackberries,
peas, green beans|string beans, aubergines|eggplants, radishes, beets|beetroots, leeks, daffodils, lilies,
daisies, geraniums|pelargoniums, hydrangeas, azaleas, begonias, peonies, succulents, cacti|cactuses, ferns,
lemon trees, apple trees, fig trees, olive trees, cherry trees, sweet potatoes, melons"""

_FORMATS = "PDF, Word, HTML, Markdown, LaTeX, EPUB, PowerPoint, Excel, CSV, JSON, XML"
_HOMES = (
    "London, Paris, Berlin, New York|NYC, Tokyo, Sydney, Toronto, Dubai, Los Angeles|LA, Singapore"
)
_FIELDS = """nursing, teaching, accounting, marketing, sales, engineering, law, journalism, banking,
consulting, human resources|HR"""
_CARRIERS = "dogs, cats, rabbits, rats, chickens, pigs, horses, cows, bats, monkeys, humans|people"
_EATERS = (
    "dogs, cats, rabbits|bunnies, hamsters, guinea pigs, parrots, rats, horses, goats, turtles"
)
_FOODS = """apples, bananas, grapes, carrots, cheese, bread, rice, chocolate, peanuts, eggs, tomatoes, onions,
strawberries, popcorn, honey, mushrooms, spinach, yogurt, oranges, celery"""

FAMILIES = {
    "learning": (
        {"a": _SKILLS},
        {
            "begin": """How [do|should|can] I start learning {a}?
            What is the best way to [start learning|begin with] {a}?
            Where [should|do] I begin if I want to learn {a}?
            I want to learn {a}. [How do I start|What should I do first]?
            [Could you tell me|Can anyone explain] how to get started with {a}?
            Which first steps would you recommend to someone who wants to learn {a}?
            [Getting started with|First steps in] {a}: what should I do?""",
            "time": """How long does it take to [learn|get good at] {a}?
            How [much time|many months] [will I need|does it take] to learn {a}?
            How [quickly|fast] can {a} be learned?
            How soon could I be good at {a} if I start [now|today]?
            I want to learn {a}. How [long will it take|much time do I need]?
            What is a realistic time frame for learning {a}?
            Can you [tell me|estimate] how long it takes to become good at {a}?""",
            "difficulty": """How [hard|difficult] is it to learn {a}?
            Is {a} [hard|difficult|tough] to learn?
            Is learning {a} [really that hard|as difficult as people say]?
            I want to learn {a}. Is it [hard|difficult]?
            Do most people find it [hard|difficult] to learn {a}?
            How [easy|tough] is {a} for a beginner?""",
            "book": """[What is|What's] the best book [to learn|for learning] {a}?
            Which book should I [read|buy] to learn {a}?
            What [are some good|are the best] books about {a} for beginners?
            Can you recommend a good [book|textbook] for learning {a}?
            I want to learn {a}. Which book should I [get|start with]?
            [Best book|Good textbook] for {a}?""",
        },
    ),
    "cooking": (
        {"a": _DISHES},
        {
            "make": """How do [I|you] make {a} at home?
            [What is|What's] the best [way to make|recipe for] {a}?
            How is homemade {a} [made|prepared]?
            Can [you|anyone] [share|give me] a good recipe for {a}?
            I am making {a} for the first time. How [do I make it|is it done]?
            [Simple|Easy] recipe for {a}?
            Could someone [explain|tell me] how to prepare {a}?""",
            "keep": """How long does {a} [keep|last|stay good] in the [fridge|refrigerator]?
            How many days can I [keep|store] {a} in the fridge?
            After how many days in the fridge does {a} [go bad|spoil]?
            When does leftover {a} [go bad|spoil]?
            I made too much {a}. How long can I keep [the rest|it in the fridge]?
            What is the shelf life of {a} in the [fridge|refrigerator]?""",
            "freeze": """Can [I|you] freeze {a}?
            Is it [OK|possible|a good idea] to freeze {a}?
            Can {a} be [frozen|kept in the freezer]?
            Does {a} [freeze well|survive the freezer]?
            I made too much {a}. Can I [freeze the rest|put it in the freezer]?
            Is leftover {a} [suitable|good] for freezing?
            Can I [keep|store] {a} in the freezer?""",
            "serve": """What [should I serve|goes well] with {a}?
            Which [side dishes|sides] go [best|well] with {a}?
            What is the best [side dish for|thing to serve with] {a}?
            What is usually [eaten|served] with {a}?
            I am making {a} for guests. What [should I serve with it|goes with it]?
            Can you [suggest|recommend] a good side dish for {a}?
            [Good|Best] side dish for {a}?""",
        },
    ),
    "travel": (
        {"a": _CITIES},
        {
            "season": """When is the best time [of year |]to visit {a}?
            [What is|What's] the best [month|season] to visit {a}?
            Which [month|season] is [best|ideal] for a trip to {a}?
            At what time of year should I [visit|travel to] {a}?
            I am planning a trip to {a}. [Which season is best|When should I go]?
            When is the weather [best for visiting|nicest in] {a}?
            Best [time of year|season] for {a}?""",
            "days": """How many days [do I need|should I spend] in {a}?
            How long should I stay in {a}?
            How much time [is needed to see|do I need for] {a}?
            How many days are enough to [see|visit] {a}?
            What is the [best|ideal] length of a [trip to|stay in] {a}?
            I am planning a trip to {a}. How [long should it be|many days do I need]?
            Is [one weekend|a weekend] enough to [see|visit] {a}?""",
            "safety": """Is {a} [safe|dangerous] for tourists?
            Is it [safe|dangerous] to [visit|travel to] {a}?
            How safe is {a} for [tourists|visitors]?
            Should I worry about [crime|my safety] when I visit {a}?
            I am planning a trip to {a}. Is it [safe there|a dangerous place]?
            Do [tourists|visitors] feel safe in {a}?""",
            "transport": """How do [tourists|visitors|I] get around {a}?
            What is the [best|easiest] way to get around {a}?
            Which [public transport|means of transport] should I use in {a}?
            How can I [travel|move] around {a} as a tourist?
            I am planning a trip to {a}. How [do I get around there|should I get around]?
            [Bus, train or taxi|Metro, bus or taxi]: what should I use in {a}?
            What kind of transport do visitors [use|take] in {a}?""",
        },
    ),
    "software": (
        {"a": _PROGRAMS},
        {
            "crash": """Why does {a} keep crashing[| on my computer| on my laptop]?
            How do I [stop {a} from crashing|fix {a} when it crashes]?
            {a} [crashes|keeps crashing] all the time. What can I do?
            What should I do if {a} [crashes|closes by itself] again and again?
            What [makes|is making] {a} crash?
            Does anyone know how to stop the crashes of {a}?""",
            "slow": """Why is {a} so slow[| on my computer| on my laptop]?
            How [do|can] I make {a} [faster|run faster]?
            {a} [is slow|runs slowly] all the time. What can I do?
            What should I do if {a} [runs slowly|is very slow]?
            What [makes|is making] {a} so slow?
            Does anyone know how to speed up {a}?""",
            "remove": """How do I [uninstall|remove] {a}[| from my computer| from my laptop]?
            What is the [best|right] way to uninstall {a}?
            How can {a} be [removed|uninstalled] completely?
            I [do not|don't] want to use {a} any more. How do I [get rid of|uninstall] it?
            What should I do if I want to [remove|get rid of] {a}?
            Does anyone know how to delete {a}?""",
            "alternative": """What is the best [alternative to|replacement for] {a}?
            What [can|should] I use instead of {a}?
            Which [program|app] is [similar to|most like] {a}?
            Is there a good [alternative to|replacement for] {a}?
            I [do not|don't] want to use {a} any more. What [can I use instead|are the alternatives]?
            Does anyone know a program that can replace {a}?
            Which app [can|could] replace {a}[| on my computer]?""",
        },
    ),
    "health": (
        {"a": _CONDITIONS},
        {
            "remedy": """How do I [get rid of|treat] {a} at home?
            [What is|What's] the best home remedy for {a}?
            What helps [against|with] {a}?
            How can {a} be [treated|cured] at home?
            Which home remedies [work for|help with] {a}?
            I have {a}. What can I do [to treat it|to get rid of it|about it]?
            Any good [home remedies|tips] for {a}?""",
            "cause": """What [usually |]causes {a}?
            What are the [usual|most common|main] causes of {a}?
            Why do people [get|suffer from] {a}?
            What is the [usual|main] reason for {a}?
            I have {a}. What [could be the cause|could have caused it]?
            What is {a} [usually |]caused by?
            Where does {a} come from?""",
            "doctor": """When should I see a doctor [about|because of] {a}?
            Should I [see|go to] a doctor [about|because of] {a}?
            Is {a} a reason to [see|call] a doctor?
            I have {a}. [Should I see a doctor|Do I need a doctor]?
            Do I need to [see|go to] a doctor if I have {a}?
            Does {a} [need|require] medical attention?""",
            "exercise": """Can I [exercise|work out] with {a}?
            Is it [OK|safe] to [exercise|work out] with {a}?
            Should I [exercise|work out] if I have {a}?
            I have {a}. [Can I still exercise|Should I stop exercising]?
            Is {a} a reason to [stop exercising|skip the gym]?
            Do I need to [skip sports|stop training] because of {a}?""",
        },
    ),
    "shopping": (
        {"a": _GOODS},
        {
            "price": """How much should I [spend on|pay for] {a}?
            What is a [fair|reasonable] price for {a}?
            What budget [do I need|should I plan] for {a}?
            I want to buy {a}. How much should I [spend|pay]?
            How [expensive|costly] should {a} be?
            Could you tell me how much people [usually |]pay for {a}?""",
            "used": """Should I buy {a} [used|second-hand]?
            Is it [a good idea|smart|worth it] to buy {a} [used|second-hand]?
            Is it better to buy {a} new or [used|second-hand]?
            New or used: how should I buy {a}?
            I want to buy {a}. Should I [get a used one|buy it second-hand]?
            Would you [buy|get] {a} second-hand?""",
            "saving": """How [can|do] I save up for {a}?
            How do I save enough money [for|to buy] {a}?
            What is the [best|fastest] way to save up for {a}?
            I want to buy {a}. How do I save [up for it|enough money]?
            Any [tips|advice] on saving up for {a}?
            How do people [manage to |]put aside enough for {a}?""",
            "season": """When is the best time [of year |]to buy {a}?
            In which month [is it cheapest to|should I] buy {a}?
            What time of year is [best|cheapest] for buying {a}?
            I want to buy {a}. [When is the best time|At what time of year should I do it]?
            When can I [get|find] the best [deal|price] on {a}?
            When [is {a}|will {a} be] cheapest?""",
        },
    ),
    "work": (
        {"a": _JOBS},
        {
            "become": """How [do|can] I become {a}?
            How do I [get a job|start working] as {a}?
            What [qualifications do I need|education is required] to become {a}?
            I want to become {a}. What [do I have to do|should I study]?
            What is the [best|usual] way to become {a}?
            Which steps lead to a career as {a}?""",
            "salary": """How much does {a} [earn|make]?
            [What is|What's] the [average|typical] salary of {a}?
            How much money [can I make|would I earn] as {a}?
            I want to become {a}. How much [will I earn|money would I make]?
            What [salary|pay] can I expect as {a}?
            How well is {a} [usually |]paid?""",
            "day": """What does {a} do all day?
            What is a [typical|normal] day like for {a}?
            What does a [typical|normal] working day of {a} look like?
            I want to become {a}. What would I do [all day|every day at work]?
            How does {a} spend [a typical|an ordinary] day at work?
            What are the [daily|usual] tasks of {a}?""",
            "interview": """How do I prepare for [a job interview|an interview] as {a}?
            What [questions can I expect|will I be asked] in a job interview as {a}?
            What is the best way to [prepare|get ready] for a job interview as {a}?
            I have a job interview as {a}. [How should I prepare|What will they ask me]?
            How does {a} [prepare|get ready] for a job interview?
            Any [tips|advice] for [a job interview|an interview] as {a}?""",
        },
    ),
    "pets": (
        {"a": _PETS},
        {
            "feeding": """How often should [I|you] feed {a}?
            How [often|many times a day] do {a} [need to eat|need food]?
            How many meals a day do {a} [need|get]?
            How often should {a} [be fed|get food]?
            I [have|keep] {a} at home. How often should I feed them?
            What is a good feeding schedule for {a}?
            Can you tell me how often {a} [should eat|have to be fed]?""",
            "lifespan": """How long do {a} [usually |]live?
            How many years do {a} [usually |]live?
            What is the [average|typical] [lifespan|life expectancy] of {a}?
            How old [do {a}|can {a}] get?
            I [have|keep] {a} at home. How long will they live?
            What age do {a} [reach|live to]?
            Can you tell me how many years {a} live?""",
            "children": """Are {a} good with [children|kids]?
            Are {a} good pets for [children|kids]?
            Do {a} get along with [children|kids]?
            Should I get {a} for my [children|kids]?
            Are {a} [safe|suitable] for [children|kids]?
            I have [children|kids] at home. Are {a} the right pets for us?
            Would you recommend {a} as pets for a family with [children|kids]?""",
        },
    ),
    "garden": (
        {"a": _PLANTS},
        {
            "water": """How often should I water {a}?
            How [often|many times a week] do {a} need [water|watering]?
            How much water do {a} [need|require]?
            How often should {a} be watered?
            I want to grow {a} in my garden. How often [should I water them|do they need water]?
            What is a good watering schedule for {a}?
            Do {a} need [a lot of|much] water?""",
            "planting": """When should I plant {a}?
            When is the best time [of year |]to plant {a}?
            In which [month|season] should {a} be planted?
            What is the [right|best] [month|season] to plant {a}?
            I want to grow {a} in my garden. When [should|do] I plant them?
            How early in the year can [I plant {a}|{a} be planted]?""",
            "sun": """How much [sun|sunlight] do {a} need?
            How many hours of [sun|sunlight] do {a} need?
            Do {a} need [full sun|a lot of sun|direct sunlight]?
            Should {a} be planted in [the sun or in the shade|a sunny place]?
            I want to grow {a} in my garden. Do they need [a sunny place|a lot of sun]?
            Sun or shade: where [do {a} grow best|should I plant {a}]?""",
        },
    ),
    "files": (
        {"a": _FORMATS, "b": _FORMATS},
        {
            "convert": """How [do|can] I convert {a} to {b}?
            How do I [convert|turn] {a} files into {b}?
            What is the [best|easiest] way to convert {a} to {b}?
            How can {a} be converted to {b}?
            How do I [get|make|create] {b} files from {a}?
            I need {b} but my files are in {a}. How do I convert them?
            Which [tool|program] converts {a} [files |]to {b}?
            I have a file in {a}. How do I [save it as|turn it into] {b}?"""
        },
    ),
    "moving": (
        {"a": _HOMES, "b": _HOMES},
        {
            "advice": """What should I know before [moving|I move] from {a} to {b}?
            What advice do you have for [someone moving|a move] from {a} to {b}?
            I am moving to {b} from {a}. [What should I know|Any advice]?
            I live in {a} and want to move to {b}. What should I [know|consider]?
            What should I [consider|know] before I leave {a} [for|and move to] {b}?
            How do I prepare for a move [to {b} from {a}|from {a} to {b}]?"""
        },
    ),
    "career change": (
        {"a": _FIELDS, "b": _FIELDS},
        {
            "switch": """How do I switch from {a} to {b}?
            How can I change my career from {a} to {b}?
            What is the best way to [switch|move] from {a} to {b}?
            I work in {a} and want to [go into|move to] {b}. How do I do it?
            How do [people|I] get into {b} [after years in|coming from] {a}?
            I want a job in {b} but I [have only worked|work] in {a}. What should I do?
            How do I leave {a} for a [career|job] in {b}?"""
        },
    ),
    "contagion": (
        {"a": _CARRIERS, "b": _CARRIERS},
        {
            "catch": """Can {a} catch [diseases|illnesses] from {b}?
            Do {a} [catch|get] [diseases|illnesses] from {b}?
            Can {b} [give|pass|transmit] diseases to {a}?
            Do {b} [pass|transmit] diseases to {a}?
            Can {a} get [sick|ill] from {b}?
            Can [diseases|illnesses] [spread|jump] from {b} to {a}?
            Are {b} able to infect {a}?
            Can {a} be infected by {b}?"""
        },
    ),
    "pet food": (
        {"a": _EATERS, "b": _FOODS},
        {
            "eat": """Can {a} eat {b}?
            Is it [safe|OK] for {a} to eat {b}?
            Is it [safe|OK] to [give|feed] {b} to {a}?
            Can I [give|feed] {b} to {a}?
            Should {a} [avoid|stay away from] {b}?
            Do {a} get [sick|ill] from eating {b}?
            Is eating {b} [safe|dangerous|bad] for {a}?"""
        },
    ),
}
